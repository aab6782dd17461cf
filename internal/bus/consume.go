package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/internal/trace"
)

// A Message is one delivery of a stream message.
type Message struct {
	Subject string
	Header  map[string][]string
	Data    []byte
	// Sequence is the place in the stream and Time when it was stored there.
	Sequence uint64
	Time     time.Time
	// Delivered counts the deliveries of this message, from 1.
	Delivered uint64
}

// Get returns the first value of a header.
func (m Message) Get(name string) string {
	if v := m.Header[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// An Outcome is what becomes of a message once its handler is done with it.
type Outcome struct {
	delay  time.Duration
	ack    bool
	reason string
	failed error
}

// Done acknowledges the message: its effect is stored.
func Done() Outcome { return Outcome{ack: true} }

// Acknowledges reports whether an outcome is Done.
func (o Outcome) Acknowledges() bool { return o.ack }

// RetryAfter has the message delivered again after a delay.
func RetryAfter(d time.Duration) Outcome { return Outcome{delay: d} }

// Failed is RetryAfter for what went wrong. A message that goes wrong again and again, while others of its consumer are
// done or hardly find a place, is terminated in the end, so that it does not keep theirs.
func Failed(err error, again time.Duration) Outcome { return Outcome{delay: again, failed: err} }

// Terminate ends the message for ever. It is kept in REELAY_DEAD with the reason, which the server announces in an
// advisory as well.
func Terminate(reason string) Outcome { return Outcome{reason: cmp.Or(reason, "no reason was given")} }

// A Handler does what a message asks for and says what becomes of it. It is called from many goroutines. It may take
// longer than the consumer's AckWait: the server is told that work goes on. A panic is tried again after 30 seconds,
// and ends the message as Terminate does from its fifth delivery on.
type Handler func(ctx context.Context, m Message) Outcome

const (
	// drainWait is how long handlers under way may finish after a consumer was told to stop.
	drainWait = 20 * time.Second
	// abortWait is how long they have to notice that they are cut off.
	abortWait = 5 * time.Second
	// panicDelay is when a message is tried again whose handler panicked.
	panicDelay = 30 * time.Second
)

// Consume delivers the messages of a durable consumer to handle, at most inFlight at a time, until ctx ends. Then it
// hands back what it has not begun and waits for the rest. A consumer that vanishes is created again.
func (b *Bus) Consume(ctx context.Context, c events.Consumer, inFlight int, handle Handler) error {
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	w := worker{
		bus: b, ctx: ctx, work: work, log: b.log.With("consumer", c.Durable), slots: make(chan struct{}, inFlight),
		consumer: c, durable: c.Durable, handle: handle, failures: map[uint64]int{}, held: map[jetstream.Msg]bool{},
		idle: make(chan struct{}),
	}
	go w.keepAlive(c.AckWait / 3)
	forget := b.consuming.add(c)
	KeepWatching(ctx, w.log, "the consumer was interrupted", func(context.Context) error { return w.run(b.js, c) })
	forget()
	go func() { w.running.Wait(); close(w.idle) }()
	select {
	case <-w.idle:
		return nil
	case <-time.After(drainWait):
		stopWork() // what they do can be done again
	}
	select {
	case <-w.idle:
		return nil
	case <-time.After(abortWait):
		return fmt.Errorf("consumer %s: handlers were still busy after %v", c.Durable, drainWait+abortWait)
	}
}

type worker struct {
	bus      *Bus
	consumer events.Consumer
	// mu guards failures, which counts those of each message by its sequence, done, when one was done last, and held, the
	// messages that are not answered yet.
	mu       sync.Mutex
	failures map[uint64]int
	done     time.Time
	held     map[jetstream.Msg]bool
	ctx      context.Context // ends when the service is told to stop
	work     context.Context // ends when its handlers have to
	log      *slog.Logger
	slots    chan struct{}
	durable  string
	running  sync.WaitGroup
	idle     chan struct{} // closed when every handler has ended after the service was told to stop
	handle   Handler
}

func (w *worker) run(js jetstream.JetStream, c events.Consumer) error {
	consumer, err := js.CreateOrUpdateConsumer(w.ctx, c.Stream, jetstream.ConsumerConfig{
		Durable: c.Durable, Description: c.Description, FilterSubjects: c.Filters, AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: c.AckWait, MaxAckPending: c.MaxAckPending, MaxDeliver: -1, HeadersOnly: c.HeadersOnly,
		InactiveThreshold: c.IdleAge,
	})
	if err != nil {
		return err
	}
	// As many are fetched ahead as are worked on. When all slots are busy for longer than AckWait, those are delivered
	// twice, which costs work and nothing else; fetching fewer halves the throughput.
	unanswered := make(chan struct{}, 1)
	pull, err := consumer.Consume(w.receive, jetstream.PullMaxMessages(cap(w.slots)),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
			w.log.Debug("a pull of messages has failed", "error", err)
			if !errors.Is(err, nats.ErrNoResponders) && !errors.Is(err, jetstream.ErrNoHeartbeat) {
				return
			}
			select {
			case unanswered <- struct{}{}:
			default:
			}
		}))
	if err != nil {
		return err
	}
	for {
		select {
		case <-w.ctx.Done():
			pull.Drain()
			<-pull.Closed()
			return nil
		case <-pull.Closed():
			return errors.New("the consumer has ended")
		case <-unanswered:
			if err := w.gone(); err != nil {
				pull.Stop()
				return err
			}
		}
	}
}

