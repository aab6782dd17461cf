package events_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"reelay/events"
)

// wantBounded checks that err is a FieldError that may go into an event, a header and a log line as it is.
func wantBounded(t testing.TB, name string, err error) {
	t.Helper()
	var fe *events.FieldError
	if !errors.As(err, &fe) {
		t.Errorf("%s: error %v, want a FieldError", name, err)
		return
	}
	if len(fe.Field) > 128 || len(fe.Message) > events.MaxMessageBytes || fe.Message == "" {
		t.Errorf("%s: a field of %d bytes and a message of %d, want at most 128 and %d", name, len(fe.Field), len(fe.Message),
			events.MaxMessageBytes)
	}
	if text := err.Error(); !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		t.Errorf("%s: %.200q has control characters or is not UTF-8", name, text)
	}
}

func TestFieldError(t *testing.T) {
	err := fmt.Errorf("asked: %w", events.NewFieldError("model", "%q is unknown", "x"))
	if err.Error() != `asked: model: "x" is unknown` {
		t.Errorf("error %q", err)
	}
	if !errors.Is(err, events.ErrInvalid) || errors.Is(err, events.ErrSubject) {
		t.Error("it must match ErrInvalid and nothing else")
	}
	fe := events.NewFieldError(strings.Repeat("é", 100), "%s", "\x1b[31m"+strings.Repeat("€", 1000))
	wantBounded(t, "long", fe)
	if want := strings.Repeat("é", 64); fe.Field != want {
		t.Errorf("field %q, want %q", fe.Field, want)
	}
	if want := " [31m" + strings.Repeat("€", (events.MaxMessageBytes-5)/3); fe.Message != want {
		t.Errorf("message of %d bytes, want %d: cut at a character", len(fe.Message), len(want))
	}
}

func TestErrorText(t *testing.T) {
	if got := fullError().Error(); got != "the prompt was refused (content_policy_violation)" {
		t.Errorf("error %q", got)
	}
}

// The lists of words are complete and hold nothing twice: what ends a task and what is valid derives from them.
func TestWordLists(t *testing.T) {
	terminal := map[string]bool{"completed": true, "failed": true, "cancelled": true}
	for _, et := range events.EventTypes() {
		if !et.Valid() || et.Terminal() != terminal[string(et)] {
			t.Errorf("event %s: valid %v, terminal %v", et, et.Valid(), et.Terminal())
		}
	}
	for _, s := range events.Statuses() {
		if s.Terminal() != terminal[string(s)] {
			t.Errorf("status %s: terminal %v", s, s.Terminal())
		}
	}
	for _, tt := range events.TaskTypes() {
		if !tt.Valid() {
			t.Errorf("task type %s is not valid", tt)
		}
	}
	if events.EventType("").Valid() || events.TaskType("").Valid() || events.TaskType("Video").Valid() {
		t.Error("an empty or misspelt word is valid")
	}
	for name, got := range map[string]string{
		"event types": fmt.Sprint(events.EventTypes()), "statuses": fmt.Sprint(events.Statuses()),
		"phases": fmt.Sprint(events.Phases()), "task types": fmt.Sprint(events.TaskTypes()),
		"kinds": fmt.Sprint(events.Kinds()),
	} {
		want := map[string]string{
			"event types": "[queued submitted progress in_doubt completed failed cancelled late_result stored rejected " +
				"batch_done paused resumed]",
			"statuses":   "[queued in_progress completed failed cancelled]",
			"phases":     "[waiting submitting in_doubt parked provider_queued running cancelling fetching storing done]",
			"task types": "[video image audio speech voice music]",
			"kinds": "[retry rate_limited quota auth address invalid moderation not_found ambiguous deadline " +
				"dependency internal]",
		}[name]
		if got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}
