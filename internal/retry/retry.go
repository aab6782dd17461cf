// Package retry makes of a request that names a task in retry_of the request that it stands for. It reads records and
// changes none.
//
// A retry is a new task with a new paid request. So one of a task that may have been charged, that may still be at the
// provider, or that has made what was asked for needs a word that says so: pay_again.
package retry

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"reelay/events"
	"reelay/internal/bus"
)

// Records are the task records. GetFromLeader fails with bus.ErrNotFound.
type Records interface {
	GetFromLeader(context.Context, events.Key) (events.Task, uint64, error)
	Input(context.Context, events.Task) (json.RawMessage, error)
}

// Whole returns a request with retry_of, published for a type of tasks in a project, as the whole request that it stands
// for, and the task that it repeats. It fails with an events.Error that says why it is refused, or an error of the
// broker.
func Whole(ctx context.Context, records Records, project string, t events.TaskType, r events.Request) (
	events.Request, events.Task, error,
) {
	of, _, err := records.GetFromLeader(ctx, events.Key{Project: project, ID: r.RetryOf})
	switch {
	case errors.Is(err, bus.ErrNotFound):
		return r, of, refusal(events.CodeNotFound, events.NewFieldError("retry_of", "there is no task %s", r.RetryOf))
	case err != nil:
		return r, of, err
	case of.TaskType != t:
		return r, of, refusal(events.CodeInvalidRequest, events.NewFieldError("retry_of", "task %s makes %s: publish it on %s", of.ID,
			of.TaskType, events.RequestSubject(project, of.TaskType)))
	}
	input, err := records.Input(ctx, of)
	if err != nil {
		return r, of, err
	}
	var wrong *events.FieldError
	if r, err = Request(r, of, input); errors.As(err, &wrong) {
		return r, of, refusal(events.CodeConflict, wrong)
	}
	return r, of, err
}

func refusal(code string, err *events.FieldError) *events.Error {
	return &events.Error{
		Code: code, Kind: events.KindInvalid, Message: err.Error(), Field: err.Field, Charge: events.ChargeNone,
	}
}

// MayBePaid reports whether a retry of a task needs pay_again, and why, for people.
func MayBePaid(t events.Task) (why string, yes bool) {
	charged := t.Error != nil && (t.Error.Charge == events.ChargePossible || t.Error.Charge == events.ChargeConfirmed)
	for _, a := range t.Attempts {
		charged = charged || a.Charge != events.ChargeNone
	}
	switch {
	case t.Phase == events.PhaseInDoubt, t.Phase == events.PhaseParked:
		return "is in doubt: the provider may have it", true
	case t.Status == events.StatusCompleted:
		return "has completed", true
	case charged:
		return "may have been charged", true
	}
	return "", false
}

// Request returns the whole of a request with retry_of: what it does not say itself is that of the task that it names,
// whose input is given, since it need not be in the record. Its error is a FieldError.
func Request(r events.Request, of events.Task, input json.RawMessage) (events.Request, error) {
	doubt := of.Phase == events.PhaseInDoubt || of.Phase == events.PhaseParked
	why, mayBePaid := MayBePaid(of)
	switch {
	case of.ErasedAt != nil:
		return r, events.NewFieldError("retry_of", "task %s is erased, with what it was given", of.ID)
	case !of.Status.Terminal() && !doubt:
		return r, events.NewFieldError("retry_of", "task %s has not ended", of.ID)
	case mayBePaid && !r.PayAgain:
		return r, events.NewFieldError("pay_again", "task %s %s; to pay again, say so: true", of.ID, why)
	}
	var err error
	if r.After, r.Input, err = dependencies(r, of, input); err != nil {
		return r, err
	}
	r.Provider, r.Model, r.OnDependency = cmp.Or(of.Group, of.Lane), of.Model, of.OnDependency
	r.Replace = nil
	r = fill(r, of)
	_, err = r.Dependencies() // a replacement may name the retry itself
	return r, err
}

// fill takes what a request does not say itself from the task that it repeats.
func fill(r events.Request, of events.Task) events.Request {
	set(&r.SceneID, of.SceneID)
	if r.BatchID == "" {
		r.BatchID, r.BatchSize = of.BatchID, of.BatchSize
	}
	set(&r.Priority, of.Priority)
	set(&r.OnInDoubt, of.OnInDoubt)
	set(&r.MaxPaidAttempts, of.MaxPaidAttempts)
	set(&r.Keep, of.Keep)
	set(&r.Notify, of.Notify)
	set(&r.Timeout, timeout(of, &of.Deadline))
	set(&r.StartTimeout, min(timeout(of, of.StartDeadline), r.Timeout))
	if c := of.Cost; c != nil {
		set(&r.EstimatedUSD, value(c.EstimatedUSD))
		set(&r.MaxCostUSD, value(c.MaxUSD))
	}
	if r.Metadata == nil {
		r.Metadata = of.Metadata
	}
	return r
}

// set sets what was not said.
func set[T comparable](v *T, of T) {
	var zero T
	if *v == zero {
		*v = of
	}
}

func value(usd *float64) float64 {
	if usd == nil {
		return 0
	}
	return *usd
}

// timeout is how long a task was given until a deadline of its own, which time in doubt has moved.
func timeout(of events.Task, until *time.Time) events.Duration {
	if until == nil {
		return 0
	}
	d := until.Sub(of.TimeoutsFrom()).Round(time.Millisecond)
	return events.Duration(min(max(d, events.MinTimeout), events.MaxTimeout))
}

// dependencies returns what the retry waits for and its input: what the task still waited for when it ended, or what
// takes the place of that.
func dependencies(r events.Request, of events.Task, input json.RawMessage) ([]string, json.RawMessage, error) {
	for _, id := range slices.Sorted(maps.Keys(r.Replace)) {
		if !slices.Contains(of.WaitsFor, id) {
			return nil, nil, events.NewFieldError("replace", "task %s did not wait for %s any more: what that has made is in its input",
				of.ID, id)
		}
	}
	var after []string
	for _, id := range of.WaitsFor {
		after = append(after, instead(r, id))
	}
	if len(r.Replace) == 0 {
		return after, input, nil
	}
	input, err := events.ReplaceReferences("input", input, func(ref events.Reference) (json.RawMessage, error) {
		return events.Marshal(rewritten(ref, instead(r, ref.From)))
	})
	return after, input, err
}

func instead(r events.Request, id string) string {
	if other, ok := r.Replace[id]; ok {
		return other
	}
	return id
}

// rewritten is the object of a reference to another task.
func rewritten(ref events.Reference, from string) map[string]any {
	object := map[string]any{"$from": from}
	switch {
	case ref.Field != "":
		object["field"] = ref.Field
	case ref.Output != 0:
		object["output"] = ref.Output
	}
	return object
}

// NextID is the usual id of a retry: "<id>-r2", of that "<id>-r3". An id that would be too long loses its end.
func NextID(id string) string {
	base, n := id, 2
	if i := strings.LastIndex(id, "-r"); i > 0 {
		if last, err := strconv.Atoi(id[i+2:]); err == nil && last >= 2 && last < maxRetries {
			base, n = id[:i], last+1
		}
	}
	suffix := "-r" + strconv.Itoa(n)
	return base[:min(len(base), events.MaxTokenBytes-len(suffix))] + suffix
}

// maxRetries is the highest number that NextID counts on from.
const maxRetries = 1000
