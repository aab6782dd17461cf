package providertest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"reelay/events"
	"reelay/internal/emulator"
	"reelay/internal/provider"
)

func testStates(t *testing.T, h Harness) {
	for _, s := range h.Samples {
		t.Run(string(s.Type), func(t *testing.T) {
			b := newBench(t, h)
			for _, row := range []struct {
				script emulator.Script
				want   provider.State
			}{
				{queued(), provider.Queued},
				{running(), provider.Running},
				{finished(), provider.Succeeded},
			} {
				if row.want == provider.Queued && h.NoQueue {
					row.want = provider.Running
				}
				a := b.accepted(t, s, row.script)
				got := b.poll(t, a.Ref)
				if got.State != row.want || got.Word == "" || got.Err != nil || got.ResultPending {
					t.Fatalf("state %s (%q), err %v, pending %v, want %s", got.State, got.Word, got.Err, got.ResultPending, row.want)
				}
				hides(t, "snapshot", got)
				named, err := b.driver.Ref(s.Model, a.ID)
				if err != nil {
					t.Fatalf("Ref of id %q: %v", a.ID, err)
				}
				if again := b.poll(t, named); again.State != row.want {
					t.Errorf("the task by its id is %s, want %s", again.State, row.want)
				}
				if got.State == provider.Succeeded {
					b.download(t, got)
				}
			}
			jobs := b.ledger.Jobs()
			if len(jobs) != 3 {
				t.Fatalf("the ledger has %d jobs, want 3", len(jobs))
			}
			for _, j := range jobs {
				if !j.Answered || (j.PriceUSD > 0) == h.Free || j.BodySHA256 == "" || j.Model == "" {
					t.Errorf("ledger: %+v lacks the answer, the price, the digest or the model", j)
				}
			}
		})
	}
}

