package minimax_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/emulator"
	sandbox "reelay/internal/emulator/minimax"
	"reelay/internal/provider"
)

// TestCancelKeepsResults is the one that costs money: whatever the state, a finished task stays.
func TestCancelKeepsResults(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		script  string
		outcome provider.CancelOutcome
		code    string // of the error
		deletes int
		after   provider.State // "" is not found
	}{
		{`{"stall":"queued"}`, provider.CancelDone, "", 1, provider.Cancelled},
		{`{"stall":"queued","cancel":"ignored"}`, provider.CancelDone, "", 1, provider.Queued},
		{`{"stall":"running","queue_ms":0}`, provider.CancelTooLate, "", 0, provider.Running},
		{`{"stall":"running","queue_ms":0,"polls":"unknown"}`, provider.CancelTooLate, "", 0, provider.Unknown},
		{`{"queue_ms":0,"run_ms":0}`, provider.CancelTooLate, "", 0, provider.Succeeded},
		{`{"queue_ms":0,"run_ms":0,"result_faults":1}`, "", "1000", 0, provider.Succeeded},
		{`{"queue_ms":0,"run_ms":0,"fail":"1027"}`, provider.CancelTooLate, "", 0, provider.Failed},
		{`{"stall":"queued","polls":"not_found"}`, provider.CancelNotFound, "", 0, ""},
		{`{"stall":"queued","polls":"1002","poll_faults":1}`, "", "1002", 0, provider.Queued},
		// Races between the poll and the DELETE.
		{`{"stall":"queued","cancel":"deleted"}`, "", "record_deleted", 1, ""},
		{`{"stall":"queued","cancel":"running"}`, "", "2013", 1, provider.Queued},
	} {
		b := newBox(t, sandbox.Options{Speed: emulator.Speed{Queue: time.Hour, Run: time.Hour}})
		a := b.accepted(t, modelV2, scripted(row.script, inputV2))
		outcome, err := b.driver.Cancel(t.Context(), a.Ref)
		code := ""
		if err != nil {
			code = provider.AsError(err).Code
		}
		if outcome != row.outcome || code != row.code {
			t.Errorf("%s: %s, %v, want %s, code %q", row.script, outcome, err, row.outcome, row.code)
		}
		if row.code == "record_deleted" &&
			(provider.AsError(err).Kind != events.KindInternal || provider.AsError(err).Charge != events.ChargePossible) {
			t.Errorf("%s: %+v is not loud enough", row.script, err)
		}
		if n := b.ledger.Calls()["cancel"]; n != row.deletes {
			t.Errorf("%s: %d DELETE calls, want %d", row.script, n, row.deletes)
		}
		snap, err := b.driver.Poll(t.Context(), a.Ref)
		if snap.State != row.after || row.after == "" && provider.AsError(orNone(err)).Kind != events.KindNotFound {
			t.Errorf("%s: then %s, %v, want %s", row.script, snap.State, err, row.after)
		}
	}
}

// TestCancelRace has the task move on between the poll that saw it queued and the DELETE.
func TestCancelRace(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		status  int
		body    string // of the DELETE
		next    string // the state word after it
		outcome provider.CancelOutcome
		kind    events.Kind
	}{
		{400, v2Body(2013, "task is running"), "running", provider.CancelTooLate, ""},
		{400, v2Body(2013, "task is cancelled"), "cancelled", provider.CancelDone, ""},
		{400, v2Body(2013, "task is canceled"), "canceled", provider.CancelDone, ""},
		{200, `{"action":"canceled"}`, "canceled", provider.CancelDone, ""},
		{404, v2Body(2013, "invalid task_id"), "succeeded", provider.CancelTooLate, ""},
		{400, v2Body(2013, "no"), "queued", "", events.KindInvalid},
		{429, v2Body(1002, "rate limit"), "running", "", events.KindRateLimited},
		{500, v2Body(1000, "unknown"), "running", "", events.KindRetry},
		{502, "<html>", "running", "", events.KindRetry},
		{200, "", "running", "", events.KindInternal},
		{200, `{"action":"archived"}`, "running", "", events.KindInternal},
		{307, "", "running", "", events.KindInternal},
	} {
		word := "queued"
		d := serving(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodDelete {
				word = row.next
				w.WriteHeader(row.status)
				_, _ = io.WriteString(w, row.body)
				return
			}
			_, _ = io.WriteString(w, v2Answer(word, `,"content":{"url":"https://h/x"}`))
		})
		outcome, err := d.Cancel(t.Context(), refOf(t, d, modelV2, taskID))
		if outcome != row.outcome || row.kind == "" && err != nil ||
			row.kind != "" && provider.AsError(orNone(err)).Kind != row.kind {
			t.Errorf("DELETE %d %s, then %s: %s, %v, want %s %s", row.status, row.body, row.next, outcome, err, row.outcome,
				row.kind)
		}
	}
}
