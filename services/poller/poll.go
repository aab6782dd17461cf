package poller

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/dependency"
	"reelay/internal/provider"
	"reelay/internal/task"
	"reelay/internal/trace"
)

const (
	// headerMarker is set on the marker that an expired heartbeat message leaves behind. It counts as a heartbeat that
	// no poller received in time.
	headerMarker = "Nats-Marker-Reason"
	// maxCancelWait bounds one call of a provider's cancel.
	maxCancelWait = 30 * time.Second
)

// handleTicket handles one delivery of a poll ticket: it polls the task and hands the ticket back with the delay
// until the next poll.
func (s *Service) handleTicket(ctx context.Context, m bus.Message) bus.Outcome {
	laneName, key, err := events.ParsePollSubject(m.Subject)
	if err != nil {
		return bus.Terminate(err.Error())
	}
	l, ok := s.lanes[laneName]
	if !ok {
		return bus.Terminate("no such lane in this poller")
	}
	t, err := s.ticketTask(ctx, m, key)
	switch {
	case errors.Is(err, bus.ErrNotFound):
		return bus.Done() // the record has expired
	case err != nil:
		return s.store.Redeliver(ctx, key, err)
	}
	ctx = trace.With(ctx, t.Traceparent)
	if wait := s.firstDelay(l, t, time.Now()); m.Delivered == 1 && wait > 0 {
		return bus.RetryAfter(jittered(wait))
	}
	t, _, err = s.poll(ctx, l, t, byClock)
	switch {
	case err != nil:
		return s.store.Redeliver(ctx, key, err)
	case !task.Needs(t).PollTicket:
		return bus.Done()
	}
	return bus.RetryAfter(jittered(s.nextDelay(l, t, time.Now())))
}

// readEvery is how many deliveries of a ticket go by until its record is read: nothing else tells a poller that another
// process has ended the task while the provider goes on with it.
const readEvery = 16

// ticketTask returns the task of a poll ticket. At first that is the record that the ticket has brought, then the one
// that this process carries. Either may be old: a poll that finds something new for it is recorded on the newest, and
// what else happens to the task is the matter of its heartbeat. That it need not be polled only a record can say that is
// read: the ticket ends with it.
func (s *Service) ticketTask(ctx context.Context, m bus.Message, key events.Key) (events.Task, error) {
	if m.Delivered == 1 {
		if t, revision, stored, ok := bus.ReadPollTicket(m); ok && t.Key() == key {
			s.store.Carry(t, revision, stored)
		}
	}
	if m.Delivered%readEvery != 0 {
		if t, err := s.store.Current(ctx, key); err != nil || task.Needs(t).PollTicket {
			return t, err
		}
	}
	return s.store.Get(ctx, key)
}

// handleHeartbeat acts on what is overdue in a record.
func (s *Service) handleHeartbeat(ctx context.Context, m bus.Message) bus.Outcome {
	key, err := events.ParseHeartbeatSubject(m.Subject)
	if err != nil {
		return bus.Terminate(err.Error())
	}
	t, err := s.store.Get(ctx, key)
	if errors.Is(err, bus.ErrNotFound) {
		return bus.Done()
	}
	ctx = trace.With(ctx, t.Traceparent)
	if err == nil && m.Get(headerMarker) != "" && t.Phase == events.PhaseDone && !t.Unannounced {
		return bus.Done() // the last heartbeat of an ended task has expired
	}
	if err == nil {
		s.metrics.heartbeats.Inc()
		t, err = s.resolve(ctx, t)
	}
	if err == nil {
		t, err = s.failCycle(ctx, t)
	}
	if err == nil {
		t, err = s.applyHeartbeat(ctx, t) // after the search, whose result counts
	}
	if l := s.lanes[t.Lane]; err == nil && l != nil {
		if t.Phase == events.PhaseCancelling && callbackRequested(t) {
			_, _, err = s.poll(ctx, l, t, byClock) // the delivery of its ticket may be minutes away
		} else {
			_, err = s.askCancel(ctx, l, t)
		}
	}
	if err != nil {
		return s.store.Redeliver(ctx, key, err)
	}
	return bus.Done()
}

// applyHeartbeat applies a heartbeat and returns the record as it then is.
func (s *Service) applyHeartbeat(ctx context.Context, t events.Task) (events.Task, error) {
	tr := task.Heartbeat{Meta: s.meta()}
	if waitsOverdue(t, tr.At) {
		state, err := dependency.Read(ctx, s.store, t)
		if err != nil {
			return t, err
		}
		tr.Missing = state.Missing
	}
	if l := s.lanes[t.Lane]; l != nil {
		tr.Horizon = l.Horizon(t)
		if l.Driver.Features(t.Model).List {
			tr.Listings = listings
		}
	}
	c, err := s.store.Apply(ctx, t.Key(), tr)
	return c.Task, err
}

// waitsOverdue reports whether a task still waits for others when its deadline has passed.
func waitsOverdue(t events.Task, now time.Time) bool {
	return len(t.WaitsFor) > 0 && task.Overdue(t, now)
}

// failCycle fails a task that waits for itself, through others. It is searched for where a deadline would end the task if
// the tasks that it waits for had none of their own.
func (s *Service) failCycle(ctx context.Context, t events.Task) (events.Task, error) {
	if !waitsOverdue(t, time.Now()) {
		return t, nil
	}
	cycle, err := dependency.Cycle(ctx, s.store, t.Key(), t.WaitsFor)
	switch {
	case errors.Is(err, dependency.ErrTooMany):
		s.log.WarnContext(ctx, "a task waits for more tasks than are read; whether for itself is not known", "task", t.Key(),
			"error", err)
		return t, nil
	case err != nil || cycle == nil:
		return t, err
	}
	c, err := s.store.Apply(ctx, t.Key(), task.DependencyFailed{Meta: s.meta(), Err: cycle})
	return c.Task, err
}

