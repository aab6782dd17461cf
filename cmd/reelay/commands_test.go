package main

import (
	"context"
	"encoding/json"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"reelay/events"
)

func TestSubmit(t *testing.T) {
	b := newBench(t)
	b.answer(events.VerbSubmit, func(_ string, payload []byte) any {
		r, err := events.DecodeRequest(payload)
		if err != nil {
			return events.Error{Code: events.CodeInvalidRequest, Message: err.Error()}
		}
		return events.TaskReply{Task: with(aTask(), func(t *events.Task) { t.ID = r.ID })}
	})

	r := b.reelay("submit", "video", "--provider", "fal", "--model", "m", "--prompt", "a kite", "--project", "demo",
		"--id", "t1", "--metadata", "a=1;2", "--metadata", "b=x,y", "--timeout", "90s")
	r.check(t, 0, "t1\n", "reelay watch demo.t1")
	want := `reelay.api.submit.demo.video {"id":"t1","provider":"fal","model":"m","input":{"prompt":"a kite"},` +
		`"timeout":"1m30s","metadata":{"a":"1;2","b":"x,y"}}`
	if got := strings.Join(b.heard(), "\n"); got != want {
		t.Errorf("asked %s\nwant  %s", got, want)
	}

	r = b.reelay("submit", "video", "--provider", "fal", "--model", "m", "--prompt", "a kite", "--json")
	r.check(t, 0, `"task": {`, "")
	got := strings.Join(b.heard(), "\n")
	if !regexp.MustCompile(`^reelay\.api\.submit\.default\.video {"id":"[a-z2-7]{13}","provider"`).MatchString(got) {
		t.Errorf("asked %s", got)
	}
}

func TestExitCodes(t *testing.T) {
	b := newBench(t)
	for name, reply := range map[string]any{
		"done":    events.TaskReply{Task: completed(aTask(), events.Output{URL: "https://m/x.mp4"})},
		"failed":  events.TaskReply{Task: failed(aTask())},
		"open":    events.TaskReply{Task: aTask()},
		"missing": events.Error{Code: events.CodeNotFound, Message: "no task demo.missing"},
		"garbled": json.RawMessage(`{"task":7}`),
	} {
		for _, v := range []events.Verb{events.VerbGet, events.VerbWait, events.VerbCancel} {
			for _, subject := range []string{events.APISubject(v, "demo", name)} {
				b.answerOn(subject, reply)
			}
		}
	}
	b.answerOn(events.APISubject(events.VerbSubmit, "demo", "video"), events.Error{
		Code: events.CodeInvalidRequest, Field: "model", Message: "no such \x1bmodel",
	})
	b.answerOn(events.APISubject(events.VerbSubmit, "demo", "image"), events.Error{
		Code: events.CodeUnknownProvider, Field: "provider", Message: "provider: unknown",
	})
	submit := []string{"submit", "video", "--provider", "fal", "--model", "m", "--prompt", "p", "--project", "demo"}

	for _, row := range []struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		{[]string{"wait", "demo.done"}, 0, "completed\n", ""},
		{[]string{"wait", "done", "--project", "demo", "--json"}, 0, `"id": "t1"`, ""},
		{[]string{"wait", "demo.failed"}, 1, "failed\n", "task t1 failed: input new_sensitive (1026)\n"},
		{[]string{"wait", "demo.open", "--timeout", "1ms"}, 1, "", "task demo.open has not ended after 1ms"},
		{[]string{"wait", "demo.missing"}, 1, "", "no task demo.missing (not_found)"},
		{[]string{"wait", "demo.garbled"}, 1, "", "answer to get: json:"},
		{[]string{"watch", "demo.done"}, 0, "", "demo.done is completed  1m05s"},
		{[]string{"watch", "demo.failed"}, 1, "", "input new_sensitive"},
		{[]string{"get", "demo.failed"}, 0, "input new_sensitive (1026)", ""},
		{[]string{"cancel", "demo.open"}, 0, "demo.open  waiting for its turn\n", ""},
		{[]string{"cancel", "demo.missing"}, 1, "", "not_found"},
		{[]string{"cancel"}, 2, "", "name one task, or --batch"},
		{[]string{"cancel", "demo.t1", "--batch", "b1"}, 2, "", "name one task, or --batch"},
		{submit, 1, "", "model: no such  model (invalid_request)"},
		{append([]string{"submit", "image"}, submit[2:]...), 1, "", ": provider: unknown (unknown_provider)"},
		{append(submit, "--priority", "101"), 2, "", "priority: 101 is not between -100 and 100"},
		{append(submit, "--timeout", "49h"), 2, "", "timeout: 49h0m0s is not between"},
		{append(submit, "--input", "/no/such/file"), 2, "", "--input: open /no/such/file"},
		{append(submit, "--on-in-doubt", "pray"), 2, "", "--on-in-doubt"},
		{[]string{"submit", "song", "--provider", "fal", "--model", "m", "--prompt", "p"}, 2, "", "song"},
		{[]string{"submit", "video", "--model", "m", "--input", "-"}, 2, "", "--input"},
		{[]string{"submit", "video", "--provider", "fal", "--model", "m"}, 2, "", "--prompt or --input is needed"},
		{[]string{"get", "a.b.c"}, 2, "", "is no task"},
		{[]string{"get", "a b"}, 2, "", "is no task"},
		{[]string{"resolve", "t1"}, 2, "", "--adopt"},
		{[]string{"resolve", "t1", "--resubmit", "--write-off"}, 2, "", "--resubmit and --write-off"},
		{[]string{"ls", "--status", "lost"}, 2, "", `--status: "lost" is not one of`},
		{[]string{"ls", "--limit", "201"}, 2, "", "--limit: 201 is not between 1 and 200"},
		{[]string{"ls", "--limit", "0"}, 2, "", "--limit: 0 is not between 1 and 200"},
		{[]string{"ls", "--since", "once"}, 2, "", "--since"},
		{[]string{"nonsense"}, 2, "", "nonsense"},
		{[]string{"queue"}, 3, "", "no reelay service answers on reelay.api.queue\nreelay: is `reelay up` running"},
		{[]string{"ls"}, 3, "", "no reelay service answers"},
	} {
		t.Run(strings.Join(row.args, " "), func(t *testing.T) {
			b.reelay(row.args...).check(t, row.code, row.stdout, row.stderr)
		})
	}

	t.Run("no NATS", func(t *testing.T) {
		e, _, stderr := testEnv()
		code := execute(t.Context(), e, []string{"ls", "--server", "nats://u:hush@127.0.0.1:1"})
		result{code, "", stderr.String()}.check(t, 3, "", "cannot reach NATS at nats://redacted@127.0.0.1:1")
	})
	t.Run("help", func(t *testing.T) {
		b.reelay("run", "--help").check(t, 0, "--output", "")
	})
}

