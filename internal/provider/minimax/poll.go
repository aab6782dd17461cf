package minimax

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"reelay/events"
	"reelay/internal/provider"
)

// Poll asks MiniMax where the task is. For V1 it also asks for the file's link once the task has succeeded. A poll
// that fails is a *provider.Error, KindNotFound when MiniMax itself says that it does not know the task.
func (d *Driver) Poll(ctx context.Context, ref json.RawMessage) (provider.Snapshot, error) {
	g, id, err := d.readRef(ref)
	if err != nil {
		return provider.Snapshot{}, err
	}
	return g.poll(ctx, d, id)
}

// wordExpired is a verdict that has no state of its own.
const wordExpired = "expired"

// states maps every word that MiniMax has for the state of a task, in any of its APIs and callbacks.
var states = map[string]provider.State{
	"preparing": provider.Queued, "queueing": provider.Queued, "queued": provider.Queued, "submitted": provider.Queued,
	"processing": provider.Running, "running": provider.Running,
	"success": provider.Succeeded, "succeeded": provider.Succeeded,
	"fail": provider.Failed, "failed": provider.Failed, wordExpired: provider.Failed,
	"cancelled": provider.Cancelled, "canceled": provider.Cancelled,
}

// stateOf reads a word without regard to case. A word that is not listed is Unknown.
func stateOf(word text) provider.State {
	if s, ok := states[strings.ToLower(string(word))]; ok {
		return s
	}
	return provider.Unknown
}

// snapshot is what the word alone says.
func (d *Driver) snapshot(word text) provider.Snapshot {
	return provider.Snapshot{State: stateOf(word), Word: d.clean(string(word), maxWordBytes)}
}

// pending is a success whose result cannot be read yet.
func (d *Driver) pending(word text) provider.Snapshot {
	s := d.snapshot(word)
	s.State, s.ResultPending = provider.Running, true
	return s
}

// failed is the verdict on a task. MiniMax does not charge for a task that failed or was moderated; of an expired one
// it says nothing.
func (d *Driver) failed(word text, says envelope, r provider.Reply) provider.Snapshot {
	s := d.snapshot(word)
	s.State = provider.Failed
	// A failed task needs a reason even where MiniMax gives none; its HTTP status, a success, is none.
	if says.code == "" || says.code == "0" {
		says.code = strings.ToLower(s.Word)
		if says.message == "" || strings.EqualFold(says.message, "success") {
			says.message = "MiniMax gave no reason"
		}
	}
	s.Err = d.envelopeError(says, r)
	if _, known := says.meaning(); !known {
		s.Err.Kind = events.KindInternal
		if says.moderated() {
			s.Err.Kind = events.KindModeration
		}
	}
	s.Err.Charge = events.ChargeNone
	if strings.EqualFold(string(word), wordExpired) {
		s.Err.Kind, s.Err.Charge = events.KindDeadline, events.ChargePossible
	}
	return s
}

// cancelled is an end that somebody asked for, with MiniMax's reason where it gives one.
func (d *Driver) cancelled(word text, says envelope, r provider.Reply) provider.Snapshot {
	s := d.snapshot(word)
	if says.bad() {
		s.Err = d.failed(word, says, r).Err
	}
	return s
}

// unconfirmed is an end that MiniMax did not tell of itself, or of which nobody knows the word: it may pass. Whether
// the task is charged is not known. The answer is kept.
func (d *Driver) unconfirmed(word text, err *provider.Error, answer json.RawMessage) provider.Snapshot {
	s := d.snapshot(word)
	s.State, s.Unconfirmed, s.Err, s.Raw = provider.Failed, true, err, answer
	s.Err.Charge = events.ChargePossible
	return s
}

// noOutput is a success that promises a video and names none, or none that can be fetched.
func (d *Driver) noOutput(word text, fileID, link string, answer json.RawMessage, r provider.Reply) provider.Snapshot {
	code, message := "no_output", "MiniMax finished it and names no file"
	if fileID != "" {
		message = fmt.Sprintf("MiniMax finished it and names no file that can be fetched (file_id %.64q)", fileID)
	}
	if link != "" {
		code = "bad_result_url"
		message = fmt.Sprintf("MiniMax finished it, and the link of the result is not an http URL: %.80q", link)
	}
	return d.unconfirmed(word, d.newError(events.KindInternal, code, message, r), answer)
}

// oddWord is a word for the state that nobody knows beside an error, which says that the task has ended.
func (d *Driver) oddWord(word text, says envelope, r provider.Reply) provider.Snapshot {
	failed := d.failed(word, says, r)
	err := failed.Err
	err.Message = d.clean(fmt.Sprintf("MiniMax says %q: %s", failed.Word, err.Message), events.MaxMessageBytes)
	return d.unconfirmed(word, err, d.rawJSON(r.Body))
}

// queryError is a failed query or a refused cancel. Which answer MiniMax gives for a task that it does not know is not
// documented; it is assumed to be 2013, the code for bad parameters, or none, with words that say so.
func (d *Driver) queryError(says envelope, r provider.Reply) *provider.Error {
	err := d.callError(says, r)
	switch r.Status {
	case http.StatusOK, http.StatusBadRequest, http.StatusNotFound:
		if says.own && (says.code == "2013" || says.code == "") && says.unknownTask() {
			err.Kind = events.KindNotFound
		}
	}
	return err
}

// wrongTask guards against a cache between us and MiniMax: a result must never land on another task.
func (d *Driver) wrongTask(asked string, answered text, r provider.Reply) error {
	if answered.none() || string(answered) == asked {
		return nil
	}
	return d.newError(events.KindInternal, "wrong_task",
		fmt.Sprintf("asked for task %s, answered about %s", asked, answered), r)
}
