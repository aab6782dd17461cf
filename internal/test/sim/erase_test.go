package sim_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"reelay/events"
	"reelay/events/operator"
	"reelay/internal/test/sim"
)

// storedFile makes a video and returns the path of its file.
func storedFile(t *testing.T, w *sim.World, project, id, prompt string) string {
	t.Helper()
	w.Publish(events.RequestSubject(project, events.Video), `{"id":"`+id+`","provider":"fal","scene_id":"s1",`+
		`"metadata":{"who":"`+prompt+`"},"model":"fal-ai/kling-video/v3/pro/text-to-video","input":{"prompt":"`+prompt+`"}}`)
	w.AwaitEnd(project, id)
	w.Settle(time.Minute)
	o := w.Get(project, id).Result.Outputs[0]
	if !o.IsStored() {
		t.Fatalf("%s is not stored: %+v", id, o.StoreError)
	}
	return filepath.FromSlash(strings.TrimPrefix(o.StoredURL, "file://"))
}

// answerOf asks an operator's verb, and fails the test where that is refused.
func answerOf[T any](t *testing.T, w *sim.World, v events.Verb, payload string, tokens ...string) (reply T) {
	t.Helper()
	if e := w.Ask(&reply, v, payload, tokens...); e != nil {
		t.Fatalf("%s %v: %v", v, tokens, e)
	}
	return reply
}

