package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/events/client"
	"reelay/internal/media"
)

// movie is the beginning of an MP4 file.
const movie = "\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp41"

// mediaServer serves one file.
func mediaServer(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/x.mp4":
		case "/page.mp4":
			_, _ = w.Write([]byte("<!doctype html><html>expired</html>"))
			return
		case "/picture.mp4":
			_, _ = w.Write([]byte("RIFF\x24\x00\x00\x00WEBPVP8 "))
			return
		default:
			w.WriteHeader(http.StatusGone)
			return
		}
		w.Header().Set("Content-Type", "video/mp4")
		_, _ = w.Write([]byte(movie))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// sandboxed lets a command find the testbed as its sandbox.
func (b *testbed) sandboxed(e *env, stopped *bool) {
	e.startSandbox = func(context.Context, *slog.Logger) (*nats.Conn, func(), error) {
		nc, err := nats.Connect(b.url)
		return nc, func() { nc.Close(); *stopped = true }, err
	}
}

func TestRun(t *testing.T) {
	media := mediaServer(t)
	for _, row := range []struct {
		name           string
		end            events.Task
		byEvent        bool // else only the wait verb tells of the end
		code           int
		stdout, stderr string
	}{
		{"heard by its event", completed(aTask(), events.Output{URL: media + "/x.mp4"}), true, 0, "t1.mp4\n", "0s  waiting"},
		{"event lost", completed(aTask(), events.Output{URL: media + "/x.mp4"}), false, 0, "t1.mp4\n", "completed"},
		{"failed", failed(aTask()), true, 1, "", "task t1 failed: input new_sensitive (1026)"},
		{"no output", completed(aTask()), true, 1, "", "completed without an output; see: reelay get demo.t1"},
		{
			"dead link", completed(aTask(), events.Output{URL: media + "/x.mp4"}, events.Output{URL: media + "/y.mp4"}), true, 1,
			"t1-1.mp4\n", "output 2: download from 127.0.0.1",
		},
		{
			"a page", completed(aTask(), events.Output{URL: media + "/page.mp4", ContentType: "video/mp4"}), true, 1, "",
			"it is text/html (35 bytes) in place of video/mp4",
		},
		{
			"half a file", completed(aTask(), events.Output{URL: media + "/x.mp4", Size: 1000}), true, 1, "",
			"the file ends early after 24 of 1000 bytes (video/mp4)",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBench(t)
			b.answer(events.VerbSubmit, func(string, []byte) any {
				if row.byEvent {
					b.publish(event(row.end, events.EventType(row.end.Status)))
				}
				now := aTask()
				now.CreatedAt = row.end.CreatedAt
				return events.TaskReply{Task: now}
			})
			b.answer(events.VerbWait, func(string, []byte) any {
				if row.byEvent {
					return nil
				}
				return events.TaskReply{Task: row.end}
			})
			dir := t.TempDir()
			r := b.reelay("run", "video", "--provider", "fal", "--model", "m", "--prompt", "p", "--project", "demo", "--id",
				"t1", "--output", dir)
			stderr := row.stderr
			if strings.HasPrefix(stderr, "0s") {
				stderr = "waiting for its turn"
			}
			r.check(t, row.code, row.stdout, stderr)
			if strings.Contains(r.stderr, "SANDBOX") {
				t.Error("calls a real pipeline a sandbox")
			}
			if row.code == 0 {
				path := strings.TrimSpace(r.stdout)
				if got, err := os.ReadFile(path); string(got) != movie || filepath.Dir(path) != dir {
					t.Errorf("%s holds %q, %v", path, got, err)
				}
			}
		})
	}
}

func TestRunSandbox(t *testing.T) {
	media := mediaServer(t)
	b := newBench(t)
	b.answer(events.VerbSubmit, func(string, []byte) any {
		b.publish(event(completed(aTask(), events.Output{URL: media + "/x.mp4"}), events.EventCompleted))
		return events.TaskReply{Task: aTask()}
	})
	b.answer(events.VerbWait, func(string, []byte) any { return nil })
	args := []string{
		"run", "video", "--provider", "fal", "--model", "m", "--prompt", "p", "--project", "demo", "--id",
		"t1", "--output", t.TempDir(),
	}

	for name, more := range map[string][]string{
		"no NATS given": nil, "asked for": {"--sandbox", "--server", "nats://127.0.0.1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			e, stdout, stderr := testEnv()
			stopped := false
			b.sandboxed(e, &stopped)
			code := execute(t.Context(), e, append(args, more...))
			result{code, stdout.String(), stderr.String()}.check(t, 0, ".mp4\n",
				"SANDBOX: emulated providers, no money is spent")
			if !stopped {
				t.Error("the sandbox still runs")
			}
		})
	}
	t.Run("does not start", func(t *testing.T) {
		e, stdout, stderr := testEnv()
		e.startSandbox = func(context.Context, *slog.Logger) (*nats.Conn, func(), error) {
			return nil, nil, errors.New("no room")
		}
		code := execute(t.Context(), e, args)
		result{code, stdout.String(), stderr.String()}.check(t, 1, "", "reelay: sandbox: no room\n")
	})
}

