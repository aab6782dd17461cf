package minimax_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/emulator"
	sandbox "reelay/internal/emulator/minimax"
	"reelay/internal/provider"
)

func TestList(t *testing.T) {
	t.Parallel()
	b := newBox(t, sandbox.Options{Pace: emulator.Pace{Queue: time.Hour}, InFlight: -1, BigIDs: true})
	want := map[string]bool{}
	for range 45 { // over two pages
		want[b.accepted(t, modelV2, inputV2).ID] = true
	}
	b.accepted(t, "MiniMax-H3-Max", inputV2)
	b.accepted(t, modelV1, inputV1)
	found, complete, err := b.driver.List(t.Context(), modelV2, time.Now().Add(-time.Minute))
	if err != nil || !complete || len(found) != len(want) {
		t.Fatalf("%d found, complete %v, %v, want %d", len(found), complete, err, len(want))
	}
	for _, f := range found {
		if !want[f.ID] || f.Model != modelV2 || f.State != provider.Queued || f.Word != "queued" || f.Resolution != "768P" ||
			f.Ratio != "16:9" || f.TaskType != "generation" || f.Duration != 5*time.Second || time.Since(f.CreatedAt) > time.Minute {
			t.Errorf("%+v", f)
		}
		delete(want, f.ID)
	}
	if n := b.ledger.Calls()["list"]; n != 3 {
		t.Errorf("%d calls, want 3", n)
	}
	if found, complete, err := b.driver.List(t.Context(), modelV2, time.Now().Add(time.Hour)); err != nil || !complete || len(found) != 0 {
		t.Errorf("since the future: %d found, complete %v, %v", len(found), complete, err)
	}
	if _, _, err := b.driver.List(t.Context(), modelV1, time.Time{}); provider.AsError(orNone(err)).Code != "no_list" {
		t.Errorf("list of a V1 model: %v", err)
	}
}

// TestListAnswers reads odd pages: what cannot be read makes the list incomplete, never short in silence.
func TestListAnswers(t *testing.T) {
	t.Parallel()
	const one = `{"id":"1","model":"MiniMax-H3","status":"queued"`
	for _, row := range []struct {
		name     string
		status   int
		body     string
		ids      string
		complete bool
		kind     events.Kind
	}{
		{"nothing", 200, `{"items":[],"total":0}`, "", true, ""},
		{"null items", 200, `{"items":null,"total":0}`, "", true, ""},
		{"without time", 200, `{"items":[` + one + `}],"total":1}`, "1", true, ""},
		{"odd time", 200, `{"items":[` + one + `,"created_at":"yesterday"}],"total":1}`, "1", true, ""},
		{"in that second", 200, `{"items":[` + one + `,"created_at":1785125529}],"total":1}`, "1", true, ""},
		{"older", 200, `{"items":[` + one + `,"created_at":1785125528}],"total":1}`, "", true, ""},
		{"twice", 200, `{"items":[` + one + `},` + one + `}],"total":2}`, "1", true, ""},
		{"without an id", 200, `{"items":[{"status":"queued"},` + one + `}],"total":2}`, "1", false, ""},
		{"total is never reached", 200, `{"items":[` + one + `}],"total":1000000}`, "1", false, ""},
		{"ends before its total", 200, `{"items":[],"total":5}`, "", false, ""},
		{"without total", 200, `{"items":[]}`, "", false, events.KindRetry},
		{"page", 502, `<html>`, "", false, events.KindRetry},
		{"refused", 429, v2Body(1002, "rate limit"), "", false, events.KindRateLimited},
	} {
		calls := 0
		d := serving(t, func(w http.ResponseWriter, _ *http.Request) {
			calls++
			w.WriteHeader(row.status)
			_, _ = io.WriteString(w, row.body)
		})
		found, complete, err := d.List(t.Context(), modelV2, time.Unix(1785125529, 999))
		ids := make([]string, len(found))
		for i, f := range found {
			ids[i] = f.ID
		}
		kind := events.Kind("")
		if err != nil {
			kind = provider.AsError(err).Kind
		}
		if strings.Join(ids, ",") != row.ids || complete != row.complete || kind != row.kind || calls > 100 {
			t.Errorf("%s: %v, complete %v, %v after %d calls, want %q, %v, %s", row.name, ids, complete, err, calls, row.ids, row.complete, row.kind)
		}
	}
}

// TestResolveByList finds the id of a create whose answer was lost.
func TestResolveByList(t *testing.T) {
	t.Parallel()
	b := newBox(t, sandbox.Options{})
	since := time.Now()
	if a := b.submit(t, modelV2, scripted(`{"submit":"accept_then_502_html"}`, inputV2)); a.Outcome != provider.InDoubt {
		t.Fatalf("%s", a.Outcome)
	}
	found, _, err := b.driver.List(t.Context(), modelV2, since)
	if err != nil || len(found) != 1 {
		t.Fatalf("%+v, %v, want the lost one", found, err)
	}
	snap, err := b.driver.Look(t.Context(), refOf(t, b.driver, modelV2, found[0].ID))
	if err != nil || snap.State != provider.Succeeded {
		t.Errorf("%s, %v, want succeeded", snap.State, err)
	}
}