// gone fails if the consumer is not there any more. The client library hears of that only if the consumer vanishes while
// a pull waits; it pulls for ever from one that vanished in between.
func (w *worker) gone() error {
	ctx, cancel := context.WithTimeout(w.ctx, answerWait)
	defer cancel()
	_, err := w.bus.consumer(ctx, w.consumer)
	if errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
		return err
	}
	return nil
}

// receive is called for one message at a time.
func (w *worker) receive(msg jetstream.Msg) {
	done := w.hold(msg) // also while it waits for a slot
	select {
	case <-w.ctx.Done():
	case w.slots <- struct{}{}:
	}
	if w.ctx.Err() != nil { // asked again: select may pick either when both are ready
		done()
		w.answer(msg, RetryAfter(0))
		return
	}
	w.running.Go(func() {
		defer func() { <-w.slots }()
		var o Outcome
		if err := w.bus.faults.Do(w.work, "handle/"+w.durable, func() error { o = w.safely(msg); return nil }); err != nil {
			done()
			return // its process died over it: the message comes again when nobody asks for more time
		}
		o = w.patience(msg, o)
		if o.reason != "" {
			o = w.deadLetter(msg, o)
		}
		done()
		w.answer(msg, o)
	})
}

// hold has the server told that work on a message goes on, until the returned function is called. So AckWait can be
// short, and the messages of a process that was killed are soon with another.
func (w *worker) hold(msg jetstream.Msg) (done func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held[msg] = true
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.held, msg)
	}
}

// keepAlive tells the server again and again that work on the messages that are held goes on, until all of it has ended.
func (w *worker) keepAlive(every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-w.idle:
			return
		case <-tick.C:
		}
		w.mu.Lock()
		held := slices.Collect(maps.Keys(w.held))
		w.mu.Unlock()
		for _, msg := range held {
			w.progress(msg)
		}
	}
}

// progress has the server wait for a message, if it is still held: after the answer it would undo the delay of that.
func (w *worker) progress(msg jetstream.Msg) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.held[msg] {
		_ = msg.InProgress() // a lost one costs a second delivery
	}
}

