package archiver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"reelay/events"
	"reelay/internal/artifact"
	"reelay/internal/bus"
	"reelay/internal/media"
	"reelay/internal/task"
	"reelay/internal/trace"
)

const (
	// A task is tried again after the time since its result was known, divided by retryShare: often at first, as links of
	// minutes do not always say so, and in the end every maxRetryDelay. With links of six minutes, an outage of five leaves
	// time for two tries.
	firstRetryDelay = 2 * time.Second
	maxRetryDelay   = 5 * time.Minute
	retryShare      = 16
	// patience is for how long after the result was known what a server refuses, or sends in place of a file, is tried
	// again: it may pass, as may a gateway's page. Whatever else fails is tried until maxAge, or an hour after the link
	// has died.
	patience = time.Hour
	maxAge   = 7 * 24 * time.Hour
	// otherTries is how often a file of another kind than was asked for has to come to be what the provider has made.
	otherTries = 3
)

// handle stores the outputs of one task.
func (s *Service) handle(ctx context.Context, m bus.Message) bus.Outcome {
	key, err := events.ParseArtifactSubject(m.Subject)
	if err != nil {
		return bus.Terminate(err.Error())
	}
	t, err := s.records.Get(ctx, key)
	if errors.Is(err, bus.ErrNotFound) {
		s.expiry.forget(key)
		return bus.Done() // the record has expired, and its files with it
	}
	if err != nil {
		return s.records.Redeliver(ctx, key, err)
	}
	left := task.Unsettled(t)
	if len(left) == 0 { // what is left is to publish what a crash may have left out
		return s.record(ctx, m, t, nil, nil)
	}
	death := firstDeath(t, left)
	s.expiry.follow(key, resultAt(t), death, t.Traceparent)
	ctx = trace.With(ctx, t.Traceparent)
	leave, err := s.gate.enter(ctx, death)
	if err != nil {
		return bus.RetryAfter(time.Second) // the service is stopping
	}
	ctx, span := s.o.Tracer.Start(ctx, trace.Store, &t) // without the wait for a slot
	defer span.End()
	outputs, failed := s.settleAll(ctx, t, left)
	leave()
	if failed != nil {
		span.Fail(codeOf(failed))
	}
	return s.record(ctx, m, t, outputs, failed)
}

// settleAll tries each output that is left. It returns the outputs as they then are, and why one has to be tried again.
func (s *Service) settleAll(ctx context.Context, t events.Task, left []int) (outputs []events.Output, failed error) {
	outputs = slices.Clone(t.Result.Outputs)
	for _, i := range left {
		o, err := s.settle(ctx, t, i)
		switch {
		case err == nil:
			outputs[i] = o
			s.metrics.stored.WithLabelValues(t.Lane).Inc()
			s.metrics.bytes.WithLabelValues("stored").Add(float64(o.Size))
		case ctx.Err() != nil:
			return outputs, ctx.Err()
		case final(t, i, err, now()):
			s.log.ErrorContext(ctx, "an output that was paid for cannot be stored", "task", t.Key(), "output", i+1, "reason", err)
			s.metrics.lost.WithLabelValues(t.Lane, codeOf(err)).Inc()
			outputs[i].Stored, outputs[i].StoreError = new(false), storeError(err)
			if other := otherKind(err); other != nil {
				outputs[i].StoredURL = other.place
			}
		default:
			failed, outputs[i].StoreError = err, storeError(err)
		}
	}
	return outputs, failed
}

// record writes down what was settled, and says what becomes of the message.
func (s *Service) record(ctx context.Context, m bus.Message, t events.Task, outputs []events.Output,
	failed error,
) bus.Outcome {
	c, err := s.records.Apply(ctx, t.Key(), task.Stored{
		Meta: task.Meta{At: now(), By: name}, Outputs: outputs,
	})
	if errors.Is(err, bus.ErrNotFound) {
		return bus.Done()
	}
	if err != nil {
		return s.records.Redeliver(ctx, t.Key(), err)
	}
	for _, n := range s.kept.take(t.Key()) {
		s.release(ctx, n, t.Key())
	}
	if r := c.Task.Result; r != nil {
		s.deleteRefused(ctx, c.Task, outputs)
		for i, o := range r.Outputs {
			if o.Stored != nil {
				s.spool.remove(t.Key(), i)
			}
			if o.IsStored() && o.Object == "" {
				s.dropWork(ctx, t, i)
			}
		}
	}
	if len(task.Unsettled(c.Task)) == 0 {
		s.expiry.forget(t.Key())
		return bus.Done()
	}
	delay := min(max(firstRetryDelay, now().Sub(resultAt(t))/retryShare), maxRetryDelay)
	if death := firstDeath(t, task.Unsettled(c.Task)); !death.IsZero() {
		// A link that is about to die is tried more often.
		delay = min(delay, max(firstRetryDelay, time.Until(death)/retryShare))
	}
	s.metrics.retries.WithLabelValues(t.Lane, codeOf(failed)).Inc()
	s.log.InfoContext(ctx, "outputs could not be stored yet", "task", t.Key(), "try", m.Delivered, "again_in", delay, "reason", failed)
	return bus.RetryAfter(delay)
}

