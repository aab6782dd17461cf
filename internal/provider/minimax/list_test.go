package minimax_test

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/emulator"
	sandbox "reelay/internal/emulator/minimax"
	"reelay/internal/provider"
)

// asking is a task of a model, as far as List reads it.
func asking(model string) events.Task { return events.Task{TaskType: events.Video, Model: model} }

func TestList(t *testing.T) {
	t.Parallel()
	b := newBox(t, sandbox.Options{Speed: emulator.Speed{Queue: time.Hour}, InFlight: -1, BigIDs: true})
	want := map[string]bool{}
	for range 45 { // over two pages
		want[b.accepted(t, modelV2, inputV2).ID] = true
	}
	b.accepted(t, "MiniMax-H3-Max", inputV2)
	b.accepted(t, modelV1, inputV1)
	for _, field := range []string{`"resolution":"2K"`, `"duration":6`, `"ratio":"9:16"`} {
		name, _, _ := strings.Cut(field, ":")
		other := regexp.MustCompile(name+`:("[^"]*"|\d+)`).ReplaceAllString(inputV2, field)
		if other == inputV2 {
			t.Fatalf("%s is not in %s", name, inputV2)
		}
		b.accepted(t, modelV2, other)
	}
	found, complete, err := b.driver.List(t.Context(), asking(modelV2), json.RawMessage(inputV2),
		time.Now().Add(-time.Minute))
	if err != nil || !complete || len(found) != len(want) {
		t.Fatalf("%d found, complete %v, %v, want %d", len(found), complete, err, len(want))
	}
	for _, f := range found {
		if !want[f.ID] || f.Exact || time.Since(f.CreatedAt) > time.Minute {
			t.Errorf("%+v", f)
		}
		delete(want, f.ID)
	}
	if n := b.ledger.Calls()["list"]; n != 3 {
		t.Errorf("%d calls, want 3", n)
	}
	if found, complete, err := b.driver.List(t.Context(), asking(modelV2), json.RawMessage(inputV2),
		time.Now().Add(time.Hour)); err != nil || !complete || len(found) != 0 {
		t.Errorf("since the future: %d found, complete %v, %v", len(found), complete, err)
	}
	for _, model := range []string{modelV1, "veo3"} {
		_, _, err := b.driver.List(t.Context(), asking(model), json.RawMessage(inputV1), time.Time{})
		if e := provider.AsError(orNone(err)); e.Code != "no_list" || e.Kind != events.KindInvalid {
			t.Errorf("list of %s: %v", model, err)
		}
	}
}

// TestListShape tells which entries can be the task: what either side leaves out speaks against nothing.
func TestListShape(t *testing.T) {
	t.Parallel()
	const (
		text  = `"content":[{"type":"text","text":"a"}],"resolution":"768P","duration":5,"ratio":"16:9"`
		image = `"content":[{"type":"text","text":"a"},{"type":"image_url"}],"resolution":"768P","duration":5,"ratio":"16:9"`
	)
	for _, row := range []struct {
		name, input, entry string
		fits               bool
	}{
		{
			"all told", text, `"model":"MiniMax-H3","resolution":"768P","duration":5,"ratio":"16:9","task_type":"generation"`,
			true,
		},
		{"nothing told", text, `"status":"queued"`, true},
		{"empty ratio", text, `"ratio":""`, true},
		{"another model", text, `"model":"MiniMax-H3-Max"`, false},
		{"another case", text, `"model":"minimax-h3","resolution":"768p"`, true},
		{"another resolution", text, `"resolution":"2K"`, false},
		{"another duration", text, `"duration":6`, false},
		{"another ratio", text, `"ratio":"9:16"`, false},
		{"another ratio with an image", image, `"ratio":"9:16"`, true},
		{"another ratio for an adaptive one", `"ratio":"adaptive"`, `"ratio":"9:16"`, true},
		{"an upscale", text, `"task_type":"regeneration"`, false},
		{"nothing asked", `"a":1`, `"resolution":"2K","duration":6,"ratio":"9:16"`, true},
		{"odd words", `"resolution":1,"duration":"5","content":"x"`, `"resolution":{},"duration":[],"ratio":5`, true},
	} {
		d := answering(t, 200, `{"items":[{"id":"1",`+row.entry+`}],"total":1}`)
		found, complete, err := d.List(t.Context(), asking(modelV2), json.RawMessage("{"+row.input+"}"), time.Now())
		if err != nil || !complete || (len(found) == 1) != row.fits {
			t.Errorf("%s: %v, complete %v, %v, want it to fit: %v", row.name, found, complete, err, row.fits)
		}
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
		found, complete, err := d.List(t.Context(), asking(modelV2), json.RawMessage(inputV2), time.Unix(1785125529, 999))
		ids := make([]string, len(found))
		for i, f := range found {
			ids[i] = f.ID
		}
		kind := events.Kind("")
		if err != nil {
			kind = provider.AsError(err).Kind
		}
		if strings.Join(ids, ",") != row.ids || complete != row.complete || kind != row.kind || calls > 100 {
			t.Errorf("%s: %v, complete %v, %v after %d calls, want %q, %v, %s", row.name, ids, complete, err, calls, row.ids,
				row.complete, row.kind)
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
	found, _, err := b.driver.List(t.Context(), asking(modelV2), json.RawMessage(inputV2), since)
	if err != nil || len(found) != 1 {
		t.Fatalf("%+v, %v, want the lost one", found, err)
	}
	snap, err := b.driver.Poll(t.Context(), refOf(t, b.driver, modelV2, found[0].ID))
	if err != nil || snap.State != provider.Succeeded {
		t.Errorf("%s, %v, want succeeded", snap.State, err)
	}
}
