package main

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"reelay/events"
)

// TestOpen: the links of a task's stored outputs are printed, and one that has none says so.
func TestOpen(t *testing.T) {
	b := newBench(t)
	b.answer(events.VerbLinks, func(subject string, payload []byte) any {
		if strings.HasSuffix(subject, ".none") {
			return events.LinksReply{Links: []events.Link{}}
		}
		if _, err := events.DecodeLinksRequest(payload); err != nil {
			return events.Error{Code: events.CodeInvalidRequest, Message: err.Error()}
		}
		return events.LinksReply{Links: []events.Link{{URL: "https://s/1.mp4"}, {Output: 1, URL: "https://s/2.png"}}}
	})
	b.reelay("open", "demo.t1").check(t, 0, "https://s/1.mp4\nhttps://s/2.png\n", "")
	b.reelay("open", "demo.t1", "--json", "--expires-in", "2h").check(t, 0, `"url": "https://s/1.mp4"`, "")
	if heard := b.heard(); !strings.HasSuffix(heard[len(heard)-1], `{"expires_in":"2h0m0s"}`) {
		t.Errorf("asked %v", heard)
	}
	b.reelay("open", "demo.none").check(t, 1, "", "task none has no stored output")
	b.reelay("open", "demo.t1", "--expires-in", "200h").check(t, 2, "", "--expires-in: 200h0m0s is not between 1s and 168h0m0s")
}

// TestBatchSave: what the completed tasks of a batch have made is saved, page by page, though one of them cannot be.
func TestBatchSave(t *testing.T) {
	b := newBench(t)
	video := "data:video/mp4;base64," + base64.StdEncoding.EncodeToString([]byte("\x00\x00\x00\x10ftypisom\x00\x00\x00\x00"))
	b.answer(events.VerbBatch, func(string, []byte) any {
		return events.Batch{Project: "demo", ID: "film", Total: 3, Ended: 3, ByStatus: map[events.Status]int{events.StatusCompleted: 3}}
	})
	b.answer(events.VerbList, func(_ string, payload []byte) any {
		r, err := events.DecodeListRequest(payload)
		if err != nil || r.BatchID != "film" || len(r.Status) != 1 || r.Status[0] != events.StatusCompleted {
			return events.Error{Code: events.CodeInvalidRequest, Message: string(payload)}
		}
		task := func(id string, o ...events.Output) events.Task {
			return with(completed(aTask(), o...), func(t *events.Task) { t.ID = id })
		}
		if r.Cursor == "" {
			return events.ListReply{Tasks: []events.Task{task("a", events.Output{URL: video}), task("b")}, NextCursor: "more"}
		}
		return events.ListReply{Tasks: []events.Task{task("c", events.Output{URL: video})}}
	})
	dir := t.TempDir()
	b.reelay("batch", "demo.film", "--save", dir).check(t, 1,
		filepath.Join(dir, "a.mp4")+"\n"+filepath.Join(dir, "c.mp4")+"\n", "task b: task b completed without an output")
	if saved, err := os.ReadDir(dir); err != nil || len(saved) != 2 {
		t.Errorf("saved %v, %v", saved, err)
	}
}

// TestUnstored: the doctor tells outputs that are late, in danger, lost and given up.
func TestUnstored(t *testing.T) {
	now := start.Add(24 * time.Hour)
	at := func(d time.Duration) *time.Time { return ptr(now.Add(d)) }
	task := func(ended time.Duration, o events.Output) events.Task {
		return with(completed(aTask(), o), func(t *events.Task) { t.CompletedAt = at(ended) })
	}
	stored := task(-time.Hour, events.Output{Stored: ptr(true)})
	for _, row := range []struct {
		task        events.Task
		level, says string
	}{
		{stored, levelOK, "those of the last 1 completed tasks are stored"},
		{task(-time.Second, events.Output{ExpiresAt: at(time.Minute)}), levelOK, "are stored"}, // it has just ended
		{task(-time.Hour, events.Output{}), levelWarn, "not stored 5m0s after the end"},
		{task(-time.Hour, events.Output{ExpiresAt: at(30 * time.Minute)}), levelFail, "die within 1h0m0s"},
		{task(-time.Hour, events.Output{ExpiresAt: at(-time.Minute)}), levelFail, "have died"},
		{task(-time.Hour, events.Output{Stored: ptr(false)}), levelWarn, "were given up"},
	} {
		got := unstored([]events.Task{row.task}, now)
		if len(got) != 1 || got[0].level != row.level || !strings.Contains(got[0].detail, row.says) ||
			(row.level != levelOK) != (got[0].todo != "") {
			t.Errorf("%s: %+v", row.says, got)
		}
	}
	if got := unstored(nil, now); len(got) != 0 {
		t.Errorf("without a task: %v", got)
	}
}