// TestRunSaves: what was made is saved as what it is, whichever way it came, and what a person should know is said.
func TestRunSaves(t *testing.T) {
	media := mediaServer(t)
	b := newBench(t)
	b.makeStreams()
	store, err := b.js.ObjectStore(t.Context(), events.ObjectBucket)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"output-1": movie, "result-1": `{"text":"a kite"}`} {
		if _, err := store.PutString(t.Context(), name, content); err != nil {
			t.Fatal(err)
		}
	}
	var now atomic.Pointer[events.Task]
	for _, verb := range []events.Verb{events.VerbSubmit, events.VerbWait, events.VerbGet} {
		b.answer(verb, func(string, []byte) any { return events.TaskReply{Task: *now.Load()} })
	}
	for name, row := range map[string]struct {
		result                events.Result
		file, content, stderr string // content is its beginning
	}{
		"a picture in place of a video": {
			events.Result{Outputs: []events.Output{{URL: media + "/picture.mp4", ContentType: "video/mp4"}}},
			"t1.webp", "RIFF", "t1.webp: it is image/webp (16 bytes) in place of video/mp4",
		},
		"a data: URL": {
			events.Result{Outputs: []events.Output{{URL: "data:video/mp4;base64,AAAAGGZ0eXBpc29tAAACAGlzb21tcDQx"}}},
			"t1.mp4", movie, "",
		},
		"stored": {events.Result{Outputs: []events.Output{{Object: "output-1", Size: 24}}}, "t1.mp4", movie, ""},
		"words": {
			events.Result{Raw: []byte(`{"text":"a kite"}`)},
			"t1.json", `{"text"`,
			"no file; the provider's own words are in result.raw, shown by: reelay get demo.t1",
		},
		"many words": {events.Result{RawRef: "result-1"}, "t1.json", `{"text"`, "no file"},
		"flagged": {
			events.Result{Outputs: []events.Output{{URL: media + "/x.mp4"}}, Notes: []string{"flagged\nby the provider"}},
			"t1.mp4", movie, "flagged by the provider\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			end := with(completed(aTask()), func(t *events.Task) { t.Result = &row.result })
			now.Store(&end)
			for _, args := range [][]string{
				{"run", "video", "--provider", "fal", "--model", "m", "--prompt", "p", "--project", "demo", "--id", "t1"},
				{"get", "demo.t1"},
			} {
				r := b.reelay(append(args, "--output", t.TempDir())...)
				r.check(t, 0, row.file+"\n", row.stderr)
				content, err := os.ReadFile(strings.TrimSpace(r.stdout))
				if err != nil || !strings.HasPrefix(string(content), row.content) {
					t.Errorf("%s holds %q, %v", r.stdout, content, err)
				}
			}
		})
	}
}

// TestRunValues: what a task has made that is no file is printed, before the files.
func TestRunValues(t *testing.T) {
	b := newBench(t)
	var now atomic.Pointer[events.Task]
	for _, verb := range []events.Verb{events.VerbSubmit, events.VerbWait, events.VerbGet} {
		b.answer(verb, func(string, []byte) any { return events.TaskReply{Task: *now.Load()} })
	}
	sample := []events.Output{{URL: "data:audio/mpeg;base64,SUQzBAAAAAAAAA=="}}
	for file, outputs := range map[string][]events.Output{"": nil, "t1.mp3\n": sample} {
		end := with(completed(aTask()), func(t *events.Task) {
			t.TaskType = events.Voice
			t.Result = &events.Result{Outputs: outputs, Values: map[string]string{events.ValueVoiceID: "narrator-7"}}
		})
		now.Store(&end)
		r := b.reelay("run", "voice", "--provider", "fal", "--model", "m", "--prompt", "p", "--project", "demo", "--id", "t1",
			"--output", t.TempDir())
		if rest, ok := strings.CutPrefix(r.stdout, "voice_id=narrator-7\n"); r.code != 0 || !ok ||
			!strings.HasSuffix(rest, file) || (file == "") != (rest == "") {
			t.Errorf("exit code %d, stdout %q, stderr %q; want the voice, then %q", r.code, r.stdout, r.stderr, file)
		}
	}
}