// poll asks the provider about one task and records what is new. It returns the record as it then is, and whether the
// provider answered.
func (s *Service) poll(ctx context.Context, l *lane, t events.Task,
	why cause,
) (now events.Task, answered bool, err error) {
	if t.Phase == events.PhaseDone && !task.Needs(t).PollTicket || task.Overdue(t, time.Now()) {
		// On an ended task this stores the events that a crash may have left out.
		if t, err = s.applyHeartbeat(ctx, t); err != nil {
			return t, false, err
		}
	}
	if t, err = s.askCancel(ctx, l, t); err != nil {
		return t, false, err
	}
	if !task.Needs(t).PollTicket {
		return t, false, nil
	}
	ctx, span := s.o.Tracer.Start(ctx, trace.Poll, &t)
	defer span.End()
	var snap provider.Snapshot
	seen := false
	if mayPollBatched(t, why) {
		snap, seen = s.pollBatched(ctx, l, t.ProviderRef)
	}
	if !seen {
		snap, err = s.pollProvider(ctx, l, t.ProviderRef)
	}
	if errors.Is(err, circuitbreaker.ErrOpen) {
		return t, false, nil
	}
	if ctx.Err() != nil {
		return t, false, ctx.Err() // the service is stopping: the poll says nothing
	}
	var tr task.Trigger
	if answered = err == nil; answered {
		o, err := s.observed(ctx, why, t, t.ProviderID, snap)
		if err != nil {
			return t, true, err
		}
		o.Estimate = s.estimate(t, o)
		tr = o
	} else {
		e := provider.AsError(err)
		span.Fail(string(e.Kind))
		s.log.InfoContext(ctx, "poll failed", "task", t.Key(), "kind", e.Kind, "code", e.Code, "reason", e.Message)
		tr = task.PollFailed{Meta: why.meta(), Err: e}
	}
	c, err := s.store.Apply(ctx, t.Key(), tr)
	if err == nil {
		s.recordEnd(ctx, l, c, why)
	}
	return c.Task, answered, err
}

// mayPollBatched reports whether an answer that is some seconds old will do. It will not where a callback has
// reported an end, or a cancel is under way.
func mayPollBatched(t events.Task, why cause) bool {
	return !why.isCallback() && t.Phase == events.PhaseRunning && t.Trouble == nil
}

// pollBatched polls a running task from the driver's last list, without a call of its own, where the driver can.
func (s *Service) pollBatched(ctx context.Context, l *lane, ref json.RawMessage) (provider.Snapshot, bool) {
	g, ok := l.Driver.(BatchPoller)
	if !ok {
		return provider.Snapshot{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	snap, ok := g.PollBatched(ctx, ref)
	if ok {
		s.countPoll(l, "batched")
	}
	return snap, ok
}

// pollProvider makes the calls of one poll.
func (s *Service) pollProvider(ctx context.Context, l *lane, ref json.RawMessage) (provider.Snapshot, error) {
	begin := time.Now()
	snap, err := l.polls.WithContext(ctx).GetWithExecution(
		func(e failsafe.Execution[provider.Snapshot]) (provider.Snapshot, error) {
			return l.Driver.Poll(e.Context(), ref)
		})
	s.metrics.duration.WithLabelValues(l.Name).Observe(time.Since(begin).Seconds())
	switch {
	case errors.Is(err, circuitbreaker.ErrOpen):
		s.metrics.polls.WithLabelValues(l.Name, "skipped").Inc()
	case ctx.Err() != nil:
	case err != nil:
		s.countPoll(l, string(provider.AsError(err).Kind))
	default:
		s.countPoll(l, "ok")
	}
	return snap, err
}

// countPoll counts a poll that was made.
func (s *Service) countPoll(l *lane, result string) {
	s.metrics.polls.WithLabelValues(l.Name, result).Inc()
	l.updateDetection(detection.afterPoll)
}

// askCancel asks the provider to cancel, if the record wants that.
func (s *Service) askCancel(ctx context.Context, l *lane, t events.Task) (events.Task, error) {
	if !task.AskCancelNow(t, time.Now()) {
		return t, nil
	}
	callCtx, cancel := context.WithTimeout(ctx, maxCancelWait)
	defer cancel()
	outcome, err := l.Driver.Cancel(callCtx, t.ProviderRef)
	if ctx.Err() != nil {
		return t, ctx.Err()
	}
	tr := task.CancelAnswered{Meta: s.meta(), Outcome: outcome}
	if err != nil {
		tr.Err = provider.AsError(err)
	}
	s.log.InfoContext(ctx, "provider was asked to cancel", "task", t.Key(), "outcome", outcome, "error", err)
	c, err := s.store.Apply(ctx, t.Key(), tr)
	return c.Task, err
}

// observed makes a trigger of a snapshot of a task's request with that id.
func (s *Service) observed(ctx context.Context, c cause, t events.Task, id string, snap provider.Snapshot,
) (task.PollResult, error) {
	fit, rawRef, err := s.store.Fit(ctx, t, snap)
	return task.PollResult{Meta: c.meta(), ID: id, Snapshot: fit, RawRef: rawRef}, err
}

func (s *Service) meta() task.Meta { return byClock.meta() }
