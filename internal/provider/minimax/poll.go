package minimax

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"reelay/events"
	"reelay/internal/provider"
)

// maxURLBytes bounds the link of a result.
const maxURLBytes = 8 << 10

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
	"cancelled": provider.Cancelled,
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
	}
	s.Err.Charge = events.ChargeNone
	if strings.EqualFold(string(word), wordExpired) {
		s.Err.Kind, s.Err.Charge = events.KindDeadline, events.ChargePossible
	}
	return s
}

// output checks the link of a result. Plain http is upgraded: some of MiniMax's storage refuses it.
func (d *Driver) output(link, fileName string, r provider.Reply) (events.Output, error) {
	u, err := url.Parse(link)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || len(link) > maxURLBytes {
		return events.Output{},
			d.newError(events.KindInternal, "bad_result_url", "the link of the result is not an http URL", r)
	}
	if u.Scheme == "http" && !provider.IsLoopback(u.Hostname()) {
		u.Scheme = "https"
		link = u.String()
	}
	o := events.Output{URL: d.clean(link, maxURLBytes), FileName: d.clean(fileName, events.MaxModelBytes)}
	if strings.HasSuffix(strings.ToLower(u.Path), ".mp4") {
		o.ContentType = "video/mp4"
	}
	return o, nil
}

// wrongTask guards against a cache between us and MiniMax: a result must never land on another task.
func (d *Driver) wrongTask(asked string, answered text, r provider.Reply) error {
	if answered.none() || string(answered) == asked {
		return nil
	}
	return d.newError(events.KindInternal, "wrong_task",
		fmt.Sprintf("asked for task %s, answered about %s", asked, answered), r)
}
