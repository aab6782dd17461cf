//go:build unix

package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/internal/emulator"
)

const (
	// maxLedgerBytes bounds one ledger.
	maxLedgerBytes = 64 << 20
	fetchBatch     = 500
	fetchWait      = 5 * time.Second
)

// gather reads all evidence, past the faulty network.
func (c *cluster) gather(ctx context.Context, asks []Ask) (e Evidence, err error) {
	e = Evidence{
		Asks: asks, Now: time.Now(), Records: map[events.Key]events.Task{},
		Stories: map[events.Key][]events.Event{}, Stored: map[string]string{},
	}
	// Messages first: one that is made while the rest is read belongs to a record that has changed as well.
	for _, name := range []string{events.StreamRequests, events.StreamPolls, events.StreamDead} {
		if err := c.each(ctx, name, jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy},
			func(m jetstream.Msg) error {
				e.Left = append(e.Left, m.Subject())
				return nil
			}); err != nil {
			return e, err
		}
	}
	callbacks, err := c.unhandled(ctx, events.StreamCallbacks, events.ConsumerCallbacks)
	if err != nil {
		return e, err
	}
	if err := c.each(ctx, events.StreamCallbacks, callbacks, func(m jetstream.Msg) error {
		e.Left = append(e.Left, m.Subject())
		return nil
	}); err != nil {
		return e, err
	}
	lastPerSubject := jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy,
		FilterSubject: events.RecordSubject(events.Key{Project: project, ID: "*"}),
	}
	if err := c.each(ctx, events.StreamTasks, lastPerSubject, func(m jetstream.Msg) error {
		t, err := events.DecodeTask(m.Data())
		if err == nil {
			e.Records[t.Key()] = t
		}
		return err
	}); err != nil {
		return e, err
	}
	if err := c.each(ctx, events.StreamEvents, jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy},
		func(m jetstream.Msg) error {
			ev, err := events.DecodeEvent(m.Headers().Get(events.HeaderType), m.Data())
			if err == nil {
				e.Stories[ev.Key()] = append(e.Stories[ev.Key()], ev)
				e.Stored[ev.ID()] = m.Subject()
			}
			return err
		}); err != nil {
		return e, err
	}
	e.Jobs, err = c.jobs(ctx)
	return e, err
}

// unhandled reads what a consumer has not done with yet, from the first such message on.
func (c *cluster) unhandled(ctx context.Context, stream, durable string) (jetstream.ConsumerConfig, error) {
	consumer, err := c.js.Consumer(ctx, stream, durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy}, nil
	}
	if err != nil {
		return jetstream.ConsumerConfig{}, fmt.Errorf("consumer %s of %s: %w", durable, stream, err)
	}
	return jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: consumer.CachedInfo().AckFloor.Stream + 1,
	}, nil
}

// each calls f with every message of a stream that a consumer configured so gets. For a work queue, which takes no
// second consumer, the messages are read one by one.
func (c *cluster) each(ctx context.Context, stream string, config jetstream.ConsumerConfig,
	f func(jetstream.Msg) error,
) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	s, err := c.js.Stream(ctx, stream)
	if err != nil {
		return fmt.Errorf("stream %s: %w", stream, err)
	}
	config.AckPolicy = jetstream.AckNonePolicy
	config.InactiveThreshold = time.Minute
	if s.CachedInfo().Config.Retention == jetstream.WorkQueuePolicy {
		info, err := s.Info(ctx, jetstream.WithSubjectFilter(">"))
		if err != nil {
			return fmt.Errorf("stream %s: %w", stream, err)
		}
		for subject := range info.State.Subjects {
			if err := f(subjectOnly(subject)); err != nil {
				return err
			}
		}
		return nil
	}
	consumer, err := s.CreateConsumer(ctx, config)
	if err != nil {
		return fmt.Errorf("consumer of %s: %w", stream, err)
	}
	defer func() { _ = s.DeleteConsumer(context.WithoutCancel(ctx), consumer.CachedInfo().Name) }()
	for left := int(consumer.CachedInfo().NumPending); left > 0; {
		batch, err := consumer.Fetch(min(left, fetchBatch), jetstream.FetchMaxWait(fetchWait))
		if err != nil {
			return fmt.Errorf("read of %s: %w", stream, err)
		}
		got := 0
		for m := range batch.Messages() {
			got++
			if err := f(m); err != nil {
				return fmt.Errorf("message %s: %w", m.Subject(), err)
			}
		}
		if got == 0 {
			return fmt.Errorf("read of %s: %d messages did not come: %w", stream, left, errors.Join(batch.Error(), ctx.Err()))
		}
		left -= got
	}
	return nil
}

// subjectOnly is a message of which only the subject is known.
type subjectMsg struct {
	jetstream.Msg
	subject string
}

func subjectOnly(subject string) jetstream.Msg { return subjectMsg{subject: subject} }

// Subject returns the subject.
func (m subjectMsg) Subject() string { return m.subject }

// jobs reads the emulators' ledgers.
func (c *cluster) jobs(ctx context.Context) ([]emulator.Job, error) {
	var all []emulator.Job
	for _, url := range c.ledgers {
		body, err := read(ctx, url)
		if err != nil {
			return nil, fmt.Errorf("ledger: %w", err)
		}
		var ledger struct {
			Jobs []emulator.Job `json:"jobs"`
		}
		if err := json.Unmarshal(body, &ledger); err != nil {
			return nil, fmt.Errorf("ledger: %w", err)
		}
		all = append(all, ledger.Jobs...)
	}
	return all, nil
}

func read(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	return io.ReadAll(io.LimitReader(res.Body, maxLedgerBytes))
}