// deleteRefused deletes the files that were stored while their task was erased.
func (s *Service) deleteRefused(ctx context.Context, t events.Task, outputs []events.Output) {
	for i, o := range outputs {
		n, ok := nameOf(o.StoredURL)
		if !ok || i >= len(t.Result.Outputs) || !isErased(t.Result.Outputs[i]) {
			continue
		}
		if _, err := s.deleteUnnamed(ctx, t.Project, []artifact.File{{Name: n}}, t.Key()); err != nil {
			s.log.ErrorContext(ctx, "a file of a task that was erased could not be deleted", "task", t.Key(), "name", n, "error", err)
		}
	}
}

func isErased(o events.Output) bool {
	return o.StoreError != nil && o.StoreError.Code == events.CodeErased
}

// dropWork deletes what the work of a task has made, once it is stored. t is the record as it was before. What stays
// here, after a crash, goes with the age of its bucket.
func (s *Service) dropWork(ctx context.Context, t events.Task, i int) {
	name := events.WorkObject(t.Key())
	if t.Result == nil || len(t.Result.Outputs) <= i || t.Result.Outputs[i].Object != name {
		return
	}
	if err := s.o.Bus.DeleteObject(ctx, name); err != nil {
		s.log.WarnContext(ctx, "what was stored could not be taken out of the object store", "task", t.Key(), "error", err)
	}
}

// resultAt is when the result of a task was known.
func resultAt(t events.Task) time.Time {
	at := t.CreatedAt
	for _, tr := range t.Transitions {
		if tr.To == events.PhaseStoring || tr.Event == events.EventCompleted || tr.Event == events.EventLateResult {
			at = tr.At
			if tr.Event != events.EventCompleted {
				return at
			}
		}
	}
	return at
}

// firstDeath is when the first link of the outputs that are left dies; zero if that is not known of any.
func firstDeath(t events.Task, left []int) (first time.Time) {
	for _, i := range left {
		at := t.Result.Outputs[i].ExpiresAt
		if at != nil && (first.IsZero() || at.Before(first)) {
			first = *at
		}
	}
	return first
}

// final reports whether trying output i again cannot help any more.
func final(t events.Task, i int, err error, at time.Time) bool {
	since := at.Sub(resultAt(t))
	switch {
	case errors.Is(err, errUnusable), errors.Is(err, media.ErrTooLarge), errors.Is(err, errProjectFull):
		return true
	case otherKind(err) != nil:
		return otherKind(err).times >= otherTries
	case isRefusal(err):
		return since >= patience
	}
	if death := t.Result.Outputs[i].ExpiresAt; death != nil && at.After(death.Add(patience)) && since >= patience &&
		!errors.Is(err, errStore) {
		return true
	}
	return since >= maxAge
}

// isRefusal reports whether the server of a link answers, with something else than the file.
func isRefusal(err error) bool {
	return errors.Is(err, media.ErrRefused) || errors.Is(err, media.ErrNotMedia) || errors.Is(err, media.ErrChecksum) ||
		errors.Is(err, media.ErrUnsafe) || otherKind(err) != nil
}

// otherKind returns what came of another kind than was asked for; nil for any other error.
func otherKind(err error) *otherKindError {
	var other *otherKindError
	errors.As(err, &other)
	return other
}

// The codes of a StoreError, and of the metrics.
const (
	codeRefused  = "link_refused"
	codeNotMedia = "not_media"
	codeOther    = "another_kind"
	codeChecksum = "checksum"
	codeUnsafe   = "unsafe_link"
	codeTooLarge = "too_large"
	codeFull     = "project_full"
	codeUnusable = "unusable_link"
	codeStore    = "store_failed"
	codeFetch    = "fetch_failed"
)

func codeOf(err error) string {
	switch {
	case errors.Is(err, errUnusable):
		return codeUnusable
	case errors.Is(err, media.ErrTooLarge):
		return codeTooLarge
	case errors.Is(err, errProjectFull):
		return codeFull
	case errors.Is(err, media.ErrUnsafe):
		return codeUnsafe
	case otherKind(err) != nil:
		return codeOther
	case errors.Is(err, media.ErrNotMedia):
		return codeNotMedia
	case errors.Is(err, media.ErrChecksum), errors.Is(err, artifact.ErrChecksum):
		return codeChecksum
	case errors.Is(err, errStore):
		return codeStore
	case errors.Is(err, media.ErrRefused):
		return codeRefused
	}
	return codeFetch
}

// storeError says in a record why an output was given up, or is not stored yet. The task was paid for, and that has not changed.
func storeError(err error) *events.Error {
	return &events.Error{
		Code: codeOf(err), Kind: events.KindInternal, Charge: events.ChargeConfirmed,
		Message: clip(fmt.Sprint(err)),
	}
}