func (b *testbed) answerOn(subject string, reply any) {
	b.tb.Helper()
	verb := events.Verb(strings.TrimPrefix(subject, events.APISubject("")))
	b.answer(verb, func(string, []byte) any { return reply })
}

func TestResolveAndCancel(t *testing.T) {
	b := newBench(t)
	answer := func(string, []byte) any { return events.TaskReply{Task: aTask()} }
	b.answer(events.VerbResolve, answer)
	b.answer(events.VerbCancel, answer)
	b.answer(events.VerbGet, answer)
	for _, row := range []struct{ args, want string }{
		{
			"resolve demo.t1 --adopt 42 --reason seen",
			`reelay.api.resolve.demo.t1 {"action":"adopt","provider_id":"42","reason":"seen"}`,
		},
		{"resolve demo.t1 --resubmit", `reelay.api.resolve.demo.t1 {"action":"resubmit"}`},
		{"resolve demo.t1 --write-off", `reelay.api.resolve.demo.t1 {"action":"write_off"}`},
		{"cancel demo.t1 --reason enough", "reelay.api.get.demo.t1 \n" + `reelay.api.cancel.demo.t1 {"reason":"enough"}`},
		{"cancel --only demo.t1", `reelay.api.cancel.demo.t1 {}`},
	} {
		r := b.reelay(strings.Fields(row.args)...)
		if got := strings.Join(b.heard(), "\n"); r.code != 0 || got != row.want {
			t.Errorf("%s: sent %s, want %s (%d, %s)", row.args, got, row.want, r.code, r.stderr)
		}
	}
}