// safely calls the handler; a panic delays its message, and terminates it in the end, and touches no other.
func (w *worker) safely(msg jetstream.Msg) (o Outcome) {
	meta, err := msg.Metadata()
	if err != nil {
		return Terminate("not a JetStream message")
	}
	defer func() {
		if p := recover(); p != nil {
			w.log.Error("the handler of a message panicked", "subject", msg.Subject(), "panic", p, "stack",
				string(debug.Stack()))
			o = RetryAfter(panicDelay)
			if meta.NumDelivered >= maxPanics {
				o = Terminate(fmt.Sprintf("handler panicked in delivery %d: %.500v", meta.NumDelivered, p))
			}
		}
	}()
	return w.handle(trace.Caused(w.work, msg.Headers()), Message{
		Subject: msg.Subject(), Header: msg.Headers(), Data: msg.Data(), Sequence: meta.Sequence.Stream, Time: meta.Timestamp,
		Delivered: meta.NumDelivered,
	})
}

// maxFailures is how often a message may go wrong in one process; with growing pauses that takes some minutes. othersDone
// is how long ago another message was done that shows that the trouble is this message's own.
const (
	maxFailures = 30
	othersDone  = 5 * time.Minute
)

// patience ends that with a message that goes wrong for ever.
func (w *worker) patience(msg jetstream.Msg, o Outcome) Outcome {
	meta, err := msg.Metadata()
	if err != nil {
		return o
	}
	seq := meta.Sequence.Stream
	w.mu.Lock()
	if o.failed == nil {
		if delete(w.failures, seq); o.ack {
			w.done = time.Now()
		}
	} else {
		w.failures[seq]++
	}
	n, others := w.failures[seq], time.Since(w.done) < othersDone
	w.mu.Unlock()
	if n < maxFailures || !others && !w.holdsUp() {
		return o
	}
	w.mu.Lock()
	delete(w.failures, seq)
	w.mu.Unlock()
	return Terminate(fmt.Sprintf("it went wrong %d times: %.500v", n, o.failed))
}

// holdsUp reports whether half the places of the consumer are taken by messages that are not done.
func (w *worker) holdsUp() bool {
	ctx, cancel := context.WithTimeout(w.work, answerWait)
	defer cancel()
	info, err := w.bus.consumer(ctx, w.consumer)
	return err == nil && info.NumAckPending*2 >= info.Config.MaxAckPending
}

func (w *worker) answer(msg jetstream.Msg, o Outcome) {
	err := w.bus.faults.Do(w.work, "answer/"+w.durable, func() error { return respond(msg, o) })
	if err != nil { // the message comes again, and finds its work done
		w.log.Warn("a message could not be acknowledged; it is delivered again", "subject", msg.Subject(), "error", err)
	}
}

func respond(msg jetstream.Msg, o Outcome) error {
	switch {
	case o.ack:
		return msg.Ack()
	case o.reason != "":
		return msg.TermWithReason(o.reason)
	case o.delay == 0:
		return msg.Nak()
	default:
		return msg.NakWithDelay(o.delay)
	}
}

// Backlog counts the messages of a consumer that are not acknowledged, delivered or not. It fails with an error of the
// broker.
func (b *Bus) Backlog(ctx context.Context, c events.Consumer) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	info, err := b.consumer(ctx, c)
	if err != nil {
		return 0, err
	}
	return info.NumAckPending + int(min(info.NumPending, math.MaxInt32)), nil
}

// AckFloor returns the sequence up to which every message of a consumer is acknowledged. It fails with an error of the
// broker.
func (b *Bus) AckFloor(ctx context.Context, c events.Consumer) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	info, err := b.consumer(ctx, c)
	if err != nil {
		return 0, err
	}
	return info.AckFloor.Stream, nil
}

func (b *Bus) consumer(ctx context.Context, c events.Consumer) (*jetstream.ConsumerInfo, error) {
	made, err := b.js.Consumer(ctx, c.Stream, c.Durable)
	if err != nil {
		return nil, fmt.Errorf("consumer %s of %s: %w", c.Durable, c.Stream, err)
	}
	return made.CachedInfo(), nil
}