// download checks that the outputs are what they say.
func (b *bench) download(t *testing.T, s provider.Snapshot) {
	t.Helper()
	if len(s.Outputs)+len(s.Values)+len(s.Notes) == 0 || !json.Valid(s.Raw) {
		t.Fatalf("%d outputs, raw %.200s, want at least one output or value and valid JSON", len(s.Outputs), s.Raw)
	}
	for _, o := range s.Outputs {
		if provider.IsDataURL(o.URL) { // nothing to fetch
			continue
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, o.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := b.client.Do(req)
		if err != nil {
			t.Fatalf("output: %v", err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != http.StatusOK || len(body) == 0 {
			t.Errorf("output %s: %d, %d bytes, %v", o.URL, res.StatusCode, len(body), err)
		}
		if o.ContentType != "" && o.ContentType != res.Header.Get("Content-Type") {
			t.Errorf("output %s is %q, said %q", o.URL, res.Header.Get("Content-Type"), o.ContentType)
		}
		if o.Size != 0 && o.Size != int64(len(body)) {
			t.Errorf("output %s has %d bytes, said %d", o.URL, len(body), o.Size)
		}
	}
}

func testPollDetails(t *testing.T, h Harness) {
	b := newBench(t, h)
	script := queued()
	script.Position = ms(7)
	waiting := b.poll(t, b.accepted(t, h.Samples[0], script).Ref)
	working := b.poll(t, b.accepted(t, h.Samples[0], running()).Ref)
	if (waiting.Position != nil) != h.Features.Position {
		t.Errorf("position %v, features say %v", waiting.Position, h.Features.Position)
	}
	if p := waiting.Position; p != nil && (*p < 0 || *p > 7) {
		t.Errorf("position %d, want 0 to 7", *p)
	}
	if (len(working.Logs) > 0) != h.Features.Logs {
		t.Errorf("%d log lines, features say %v", len(working.Logs), h.Features.Logs)
	}
	if (working.Progress != nil) != h.Features.Progress {
		t.Errorf("progress %v, features say %v", working.Progress, h.Features.Progress)
	}
	if p := working.Progress; p != nil && (*p < 0 || *p > 100) {
		t.Errorf("progress %v is not between 0 and 100", *p)
	}
}

func testPollFailed(t *testing.T, h Harness) {
	b := newBench(t, h)
	script := finished()
	script.Fail = h.Fail
	s := b.poll(t, b.accepted(t, h.Samples[0], script).Ref)
	if s.State != provider.Failed || len(s.Outputs) != 0 {
		t.Fatalf("state %s with %d outputs, want failed", s.State, len(s.Outputs))
	}
	checkError(t, "the task's failure", s.Err)
	if s.Err.Kind != h.FailKind || s.Err.Charge == "" {
		t.Errorf("kind %s, charge %q, want kind %s and a charge", s.Err.Kind, s.Err.Charge, h.FailKind)
	}
	hides(t, "snapshot", s)
}

// faults are answers that say nothing about a task.
func faults() map[string]http.HandlerFunc {
	html := "<html><body>502 Bad Gateway</body></html>"
	all := map[string]http.HandlerFunc{
		"reset": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"cut off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte(`{"status":"COMPLETED",`))
		},
		"endless": func(w http.ResponseWriter, r *http.Request) {
			chunk := []byte(strings.Repeat(" ", 64<<10))
			for r.Context().Err() == nil {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		},
		"200 deep": raw(200, "application/json", strings.Repeat("[", 100_000)),
	}
	for status, name := range map[int]string{
		200: "200", 403: "403", 404: "404", 500: "500", 502: "502", 503: "503",
		504: "504", 529: "529",
	} {
		all[name+" html"] = raw(status, "text/html", html)
		all[name+" empty"] = raw(status, "application/json", "")
		all[name+" truncated"] = raw(status, "application/json", `{"status":"COMPL`)
		all[name+" empty object"] = raw(status, "application/json", `{}`)
	}
	return all
}

func testFailedPolls(t *testing.T, h Harness) {
	b := newBench(t, h)
	for state, script := range map[string]emulator.Script{"running": running(), "finished": finished()} {
		a := b.accepted(t, h.Samples[0], script)
		for name, fault := range faults() {
			what := state + ", " + name
			b.meets(fault)
			s, err := b.driver.Poll(t.Context(), a.Ref)
			b.meets(nil)
			if e := typed(t, what, err); e.Kind != events.KindRetry && e.Kind != events.KindInternal {
				t.Errorf("%s: kind %s, want retry or internal", what, e.Kind)
			}
			if s.State != "" && s.State != provider.Unknown {
				t.Errorf("%s: the failed poll says %s", what, s.State)
			}
		}
		if s := b.poll(t, a.Ref); s.State == provider.Failed {
			t.Errorf("%s: the task failed by looking at it", state)
		}
	}
}

func testUnknownWord(t *testing.T, h Harness) {
	b := newBench(t, h)
	script := running()
	script.Polls = "unknown"
	s := b.poll(t, b.accepted(t, h.Samples[0], script).Ref)
	if s.State != provider.Unknown || s.Word == "" || s.Err != nil {
		t.Errorf("state %s, word %q, err %v, want unknown and the provider's word", s.State, s.Word, s.Err)
	}
}

func testNotFound(t *testing.T, h Harness) {
	b := newBench(t, h)
	ref, err := b.driver.Ref(h.Samples[0].Model, h.UnknownID)
	if err != nil {
		t.Fatalf("Ref of the unknown id: %v", err)
	}
	_, err = b.driver.Poll(t.Context(), ref)
	if e := typed(t, "the unknown id", err); e.Kind != events.KindNotFound {
		t.Errorf("kind %s, want not_found", e.Kind)
	}
	if h.Features.Cancel {
		if got, err := b.driver.Cancel(t.Context(), ref); err != nil || got != provider.CancelNotFound {
			t.Errorf("cancel of the unknown id: %s, %v, want not_found", got, err)
		}
	}
}

func testBadRefs(t *testing.T, h Harness) {
	b := newBench(t, h)
	for _, id := range []string{"", ".", "..", "../x", "a/b", "a?b", "a%2fb", "a b", "a\nb", strings.Repeat("a", 1000)} {
		if ref, err := b.driver.Ref(h.Samples[0].Model, id); err == nil {
			t.Errorf("Ref of id %.20q: %.100s, want an error", id, ref)
		}
	}
	good := b.accepted(t, h.Samples[0], queued())
	climbing := strings.ReplaceAll(string(good.Ref), good.ID, "../"+good.ID)
	before := b.calls.Load()
	for _, ref := range []string{
		"", "null", "{}", "[]", `"x"`, `{"app":1}`, string(good.Ref[:len(good.Ref)-1]),
		climbing,
	} {
		_, err := b.driver.Poll(t.Context(), json.RawMessage(ref))
		if e := typed(t, "the poll of ref "+ref, err); e.Kind == events.KindNotFound {
			t.Errorf("ref %s: kind not_found, and nobody was asked", ref)
		}
		if h.Features.Cancel {
			_, err = b.driver.Cancel(t.Context(), json.RawMessage(ref))
			typed(t, "the cancel of ref "+ref, err)
		}
	}
	if n := b.calls.Load() - before; n != 0 {
		t.Errorf("bad refs made %d calls", n)
	}
}

func testResultFaults(t *testing.T, h Harness) {
	b := newBench(t, h)
	script := finished()
	script.ResultFaults = 1
	ref := b.accepted(t, h.Samples[0], script).Ref
	s, err := b.driver.Poll(t.Context(), ref)
	if err != nil {
		if e := typed(t, "the unreadable result", err); e.Kind != events.KindRetry && e.Kind != events.KindInternal {
			t.Errorf("kind %s, want retry or internal", e.Kind)
		}
	} else if s.State != provider.Running || !s.ResultPending {
		t.Errorf("state %s, pending %v while the result cannot be read, want running and pending", s.State, s.ResultPending)
	}
	if s := b.poll(t, ref); s.State != provider.Succeeded || len(s.Outputs) == 0 {
		t.Errorf("then state %s with %d outputs, want succeeded", s.State, len(s.Outputs))
	}
}

func testEndedContext(t *testing.T, h Harness) {
	b := newBench(t, h)
	ref := b.accepted(t, h.Samples[0], running()).Ref
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := b.driver.Poll(ctx, ref)
	if e := typed(t, "the poll", err); e.Kind != events.KindRetry || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, kind %s, want kind retry and context.Canceled in the chain", err, e.Kind)
	}
}