// TestCancelSegment: who ends a segment ends all that it is made of, unless told otherwise. Not every segment has every
// part, and what cannot be ended is told after the others.
func TestCancelSegment(t *testing.T) {
	b := newBench(t)
	var refused atomic.Value // string: the handlers of the testbed read it in goroutines of their own
	refused.Store("one-speech")
	get := func(subject string, _ []byte) any {
		task := aTask()
		task.ID, task.Project, task.Metadata = subject[strings.LastIndex(subject, ".")+1:], "demo", map[string]string{"segment": "one"}
		return events.TaskReply{Task: task}
	}
	b.answer(events.VerbGet, get)
	b.answer(events.VerbCancel, func(subject string, payload []byte) any {
		switch subject[strings.LastIndex(subject, ".")+1:] {
		case "one-frame":
			return events.Error{Code: events.CodeNotFound, Message: "no such task"}
		case refused.Load():
			return events.Error{Code: events.CodeUnavailable, Message: "ask again"}
		}
		return get(subject, payload)
	})
	of := func(ids ...string) string {
		for i, id := range ids {
			ids[i] = `reelay.api.cancel.demo.` + id + ` {"reason":"enough"}`
		}
		return strings.Join(ids, "\n")
	}
	r := b.reelay("cancel", "demo.one", "--reason", "enough")
	r.check(t, 1, "demo.one-video", "cancel demo.one-speech: ")
	all := "reelay.api.get.demo.one \n" + of("one", "one-voice", "one-speech", "one-frame", "one-video")
	if got := strings.Join(b.heard(), "\n"); got != all {
		t.Errorf("sent\n%s\nwant\n%s", got, all)
	}
	refused.Store("one")
	b.reelay("cancel", "demo.one", "--reason", "enough").check(t, 1, "demo.one-video", "cancel demo.one: ")
	if got := strings.Join(b.heard(), "\n"); got != all {
		t.Errorf("sent\n%s\nwant\n%s", got, all)
	}
	refused.Store("")
	r = b.reelay("cancel", "demo.one", "--reason", "enough", "--only")
	r.check(t, 0, "demo.one ", "")
	if got, want := strings.Join(b.heard(), "\n"), of("one"); got != want {
		t.Errorf("sent\n%s\nwant\n%s", got, want)
	}
}

func TestLs(t *testing.T) {
	b := newBench(t)
	b.answer(events.VerbList, func(_ string, payload []byte) any {
		request, err := events.DecodeListRequest(payload)
		if err != nil {
			return events.Error{Code: events.CodeInvalidRequest, Message: err.Error()}
		}
		switch request.Cursor {
		case "":
			return json.RawMessage(`{"tasks":[{"id":"t1","project":"demo","input":{"seed":12345678901234567890}}],` +
				`"next_cursor":"two"}`)
		case "two":
			return json.RawMessage(`{"tasks":[{"id":"t2","project":"demo"}],"next_cursor":""}`)
		default:
			return json.RawMessage(`{"tasks":[],"next_cursor":"stuck"}`)
		}
	})
	r := b.reelay("ls", "--project", "demo", "--status", "queued,failed", "--phase", "parked", "--scene-id", "s",
		"--provider", "fal", "--model", "m", "--since", "2026-01-31T12:00:00Z", "--limit", "7")
	r.check(t, 0, "demo.t1", "--all-pages, or --cursor two")
	want := `reelay.api.list.demo {"status":["queued","failed"],"phase":["parked"],"scene_id":"s","provider":"fal",` +
		`"model":"m","since":"2026-01-31T12:00:00Z","limit":7}`
	if asked := b.heard(); len(asked) != 1 || asked[0] != want {
		t.Errorf("asked %v\nwant  %s", asked, want)
	}
	r = b.reelay("ls", "--all-pages", "--json")
	r.check(t, 0, `"seed": 12345678901234567890`, "")
	r.check(t, 0, `"id": "t2"`, "")
	if asked := b.heard(); len(asked) != 2 || !strings.HasPrefix(asked[0], "reelay.api.list {") ||
		!strings.Contains(asked[1], `"cursor":"two"`) {
		t.Errorf("asked %v", asked)
	}
	b.reelay("ls", "--all-pages", "--cursor", "stuck").check(t, 1, "", "the same page again and again (stuck)")
}