// TestRunInterrupted breaks off while the task goes on, which must neither cancel it nor lose it.
func TestRunInterrupted(t *testing.T) {
	b := newBench(t)
	b.answer(events.VerbSubmit, func(string, []byte) any { return events.TaskReply{Task: aTask()} })
	b.answer(events.VerbWait, func(string, []byte) any { return nil })
	b.answer(events.VerbCancel, func(string, []byte) any {
		t.Error("a paid task is cancelled")
		return nil
	})
	args := []string{
		"run", "video", "--provider", "fal", "--model", "m", "--prompt", "p", "--project", "demo", "--id",
		"t1",
	}
	for name, row := range map[string]struct {
		more []string
		want string
	}{
		"paid":    {[]string{"--server", b.url}, "task t1 goes on. Follow it with: reelay watch demo.t1"},
		"sandbox": {nil, "nothing was paid"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			e, stdout, stderr := testEnv()
			stopped := false
			b.sandboxed(e, &stopped)
			done := make(chan int)
			go func() { done <- execute(ctx, e, append(args, row.more...)) }()
			until(t, stderr, "waiting for its turn")
			cancel()
			result{<-done, stdout.String(), stderr.String()}.check(t, 130, "", row.want)
			if strings.Contains(stderr.String(), "reelay: ") {
				t.Errorf("reports an error: %s", stderr)
			}
		})
	}
}

// TestSubmitWait prints the links where run would save the files.
func TestSubmitWait(t *testing.T) {
	for _, row := range []struct {
		end            events.Task
		code           int
		stdout, stderr string
	}{
		{completed(aTask(), events.Output{URL: "https://m/x.mp4"}), 0, "https://m/x.mp4\n", "1m05s  completed\n"},
		{failed(aTask()), 1, "", "input new_sensitive (1026)"},
	} {
		b := newBench(t)
		b.answer(events.VerbSubmit, func(string, []byte) any {
			b.publish(event(row.end, events.EventType(row.end.Status)))
			return events.TaskReply{Task: aTask()}
		})
		b.answer(events.VerbWait, func(string, []byte) any { return nil })
		r := b.reelay("submit", "video", "--provider", "fal", "--model", "m", "--prompt", "p", "--project", "demo", "--id",
			"t1", "--wait")
		r.check(t, row.code, row.stdout, row.stderr)
	}
}

// TestWaitUntilEnd asks for the task as it ended.
func TestWaitUntilEnd(t *testing.T) {
	b := newBench(t)
	var ended atomic.Bool
	b.answer(events.VerbWait, func(string, []byte) any {
		if ended.Swap(true) {
			return events.TaskReply{Task: failed(aTask())}
		}
		return events.TaskReply{Task: aTask()}
	})
	b.answer(events.VerbGet, func(string, []byte) any {
		if ended.Load() {
			return events.TaskReply{Task: failed(aTask())}
		}
		return events.TaskReply{Task: aTask()}
	})
	b.reelay("wait", "demo.t1", "--json").check(t, 1, `"status": "failed"`, "task t1 failed: input new_sensitive")
	want := []string{"get.demo.t1 ", `wait.demo.t1 {"timeout":"10s"}`, `wait.demo.t1 {"timeout":"10s"}`, "get.demo.t1 "}
	for i := range want {
		want[i] = "reelay.api." + want[i]
	}
	if got := b.heard(); !slices.Equal(got, want) {
		t.Errorf("asked %q\nwant  %q", got, want)
	}
}

// TestNoAnswer: after silence a paid request may have been taken.
func TestNoAnswer(t *testing.T) {
	for _, err := range []error{client.ErrNoAnswer, client.ErrNoService} {
		var b bytes.Buffer
		if code := report(&b, fmt.Errorf("%w on reelay.api.get", err)); code != exitUnreachable ||
			!strings.Contains(b.String(), "is `reelay up` running") {
			t.Errorf("%v: exit code %d, %s", err, code, b.String())
		}
	}
}

// TestRunKeepsOut: the link of a real provider leads to nothing on this machine; that of an emulated one does.
func TestRunKeepsOut(t *testing.T) {
	link := mediaServer(t) + "/x.mp4"
	b := newBench(t)
	for _, verb := range []events.Verb{events.VerbWait, events.VerbGet} {
		b.answer(verb, func(string, []byte) any {
			return events.TaskReply{Task: completed(aTask(), events.Output{URL: link})}
		})
	}
	get := func() result {
		e, stdout, stderr := testEnv()
		e.fetcher = func(hosts []string) *media.Fetcher { return media.NewFetcher(hosts, media.DefaultMaxBytes) }
		code := execute(t.Context(), e, []string{"get", "demo.t1", "--output", t.TempDir(), "--server", b.url})
		return result{code, stdout.String(), stderr.String()}
	}
	get().check(t, 1, "", "the link is not safe to follow")
	stream := jetstream.StreamConfig{
		Name: events.StreamTasks, Subjects: []string{"x"}, Metadata: map[string]string{events.WorldKey: string(events.WorldSandbox)},
	}
	js, err := jetstream.New(b.nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), stream); err != nil {
		t.Fatal(err)
	}
	get().check(t, 0, "t1.mp4\n", "")
}
