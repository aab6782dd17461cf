package client

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
	// waitStep is how often a watched task is asked for while no event comes.
	waitStep = 10 * time.Second
	// eventGrace is how long the events of an ended task may still trickle in.
	eventGrace = time.Second
	// maxUnknown is for how long a task may be unknown: the read side may lag behind the submit.
	maxUnknown = 20 * time.Second
	// eventBuffer holds events between the connection and their reader.
	eventBuffer = 256
	// ackWait is how long handle may take in Follow before its event is delivered again.
	ackWait = 30 * time.Second
)

// Subscribe delivers the events that are published from now on and whose subjects match filter (events.EventSubject,
// with "*" for a task or type), until ctx ends; the channel is not closed. It listens when Subscribe returns, so what
// is submitted after that is heard. A reader that falls far behind is cut off by the NATS server, and misses events.
// Events of a type that this build does not know are left out.
func (c *Client) Subscribe(ctx context.Context, filter string) (<-chan events.Event, error) {
	out := make(chan events.Event, eventBuffer)
	sub, err := c.nc.Subscribe(filter, func(m *nats.Msg) { deliver(ctx, out, m.Header, m.Data) })
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", filter, err)
	}
	context.AfterFunc(ctx, func() { _ = sub.Unsubscribe() })
	flush, cancel := context.WithTimeout(ctx, AnswerTimeout)
	defer cancel()
	if err := c.nc.FlushWithContext(flush); err != nil {
		_ = sub.Unsubscribe()
		return nil, fmt.Errorf("subscribe to %s: %w: %w", filter, ErrNoAnswer, err)
	}
	return out, nil
}

// Replay is Subscribe that begins with the events that are stored, 30 days back, and misses none.
func (c *Client) Replay(ctx context.Context, filter string) (<-chan events.Event, error) {
	out := make(chan events.Event, eventBuffer)
	config := jetstream.OrderedConsumerConfig{FilterSubjects: []string{filter}}
	return out, c.read(ctx, config, func(m jetstream.Msg) { deliver(ctx, out, m.Headers(), m.Data()) })
}

// A StoredEvent is an event as its stream has it.
type StoredEvent struct {
	events.Event
	// Sequence is its place in the stream. A later event has a higher one.
	Sequence uint64
}

// ReplaySince is Replay that begins with the events which were stored at a time or later, and tells their places in the
// stream.
func (c *Client) ReplaySince(ctx context.Context, filter string, since time.Time) (<-chan StoredEvent, error) {
	out := make(chan StoredEvent, eventBuffer)
	config := jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{filter}, DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &since,
	}
	return out, c.read(ctx, config, func(m jetstream.Msg) {
		e, err := events.DecodeEvent(m.Headers().Get(events.HeaderType), m.Data())
		place, unplaced := m.Metadata()
		if err != nil || unplaced != nil {
			return
		}
		select {
		case out <- StoredEvent{e, place.Sequence.Stream}:
		case <-ctx.Done():
		}
	})
}

// read calls f with stored events, in order, until ctx ends.
func (c *Client) read(ctx context.Context, config jetstream.OrderedConsumerConfig, f func(jetstream.Msg)) error {
	js, err := c.jetStream()
	if err != nil {
		return err
	}
	consumer, err := js.OrderedConsumer(ctx, events.StreamEvents, config)
	if err != nil {
		return fmt.Errorf("stream %s: %w", events.StreamEvents, err)
	}
	reading, err := consumer.Consume(f)
	if err != nil {
		return fmt.Errorf("stream %s: %w", events.StreamEvents, err)
	}
	context.AfterFunc(ctx, reading.Stop)
	return nil
}

func deliver(ctx context.Context, out chan<- events.Event, h nats.Header, data []byte) {
	e, err := events.DecodeEvent(h.Get(events.HeaderType), data)
	if err != nil {
		return
	}
	select {
	case out <- e:
	case <-ctx.Done():
	}
}

// Follow calls handle with every stored event whose subject matches filter, in order and one at a time, until ctx ends
// or handle fails, and returns why. The durable consumer of that name remembers in NATS what was handled: the first
// call begins with the events that are stored, 30 days back, each later one where the last has left off, and several
// processes share the events of one name. An event is delivered at least once: again if handle has failed or taken more
// than 30 s, or the process has died. The consumer stays until somebody deletes it (nats consumer rm REELAY_EVENTS
// <durable>).
func (c *Client) Follow(ctx context.Context, durable, filter string,
	handle func(context.Context, events.Event) error,
) error {
	js, err := c.jetStream()
	if err != nil {
		return err
	}
	consumer, err := js.CreateOrUpdateConsumer(ctx, events.StreamEvents, jetstream.ConsumerConfig{
		Durable: durable, FilterSubjects: []string{filter}, AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait,
	})
	if err != nil {
		return fmt.Errorf("consumer %s of stream %s: %w", durable, events.StreamEvents, err)
	}
	// One at a time, so that no event waits in a process behind one that is being handled; silence is a broker that is
	// away for a while.
	reading, err := consumer.Messages(jetstream.PullMaxMessages(1), jetstream.WithMessagesErrOnMissingHeartbeat(false))
	if err != nil {
		return fmt.Errorf("consumer %s of stream %s: %w", durable, events.StreamEvents, err)
	}
	defer reading.Stop()
	for {
		m, err := reading.Next(jetstream.NextContext(ctx))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("consumer %s of stream %s: %w", durable, events.StreamEvents, err)
		}
		e, err := events.DecodeEvent(m.Headers().Get(events.HeaderType), m.Data())
		if err == nil { // else one of a later build
			if err := handle(ctx, e); err != nil {
				return errors.Join(err, c.giveBack(ctx, m))
			}
		}
		if err := m.Ack(); err != nil {
			return fmt.Errorf("acknowledge event %s: %w", e.ID(), err)
		}
	}
}

