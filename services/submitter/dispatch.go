package submitter

import (
	"context"
	"errors"
	"sync"
	"time"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/bus"
	"reelay/internal/lease"
	"reelay/internal/task"
)

const (
	// stoppedWait is how soon a lane is asked again that something outside stops. The end of a pause wakes it at once.
	stoppedWait = time.Second
	// catchUpTick is how often whoever takes a lane over looks whether it knows all.
	catchUpTick = 50 * time.Millisecond
	// catchUpWait is how long that may take. One that does not get to know all, whatever keeps it, lets another have the
	// lane.
	catchUpWait = time.Minute
)

// dispatch sends the waiting tasks of a lane, whenever this is the process that holds its lease, until ctx ends; then
// it waits for those under way.
func (s *Service) dispatch(ctx context.Context, l *lane) error {
	candidate := lease.Candidate{Bus: s.o.Bus, Log: s.log, Name: s.id, TTL: s.o.LeaseTTL}
	candidate.Lead(ctx, l.Name, func(term context.Context, held *lease.Lease) {
		s.metrics.leads.WithLabelValues(l.Name).Set(1)
		defer s.metrics.leads.WithLabelValues(l.Name).Set(0)
		if err := s.lead(ctx, term, l, held); err != nil && term.Err() == nil {
			s.log.WarnContext(ctx, "the lane could not be taken over", "lane", l.Name, "error", err)
		}
		if ctx.Err() != nil || held.Resigned() {
			l.running.Wait() // before the lease is given back: the next must find every request in the records
		}
	})
	l.running.Wait()
	return nil
}

// lead takes a lane over and sends its tasks until term ends. What it has begun goes on under ctx.
func (s *Service) lead(ctx, term context.Context, l *lane, held *lease.Lease) error {
	handOver, err := lease.HandOver(term, s.o.Bus, l.Name)
	switch {
	case errors.Is(err, bus.ErrUnreadable):
		s.log.Error("what the dispatcher before has learned could not be read and is lost", "lane", l.Name, "error", err)
		handOver = bucket.HandOver{}
	case err != nil:
		return err
	}
	l.queue.Restore(handOver.Groups, time.Now())
	if err := s.catchUp(term); err != nil {
		return err
	}
	stop, err := s.answerPositions(l)
	if err != nil {
		return err
	}
	defer stop()
	stopSchemas, err := s.schemas.Answer(term, s.o.Bus.Conn(), l.Lane)
	if err != nil {
		return err
	}
	defer stopSchemas()
	var publishers sync.WaitGroup
	defer publishers.Wait()
	publishers.Go(func() { s.announceState(term, l, held, handOver) })
	publishers.Go(func() { s.publishPositions(term, l) })
	for {
		if _, ok := l.ramp.Slots.Enter(term, ctx); !ok {
			return nil
		}
		key, ok := s.await(term, l)
		if !ok {
			l.ramp.Slots.Leave()
			return nil
		}
		for _, o := range l.siblings { // they need not try it, too
			o.see(key, nil, 0, time.Now())
		}
		l.running.Go(func() {
			free := sync.OnceFunc(l.ramp.Slots.Leave)
			defer free()
			t, notBefore := s.send(ctx, l, held, key, free)
			l.finish(key, t, notBefore, time.Now())
			s.tell(ctx, l, key, t)
		})
	}
}

// errBehind says that the watch of the records does not get as far as they were.
var errBehind = errors.New("the records are not all known yet")

// catchUp waits until everything is known that was acknowledged before now: also what the dispatcher before has sent.
// It fails with errBehind when that takes longer than catchUpWait.
func (s *Service) catchUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, catchUpWait, errBehind)
	defer cancel()
	last, err := s.o.Bus.LastChange(ctx)
	if err != nil {
		return err
	}
	for s.followed.Load() < last || !s.ready.Load() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(catchUpTick):
		}
	}
	return nil
}

// await returns the task that is sent next, as soon as it may be; false when ctx ends.
func (s *Service) await(ctx context.Context, l *lane) (events.Key, bool) {
	for {
		now := time.Now()
		outside := s.outside(l, now)
		key, ok, wait := l.queue.Next(now, outside)
		if ok {
			return key, true
		}
		if outside.Blocked != nil && (wait == 0 || wait > stoppedWait) {
			wait = stoppedWait
		}
		var timer <-chan time.Time
		if wait > 0 {
			timer = time.After(wait)
		}
		select {
		case <-ctx.Done():
			return events.Key{}, false
		case <-l.wake:
		case <-timer:
		}
	}
}

func (s *Service) meta() task.Meta { return task.Meta{At: time.Now().UTC(), By: name} }
