package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"reelay/events"
)

const (
	// maxPanics is the delivery from which on a panic of its handler ends a message.
	maxPanics = 5
	// deadLetterDelay is when a message is tried again that could not be kept, so that nothing is lost.
	deadLetterDelay = 30 * time.Second
	// advisoriesInFlight bounds how many advisories are acted on at once.
	advisoriesInFlight = 8
	// maxHeaderBytes is what a JetStream message may have of headers.
	maxHeaderBytes = 1<<16 - 1
	// publishOverhead is room for what the client adds to the headers of a dead letter.
	publishOverhead = 1 << 10
)

// reasonRemoved is what nats-server 2.15 says of a message that is not in its stream any more while its consumer waits
// for the answer. A broker that was killed remembers the removal of an acknowledged message, and may have forgotten the
// acknowledgement.
const reasonRemoved = "Unacknowledged message was deleted"

// errAdvisory says that a message of REELAY_ADVISORIES is none.
var errAdvisory = errors.New("not an advisory")

func newDeadLetters() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "reelay_dead_letters_total", Help: "Messages that could not be processed and are kept in " + events.StreamDead +
			".",
	}, []string{"stream", "consumer"})
}

// deadLetter stores a message that could not be processed. It returns when the stream has it; one that is stored
// already counts as stored.
func (b *Bus) deadLetter(ctx context.Context, l events.DeadLetter) error {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	msg := b.deadMessage(l)
	var ack *jetstream.PubAck
	err := b.faults.Do(ctx, "dead/"+l.Consumer, func() (err error) {
		ack, err = b.js.PublishMsg(ctx, msg, jetstream.WithMsgID(l.ID()))
		return err
	})
	if err != nil {
		return fmt.Errorf("dead letter of %s: %w", l.ID(), err)
	}
	if !ack.Duplicate {
		b.dead.WithLabelValues(l.Stream, l.Consumer).Inc()
		b.log.Error("a message could not be processed and is kept as a dead letter", "stream", l.Stream, "consumer",
			l.Consumer, "sequence", l.Sequence, "subject", l.Subject, "deliveries", l.Deliveries, "reason", l.Reason,
			"dead_letter", ack.Sequence)
	}
	return nil
}

// deadMessage encodes a dead letter. One beyond what the server accepts leaves out the original's headers and the end
// of its body: a dead letter that no stream accepts would have its message delivered for ever.
func (b *Bus) deadMessage(l events.DeadLetter) *nats.Msg {
	build := func() (msg *nats.Msg, headerBytes int) {
		msg = &nats.Msg{Subject: events.DeadSubject(l.Stream, l.Consumer), Header: l.Encode(), Data: l.Body}
		return msg, msg.Size() - len(msg.Data) + publishOverhead
	}
	msg, headerBytes := build()
	room := int(b.nc.MaxPayload())
	if headerBytes <= maxHeaderBytes && headerBytes+len(l.Body) <= room {
		return msg
	}
	l.CutFrom, l.Header = msg.Size(), nil
	_, headerBytes = build()
	l.Body = l.Body[:max(0, min(len(l.Body), room-headerBytes))]
	msg, _ = build()
	return msg
}

// deadLetter stores a message before it is terminated, and has it delivered again while that fails.
func (w *worker) deadLetter(msg jetstream.Msg, o Outcome) Outcome {
	meta, err := msg.Metadata()
	if err != nil {
		return o // it is in no stream
	}
	err = w.bus.deadLetter(w.work, events.DeadLetter{
		Stream: meta.Stream, Consumer: meta.Consumer, Sequence: meta.Sequence.Stream, Deliveries: meta.NumDelivered,
		Reason: o.reason, Subject: msg.Subject(), StoredAt: meta.Timestamp, Header: msg.Headers(), Body: msg.Data(),
	})
	if err != nil {
		w.log.Warn("a message could not be kept as a dead letter yet; it is delivered again", "subject", msg.Subject(),
			"reason", o.reason, "error", err)
		return RetryAfter(deadLetterDelay)
	}
	return o
}

// An advisory is what the server says of a message that was given up.
type advisory struct {
	Sequence   uint64 `json:"stream_seq"`
	Deliveries uint64 `json:"deliveries"`
	Reason     string `json:"reason"`
}

// CollectDead keeps the messages that the server has given up, because an operator has limited the deliveries, or that
// another client has ended, until ctx ends. Any number of processes may do so. A work queue loses its message after
// that, for nothing would ever take it from there. It returns what Consume returns.
func (b *Bus) CollectDead(ctx context.Context) error {
	return b.Consume(ctx, events.AdvisoryConsumer(), advisoriesInFlight, func(ctx context.Context, m Message) Outcome {
		err := b.collect(ctx, m)
		switch {
		case errors.Is(err, errAdvisory):
			return Terminate(err.Error())
		case err != nil:
			b.log.Warn("an advisory could not be acted on yet; it is delivered again", "subject", m.Subject, "error", err)
			return RetryAfter(deadLetterDelay)
		}
		return Done()
	})
}

func (b *Bus) collect(ctx context.Context, m Message) error {
	kind, name, consumer, err := events.ParseAdvisorySubject(m.Subject)
	if err != nil {
		return fmt.Errorf("%w: %w", errAdvisory, err)
	}
	var a advisory
	if err := json.Unmarshal(m.Data, &a); err != nil {
		return fmt.Errorf("%w: %w", errAdvisory, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*writeWait)
	defer cancel()
	stream, err := b.js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("stream %s: %w", name, err)
	}
	l := events.DeadLetter{
		Stream: name, Consumer: consumer, Sequence: a.Sequence, Deliveries: a.Deliveries,
		Reason: reasonOf(kind, a),
	}
	raw, err := stream.GetMsg(ctx, a.Sequence)
	gone := errors.Is(err, jetstream.ErrMsgNotFound)
	switch {
	case err != nil && !gone:
		return fmt.Errorf("message %d of %s: %w", a.Sequence, name, err)
	case gone && (kind == events.AdvisoryMaxDeliveries || a.Reason == reasonRemoved):
		return nil // acknowledged after all, by whoever had it last
	case !gone:
		l.Subject, l.StoredAt, l.Header, l.Body = raw.Subject, raw.Time, raw.Header, raw.Data
	}
	// If reelay terminated it itself, the dead letter is there with all of this, and stays as it is.
	if err := b.deadLetter(ctx, l); err != nil {
		return err
	}
	if gone || stream.CachedInfo().Config.Retention != jetstream.WorkQueuePolicy {
		return nil
	}
	if err := b.faults.Do(ctx, "remove/"+name, func() error { return stream.DeleteMsg(ctx, a.Sequence) }); err != nil {
		return fmt.Errorf("removal of message %d of %s: %w", a.Sequence, name, err)
	}
	return nil
}

func reasonOf(kind events.AdvisoryKind, a advisory) string {
	switch {
	case kind == events.AdvisoryMaxDeliveries:
		return fmt.Sprintf("not acknowledged in %d deliveries, the limit of its consumer", a.Deliveries)
	case a.Reason == "":
		return "ended by a client, which gave no reason"
	default:
		return "ended by a client: " + a.Reason
	}
}
