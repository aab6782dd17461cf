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

	"reelay/events"
	"reelay/events/client"
)

// mediaServer serves one file.
func mediaServer(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/x.mp4" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "video/mp4")
		_, _ = w.Write([]byte("movie"))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// sandboxed lets a command find the bench as its sandbox.
func (b *bench) sandboxed(e *env, stopped *bool) {
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
				if got, err := os.ReadFile(path); string(got) != "movie" || filepath.Dir(path) != dir {
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