// ageRecord makes a record older.
func ageRecord(t *testing.T, w *sim.World, r events.Task, by time.Duration) {
	t.Helper()
	ended := r.CompletedAt.Add(-by)
	r.CompletedAt = &ended
	for i := range r.Transitions {
		r.Transitions[i].At = r.Transitions[i].At.Add(-by)
	}
	raw, err := events.Marshal(r)
	if err == nil {
		_, err = w.JS.Publish(t.Context(), events.RecordSubject(r.Key()), raw)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// TestErase: of an erased task nothing is left but ids, times and money, in the record, the events and the store, and
// nothing comes back. A file that another task has made too stays until that is erased.
func TestErase(t *testing.T) {
	const secret = "a secret heron"
	sim.Run(t, sim.Options{Artifacts: true, Webhooks: true, Quiet: true}, func(t *testing.T, w *sim.World) {
		path := storedFile(t, w, "demo", "a", secret)
		if storedFile(t, w, "demo", "b", "another") != path {
			t.Fatal("the two tasks have made different files")
		}
		erased := func(id string) events.EraseReply {
			return answerOf[events.EraseReply](t, w, events.VerbErase, "", "demo", id)
		}
		before := w.Get("demo", "a")
		if r := erased("a"); r.Deleted != 0 || r.Shared != 1 || !exists(path) {
			t.Errorf("%d files deleted and %d shared; the other task's is there: %v", r.Deleted, r.Shared, exists(path))
		}
		w.Settle(time.Hour)
		after := w.Get("demo", "a")
		raw, err := json.Marshal(after)
		if err != nil || strings.Contains(string(raw), secret) || strings.Contains(string(raw), "/media/") {
			t.Errorf("the record is %s, %v", raw, err)
		}
		if after.ErasedAt == nil || after.Cost == nil || after.Attempts[0].CostUSD == nil || after.SceneID != "s1" ||
			after.Status != events.StatusCompleted || !after.CompletedAt.Equal(*before.CompletedAt) || after.ProviderID != before.ProviderID {
			t.Errorf("the skeleton is %s", raw)
		}
		// The same request again is the same task, and publishes nothing.
		w.Publish(events.RequestSubject("demo", events.Video), `{"id":"a","provider":"fal","scene_id":"s1",`+
			`"metadata":{"who":"`+secret+`"},"model":"fal-ai/kling-video/v3/pro/text-to-video","input":{"prompt":"`+secret+`"}}`)
		w.Settle(time.Hour)
		if story := w.Story("demo", "a"); len(story) != 0 {
			t.Errorf("the events are %v", sim.Types(story))
		}
		if n := len(w.Stack.Ledger("fal").Jobs()); n != 2 {
			t.Errorf("%d paid requests", n)
		}
		if r := erased("b"); r.Deleted != 1 || exists(path) {
			t.Errorf("%d files deleted; it is there: %v", r.Deleted, exists(path))
		}
		if r := erased("b"); r.Deleted != 0 || r.Task.ErasedAt == nil {
			t.Errorf("erased again: %+v", r)
		}
		var none events.EraseReply
		if e := w.Ask(&none, events.VerbErase, "", "demo", "nothing"); e == nil || e.Code != events.CodeNotFound {
			t.Errorf("no task: %v", e)
		}
	})
}

// TestEraseOutputs: the files go, and the record says so and what it was asked for.
func TestEraseOutputs(t *testing.T) {
	sim.Run(t, sim.Options{Artifacts: true, Quiet: true}, func(t *testing.T, w *sim.World) {
		path := storedFile(t, w, "demo", "a", "a kite")
		r := answerOf[events.EraseReply](t, w, events.VerbErase, `{"only":"outputs"}`, "demo", "a")
		o := r.Task.Result.Outputs[0]
		if r.Deleted != 1 || exists(path) || o.Stored == nil || *o.Stored || o.URL != "" || o.StoredURL != "" ||
			o.StoreError.Code != events.CodeErased || len(r.Task.Input) == 0 || r.Task.ErasedAt != nil {
			t.Errorf("%d deleted, there: %v, output %+v", r.Deleted, exists(path), o)
		}
		w.Settle(2 * time.Hour)
		if exists(path) || len(w.Story("demo", "a")) == 0 {
			t.Error("the file is back, or the events are gone")
		}
	})
}

// TestCollect: what no record names goes, once it is old enough; nothing else does, whatever its age. Where a retention
// is over, the record is told first. A damaged and a missing file are found.
func TestCollect(t *testing.T) {
	sim.Run(t, sim.Options{Artifacts: true, Quiet: true, Retention: "0,short=24h"}, func(t *testing.T, w *sim.World) {
		kept := storedFile(t, w, "demo", "a", "a kite")
		short := storedFile(t, w, "short", "b", "a kite")
		stray := filepath.Join(filepath.Dir(kept), strings.Repeat("0", 64)+".mp4")
		young := filepath.Join(filepath.Dir(kept), strings.Repeat("1", 64)+".mp4")
		age := func(d time.Duration, paths ...string) { // the bubble's clock is not that of the disk
			for _, p := range paths {
				if err := os.Chtimes(p, time.Time{}, time.Now().Add(-d)); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, p := range []string{stray, young} {
			if err := os.WriteFile(p, []byte("stray"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		age(20*24*time.Hour, kept, short, stray)
		age(time.Hour, young)
		gc := func(payload string) operator.GCReply {
			return answerOf[operator.GCReply](t, w, operator.VerbArtifactsGC, payload)
		}
		if r := gc(""); len(r.Deleted) != 0 || r.Unnamed != 2 || r.Expired != 0 {
			t.Errorf("without a retention: %+v", r)
		}
		for _, dry := range []string{`,"dry_run":true`, ""} {
			r := gc(`{"older_than":"48h"` + dry + `}`)
			if len(r.Deleted) != 1 || r.Unnamed != 1 || exists(stray) != (dry != "") || !exists(young) || !exists(kept) || !exists(short) {
				t.Errorf("dry %q: %+v; %v %v %v %v", dry, r, exists(stray), exists(young), exists(kept), exists(short))
			}
		}
		age(30*time.Hour, short)
		ageRecord(t, w, w.Get("short", "b"), 30*time.Hour)
		w.Settle(65 * time.Minute) // by itself
		if o := w.Get("short", "b").Result.Outputs[0]; exists(short) || *o.Stored || o.StoredURL != "" || o.StoreError.Code != events.CodeRetentionOver {
			t.Errorf("after the retention it is there: %v, %+v", exists(short), o)
		}
		if !exists(kept) || !w.Get("demo", "a").Result.Outputs[0].IsStored() {
			t.Error("what has no retention is gone")
		}
		list := answerOf[operator.ArtifactsReply](t, w, operator.VerbArtifacts, `{"project":"demo","limit":1}`)
		if len(list.Files) != 1 || list.NextAfter == "" {
			t.Errorf("the first page is %+v", list)
		}
		verify := func() (faults []string) {
			for _, f := range answerOf[operator.VerifyReply](t, w, operator.VerbArtifactsVerify, "").Faults {
				faults = append(faults, string(f.Fault)+" "+f.Task)
			}
			return faults
		}
		if got := verify(); len(got) != 1 || got[0] != "damaged " { // the young stray is not what its name says
			t.Errorf("at first: %q", got)
		}
		content, err := os.ReadFile(kept)
		if err == nil {
			content[0]++
			err = os.Chmod(kept, fs.FileMode(0o600))
		}
		if err == nil {
			err = os.WriteFile(kept, content, 0o600)
		}
		if got := verify(); err != nil || len(got) != 2 || !strings.Contains(strings.Join(got, "\n"), "damaged demo.a") {
			t.Errorf("a changed byte: %q, %v", got, err)
		}
		if err := os.Remove(kept); err != nil {
			t.Fatal(err)
		}
		if got := verify(); !strings.Contains(strings.Join(got, "\n"), "missing demo.a") {
			t.Errorf("a missing file: %q", got)
		}
	})
}

// TestProjectFull: what would pass the bound of a project is not stored, for a reason; the task has completed.
func TestProjectFull(t *testing.T) {
	sim.Run(t, sim.Options{Artifacts: true, Quiet: true, ProjectBytes: "0,full=100"}, func(t *testing.T, w *sim.World) {
		w.Publish(events.RequestSubject("full", events.Video), `{"id":"a","provider":"fal",`+
			`"model":"fal-ai/kling-video/v3/pro/text-to-video","input":{"prompt":"a kite"},"keep":"required"}`)
		end := w.AwaitEnd("full", "a")
		o := end.Result.Outputs[0]
		if end.Status != events.StatusCompleted || o.Stored == nil || *o.Stored || o.StoreError.Code != "project_full" {
			t.Errorf("%s, %+v", end.Status, o)
		}
		storedFile(t, w, "demo", "b", "a kite")
	})
}
