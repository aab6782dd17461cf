package events_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"reelay/events"
)

func TestDecodeEventRefuses(t *testing.T) {
	const ok = `{"type":"completed","project":"p","task_id":"t"}`
	for _, row := range []struct {
		name, ceType, data string
		unknown            bool
		want               string
	}{
		{"header and payload agree", "reelay.task.completed.v1", ok, false, ""},
		{"no header", "", ok, false, ""},
		{"a later version", "reelay.task.completed.v2", ok, true, `unknown event type: "reelay.task.completed.v2"`},
		{
			"version 10 is not version 1", "reelay.task.completed.v10", ok, true,
			`unknown event type: "reelay.task.completed.v10"`,
		},
		{"no version", "reelay.task.completed", ok, true, `unknown event type: "reelay.task.completed"`},
		{"empty version", "reelay.task.completed.v", ok, true, `unknown event type: "reelay.task.completed.v"`},
		{"a later type", "reelay.task.throttled.v1", ok, true, `unknown event type: "reelay.task.throttled.v1"`},
		{"no type", "reelay.task..v1", ok, true, `unknown event type: "reelay.task..v1"`},
		{"without the prefix", "completed.v1", ok, true, `unknown event type: "completed.v1"`},
		{"of another product", "com.example.completed.v1", ok, true, `unknown event type: "com.example.completed.v1"`},
		{
			"another type in the payload", "reelay.task.failed.v1", ok, true,
			`unknown event type: "completed" in a payload under "reelay.task.failed.v1"`,
		},
		{
			"a later type, payload only", "", `{"type":"throttled"}`, true,
			`unknown event type: "throttled" in a payload under ""`,
		},
		{"no type, payload only", "", `{}`, true, `unknown event type: "" in a payload under ""`},
		{"null", "", `null`, true, `unknown event type: "" in a payload under ""`},
		{"no JSON", "reelay.task.completed.v1", `{"type":`, false, "event: unexpected end of JSON input"},
		{"empty", "", ``, false, "event: unexpected end of JSON input"},
		// A version that is not known is said before the payload is read: its layout may be any.
		{
			"a later version without JSON", "reelay.task.completed.v2", `<xml>`, true,
			`unknown event type: "reelay.task.completed.v2"`,
		},
	} {
		_, err := events.DecodeEvent(row.ceType, []byte(row.data))
		if errors.Is(err, events.ErrUnknownType) != row.unknown {
			t.Errorf("%s: error %v, is ErrUnknownType: %v, want %v", row.name, err, !row.unknown, row.unknown)
		}
		if (err == nil) != (row.want == "") || err != nil && err.Error() != row.want {
			t.Errorf("%s: error %v, want %q", row.name, err, row.want)
		}
	}
}

// TestUpdate: what an event tells comes into the record that is known, and what it does not tell stays.
func TestUpdate(t *testing.T) {
	known := fullTask()
	e := anEvent(events.EventProgress)
	got := e.Update(known)
	if got.Version != e.Version || got.Status != e.Status || got.Blocked != nil || got.Trouble != nil {
		t.Errorf("version %d, %s, blocked %v, trouble %v", got.Version, got.Status, got.Blocked, got.Trouble)
	}
	if !bytes.Equal(got.Input, known.Input) || !got.CreatedAt.Equal(known.CreatedAt) ||
		len(got.Attempts) != len(known.Attempts) {
		t.Error("what the event does not tell is gone")
	}
	fresh := anEvent(events.EventQueued).Update(events.Task{})
	want := events.Task{
		ID: "shot-042", Project: "demo", TaskType: events.Video, Provider: "fal", Lane: "fal", Model: "fal-ai/kling-video",
		Status: events.StatusQueued, Phase: events.PhaseWaiting, Version: 1, WaitsFor: []string{"voice-1"},
	}
	wantSameJSON(t, "of an unknown task", fresh, want)
	eta := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	if got := anEvent(events.EventQueued).Update(events.Task{ETA: &eta}); got.ETA == nil {
		t.Error("when a task ends that waits for others is told by answers only, and is forgotten at an event")
	}
	late := e
	late.ETA, late.WaitsFor = nil, nil
	if got := late.Update(known); got.ETA != nil {
		t.Error("an estimate is kept that an event does not repeat")
	}
	end := anEvent(events.EventCompleted)
	wantSameJSON(t, "of an ended task", end.Update(known), *end.Task)
}

// Ids tell events apart, as CloudEvents asks for: of two tasks, versions, types, and of two rejected requests with one
// id.
func TestEventID(t *testing.T) {
	e := events.Event{Type: events.EventProgress, Project: "p", TaskID: "t", Version: 18446744073709551615}
	if got := e.ID(); got != "p/t/18446744073709551615/progress" {
		t.Errorf("id %s", got)
	}
	e.RequestDigest = "d1" // belongs to rejections only
	if got := e.ID(); got != "p/t/18446744073709551615/progress" {
		t.Errorf("id %s", got)
	}
	a := events.Event{Type: events.EventRejected, Project: "p", TaskID: "t", RequestDigest: "d1", Time: time.Unix(1, 0)}
	b, c := a, a
	b.RequestDigest = "d2"
	c.Time = c.Time.Add(1)
	if a.ID() != "p/t/0/rejected/d1/1970-01-01T00:00:01Z" || a.ID() == b.ID() || a.ID() == c.ID() {
		t.Errorf("ids %s, %s and %s", a.ID(), b.ID(), c.ID())
	}
	if _, traced := a.Header()[events.HeaderTraceparent]; traced {
		t.Error("an event without a trace has a traceparent header")
	}
}
