package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
)

const (
	// waitStep is how often a followed task is asked for while no event comes.
	waitStep = 10 * time.Second
	// eventGrace is how long the events of an ended task may still trickle in.
	eventGrace = time.Second
	// maxNotFound is how many times in a row a task may be unknown: the read side may lag behind the submit.
	maxNotFound = 10
	// eventBuffer holds events between the connection and the terminal.
	eventBuffer = 256
)

// subscribe delivers the events whose subjects match filter until ctx ends: those that happen from now on, or, sinceStart, all
// that are stored first. Events of a type this build does not know are left out.
func (a *api) subscribe(ctx context.Context, filter string, sinceStart bool) (<-chan events.Event, error) {
	out := make(chan events.Event, eventBuffer)
	deliver := func(ceType string, data []byte) {
		e, err := events.DecodeEvent(ceType, data)
		if err != nil {
			return
		}
		select {
		case out <- e:
		case <-ctx.Done():
		}
	}
	if !sinceStart {
		sub, err := a.nc.Subscribe(filter, func(m *nats.Msg) { deliver(m.Header.Get(events.HeaderType), m.Data) })
		if err != nil {
			return nil, fmt.Errorf("subscribe to %s: %w", filter, err)
		}
		context.AfterFunc(ctx, func() { _ = sub.Unsubscribe() })
		// Flushed, so that nothing that happens after this call is missed.
		flushCtx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		if err := a.nc.FlushWithContext(flushCtx); err != nil {
			return nil, fmt.Errorf("subscribe to %s: %w: %w", filter, errNoAnswer, err)
		}
		return out, nil
	}
	js, err := jetstream.New(a.nc)
	if err != nil {
		return nil, err
	}
	consumer, err := js.OrderedConsumer(ctx, events.StreamEvents, jetstream.OrderedConsumerConfig{FilterSubjects: []string{filter}})
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", events.StreamEvents, err)
	}
	reading, err := consumer.Consume(func(m jetstream.Msg) { deliver(m.Headers().Get(events.HeaderType), m.Data()) })
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", events.StreamEvents, err)
	}
	context.AfterFunc(ctx, reading.Stop)
	return out, nil
}

// A follower is told what happens to a task. Any of its functions may be nil.
type follower struct {
	// event hears every event, task every newer state of the record, note what goes wrong on the way.
	event func(events.Event)
	task  func(events.Task)
	note  func(string)
	// since is the version that has been shown already: nothing older is.
	since uint64
	// tick is called every second.
	tick func()
	// linger waits for stored events behind the terminal one, such as a late result.
	linger bool
}

// follow returns the task once it has ended; stream may be nil. Events make it lively; the truth is what the wait verb answers, asked over and
// over, so that a lost event or a restarted broker cannot keep it waiting.
func (a *api) follow(ctx context.Context, k events.Key, stream <-chan events.Event, f follower) (events.Task, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := a.poll(ctx, k)
	var second <-chan time.Time
	if f.tick != nil {
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		second = ticker.C
	}
	last := events.Task{Version: f.since}
	var grace <-chan time.Time
	seen := func(t *events.Task) {
		if t == nil || t.Key() != k || t.Version < last.Version || last.Status.Terminal() && !t.Status.Terminal() {
			return
		}
		last = *t
		if f.task != nil {
			f.task(last)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return last, ctx.Err()
		case e := <-stream:
			if e.Key() != k {
				continue
			}
			if f.event != nil {
				f.event(e)
			}
			seen(e.Task)
			if e.Type.Terminal() && last.Status.Terminal() && !f.linger {
				return last, nil
			}
			if grace != nil {
				grace = time.After(eventGrace)
			}
		case answer := <-answers:
			if answer.err != nil {
				return last, answer.err
			}
			if answer.note != "" {
				if f.note != nil {
					f.note(answer.note)
				}
				continue
			}
			seen(&answer.task)
			if last.Status.Terminal() && stream == nil {
				return last, nil
			}
			if last.Status.Terminal() && grace == nil {
				grace = time.After(eventGrace)
			}
		case <-grace:
			return last, nil
		case <-second:
			f.tick()
		}
	}
}

// A waitAnswer is what one wait told: the task, a passing trouble or the end of all hope.
type waitAnswer struct {
	task events.Task
	note string
	err  error
}

// poll asks with the wait verb until the task has ended or ctx has.
func (a *api) poll(ctx context.Context, k events.Key) <-chan waitAnswer {
	out := make(chan waitAnswer)
	send := func(answer waitAnswer) bool {
		select {
		case out <- answer:
			return ctx.Err() == nil
		case <-ctx.Done():
			return false
		}
	}
	go func() {
		notFound, inTrouble := 0, false
		for {
			task, _, err := a.wait(ctx, k, waitStep)
			if err == nil {
				notFound, inTrouble = 0, false
				if !send(waitAnswer{task: task}) || task.Status.Terminal() {
					return
				}
				continue
			}
			var refused *apiError
			switch {
			case errors.As(err, &refused) && refused.reason.Code == events.CodeNotFound:
				if notFound++; notFound == maxNotFound {
					send(waitAnswer{err: err})
					return
				}
			case errors.Is(err, nats.ErrConnectionClosed):
				send(waitAnswer{err: err})
				return
			case !inTrouble:
				inTrouble = true
				if !send(waitAnswer{note: fmt.Sprintf("cannot see the task now, still trying: %v", err)}) {
					return
				}
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(a.retryPause):
			}
		}
	}()
	return out
}

// outcome turns an ended task into what a command returns: nil if it has completed.
func outcome(t events.Task) error {
	if t.Status == events.StatusCompleted {
		return nil
	}
	reason := events.Error{Code: string(t.Status), Message: "no reason was given"}
	if t.Error != nil {
		reason = *t.Error
	}
	return &taskError{task: t, reason: reason}
}

// A taskError is a task that ended without a result.
type taskError struct {
	task   events.Task
	reason events.Error
}

// Error gives the provider's own reason and what is known about the price.
func (e *taskError) Error() string {
	text := fmt.Sprintf("task %s %s: %s", e.task.ID, e.task.Status, clean(e.reason.Error()))
	switch e.reason.Charge {
	case events.ChargePossible:
		text += "; it may have been charged"
	case events.ChargeConfirmed:
		text += "; it was charged"
	}
	return text
}