// TestWatchTask loses no event between the answer to get and the first event, and ends with the terminal one.
func TestWatchTask(t *testing.T) {
	for _, row := range []struct {
		name           string
		end            events.Task
		kind           events.EventType
		code           int
		stdout, stderr string
	}{
		{
			"completed", completed(aTask(), events.Output{URL: "https://m/x.mp4"}), events.EventCompleted, 0,
			"> https://m/x.mp4", "demo.t1 is waiting",
		},
		{
			"failed", failed(aTask()), events.EventFailed, 1, "failed  input new_sensitive (1026)",
			"task t1 failed: input new_sensitive",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBench(t)
			b.answer(events.VerbWait, func(string, []byte) any { return nil })
			b.answer(events.VerbGet, func(string, []byte) any {
				progress := event(with(aTask(), func(t *events.Task) { t.Phase = events.PhaseRunning }), events.EventProgress)
				progress.Logs = []events.LogLine{{Message: "step 1"}}
				b.publish(progress)
				b.publish(event(row.end, row.kind))
				return events.TaskReply{Task: aTask()}
			})
			r := b.reelay("watch", "demo.t1")
			r.check(t, row.code, row.stdout, row.stderr)
			r.check(t, row.code, "demo.t1  progress  running at fal\n          | step 1\n", "")
		})
	}
}

// TestWatchSinceStart replays the story of a task that has ended, its late result included.
func TestWatchSinceStart(t *testing.T) {
	b := newBench(t)
	b.makeStreams()
	end := failed(aTask())
	for _, e := range []events.Event{
		event(aTask(), events.EventQueued), event(end, events.EventFailed),
		event(end, events.EventLateResult),
	} {
		b.publish(e)
	}
	for _, v := range []events.Verb{events.VerbGet, events.VerbWait} {
		b.answer(v, func(string, []byte) any { return events.TaskReply{Task: end} })
	}
	r := b.reelay("watch", "demo.t1", "--since-start", "--json")
	var got []string
	for line := range strings.Lines(r.stdout) {
		var e events.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		got = append(got, string(e.Type))
	}
	if r.code != 1 || strings.Join(got, " ") != "queued failed late_result" {
		t.Errorf("got %v, exit code %d, %s", got, r.code, r.stderr)
	}
}

func TestWatchAll(t *testing.T) {
	b := newBench(t)
	for _, row := range []struct {
		args []string
		want string
	}{
		{[]string{"watch", "--project", "demo"}, "reelay.event.demo.*.*"},
		{[]string{"watch", "--all"}, "reelay.event.*.*.*"},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		e, stdout, stderr := testEnv()
		done := make(chan int)
		go func() { done <- execute(ctx, e, append(row.args, "--server", b.url)) }()
		until(t, stderr, "watching "+row.want)
		b.publish(event(aTask(), events.EventQueued))
		until(t, stdout, "demo.t1  queued  waiting for its turn")
		cancel()
		if code := <-done; code != 0 {
			t.Errorf("exit code %d, %s", code, stderr)
		}
	}
}

// until waits for words in an output.
func until(t *testing.T, b *buffer, words string) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	limit := time.After(20 * time.Second)
	for !strings.Contains(b.String(), words) {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("never %q in %q", words, b)
		}
	}
}

// TestCancelMany: all that have not ended are asked, page by page; one that could not be is told, and the others are
// asked all the same.
func TestCancelMany(t *testing.T) {
	b := newBench(t)
	task := func(id string) events.Task {
		return with(aTask(), func(t *events.Task) { t.Project, t.ID = "demo", id })
	}
	b.answer(events.VerbList, func(_ string, payload []byte) any {
		if strings.Contains(string(payload), `"cursor":"more"`) {
			return events.ListReply{Tasks: []events.Task{task("three")}}
		}
		return events.ListReply{Tasks: []events.Task{task("one"), task("two")}, NextCursor: "more"}
	})
	for _, id := range []string{"one", "three"} {
		b.answerOn(events.APISubject(events.VerbCancel, "demo", id), events.TaskReply{Task: task(id)})
	}
	b.answerOn(events.APISubject(events.VerbCancel, "demo", "two"), events.Error{Code: events.CodeUnavailable, Message: "later"})
	r := b.reelay("cancel", "--scene-id", "s1", "--project", "demo", "--reason", "enough")
	want := `reelay.api.list.demo {"status":["queued","in_progress"],"scene_id":"s1","limit":200}`
	if got := b.heard(); len(got) != 5 || got[0] != want {
		t.Errorf("asked %q, want %s first", got, want)
	}
	r.check(t, 1, "demo.one  waiting for its turn\ndemo.three  waiting for its turn\n", "2 of 3 tasks were asked to end\n")
	r.check(t, 1, "", "demo.two: later")
}