// giveBack has the broker deliver a message again. It waits until the broker knows: the next call would be handed later
// events first.
func (c *Client) giveBack(ctx context.Context, m jetstream.Msg) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), AnswerTimeout)
	defer cancel()
	if _, err := c.nc.RequestWithContext(ctx, m.Reply(), []byte("-NAK")); err != nil {
		return fmt.Errorf("give back an event: %w", err)
	}
	return nil
}

// Wait returns a task once it has ended, or the error of ctx. It asks on while the services restart or NATS is away. A
// task that is still unknown after about 20 s is an *Error with events.CodeNotFound.
func (c *Client) Wait(ctx context.Context, k events.Key) (events.Task, error) {
	return c.Watch(ctx, events.Task{Project: k.Project, ID: k.ID}, nil, Watcher{})
}

// A Watcher is told what happens to a task, one call at a time. Any of its functions may be nil.
type Watcher struct {
	// Event hears every event, Task every newer state of the record, Trouble why the task cannot be seen for a while.
	Event   func(events.Event)
	Task    func(events.Task)
	Trouble func(error)
	// Tick is called every second.
	Tick func()
	// Linger waits for stored events behind the terminal one, such as a late result.
	Linger bool
}

// Watch returns a task once it has ended, or the error of ctx. known is the task as it is known, at least its project
// and id: nothing older is told. stream may be nil. Events make it lively; the truth is what the wait verb answers,
// asked over and over, so that a lost event or a restarted broker cannot keep it waiting.
func (c *Client) Watch(ctx context.Context, known events.Task, stream <-chan events.Event,
	w Watcher,
) (events.Task, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	k := known.Key()
	answers := c.poll(ctx, k)
	var second <-chan time.Time
	if w.Tick != nil {
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		second = ticker.C
	}
	last := known
	var grace <-chan time.Time
	seen := func(t *events.Task) {
		if t.Key() != k || t.Version < last.Version || last.Status.Terminal() && !t.Status.Terminal() {
			return
		}
		last = *t
		if w.Task != nil {
			w.Task(last)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return last, ctx.Err()
		case e := <-stream:
			if e.Key() != k || e.Batch != nil { // a batch may have the id of a task
				continue
			}
			if w.Event != nil {
				w.Event(e)
			}
			// the first answer brings the record, an event what changed in it
			if e.Task != nil || last.Version > 0 && e.Version > 0 {
				updated := e.Update(last)
				seen(&updated)
			}
			if e.Type.Terminal() && last.Status.Terminal() && !w.Linger {
				return last, nil
			}
			if grace != nil {
				grace = time.After(eventGrace)
			}
		case answer := <-answers:
			if answer.err != nil {
				return last, answer.err
			}
			if answer.trouble != nil {
				if w.Trouble != nil {
					w.Trouble(answer.trouble)
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
			w.Tick()
		}
	}
}

// A waitAnswer is what one wait told: the task, a passing trouble or the end of all hope.
type waitAnswer struct {
	task    events.Task
	trouble error
	err     error
}

// poll asks with the wait verb until the task has ended or ctx has.
func (c *Client) poll(ctx context.Context, k events.Key) <-chan waitAnswer {
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
		unknownSince, inTrouble := time.Time{}, false
		if !k.Valid() {
			send(waitAnswer{err: events.NewFieldError("task", "%q is not <project>.<task>", k)})
			return
		}
		for {
			task, err := c.WaitFor(ctx, k, waitStep)
			if err == nil {
				unknownSince, inTrouble = time.Time{}, false
				if !send(waitAnswer{task: task}) || task.Status.Terminal() {
					return
				}
				continue
			}
			switch {
			case HasCode(err, events.CodeNotFound):
				if unknownSince.IsZero() {
					unknownSince = time.Now()
				}
				if time.Since(unknownSince) >= maxUnknown {
					send(waitAnswer{err: err})
					return
				}
			case errors.Is(err, nats.ErrConnectionClosed), HasCode(err, events.CodeInvalidRequest):
				send(waitAnswer{err: err})
				return
			case !inTrouble:
				inTrouble = true
				if !send(waitAnswer{trouble: err}) {
					return
				}
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(c.retryPause):
			}
		}
	}()
	return out
}
