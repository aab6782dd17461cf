package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/events/client"
)

// maxStoredLimit is the most messages of one list.
const maxStoredLimit = 1000

// errDeclined says that a person was asked and did not agree.
var errDeclined = errors.New("nothing was published")

// stored is how the messages of one stream are read and shown, each by its sequence in the stream, its id.
type stored[T any] struct {
	stream string
	// noun names a message in errors, as in "<noun> 3: ...", and kind one that is not there; list is the command that lists them.
	noun, kind, list string
	// decode reads a message. It fails with events.ErrDeadLetter, ErrSubject or ErrInvalid for one that is none of ours.
	decode func(*jetstream.RawStreamMsg) (T, error)
	// print shows one message, table many.
	print func(io.Writer, T, *time.Location) error
	table func(io.Writer, []T, *time.Location) error
	// layout is a message in the JSON of a list, whose one member is called plural.
	layout func(T) any
	plural string
}

// ls lists the newest messages that keep wants, at most limit, newest first. One that cannot be read is said and passed over.
func (s stored[T]) ls(ctx context.Context, e *env, c connection, limit int, asJSON bool, keep func(T) bool) error {
	if limit < 1 || limit > maxStoredLimit {
		return usagef("--limit: %d is not between 1 and %d", limit, maxStoredLimit)
	}
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	stream, err := a.stream(ctx, s.stream)
	if err != nil {
		return err
	}
	state := stream.CachedInfo().State
	var all []T
	for id := state.LastSeq; id >= max(state.FirstSeq, 1) && len(all) < limit; id-- {
		m, err := s.get(ctx, stream, id)
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound): // an operator has deleted it
		case errors.Is(err, events.ErrDeadLetter), errors.Is(err, events.ErrSubject), errors.Is(err, events.ErrInvalid):
			fmt.Fprintf(e.stderr, "%s\n", clean(err.Error()))
		case err != nil:
			return err
		case keep(m):
			all = append(all, m)
		}
	}
	if !asJSON {
		return s.table(e.stdout, all, time.Local)
	}
	out := make([]any, len(all))
	for i, m := range all {
		out[i] = s.layout(m)
	}
	return printJSON(e.stdout, map[string]any{s.plural: out})
}

// show prints one message.
func (s stored[T]) show(ctx context.Context, e *env, c connection, id uint64) error {
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	m, err := s.read(ctx, a, id)
	if err != nil {
		return err
	}
	return s.print(e.stdout, m, time.Local)
}

// read returns one message, and for one that is not there an error that says where to look.
func (s stored[T]) read(ctx context.Context, a *api, id uint64) (m T, err error) {
	stream, err := a.stream(ctx, s.stream)
	if err != nil {
		return m, err
	}
	m, err = s.get(ctx, stream, id)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return m, fmt.Errorf("no %s %d; see: %s", s.kind, id, s.list)
	}
	return m, err
}

// get returns one message. It fails with jetstream.ErrMsgNotFound or as decode does.
func (s stored[T]) get(ctx context.Context, stream jetstream.Stream, id uint64) (m T, err error) {
	raw, err := bounded(ctx, func(ctx context.Context) (*jetstream.RawStreamMsg, error) { return stream.GetMsg(ctx, id) })
	if err == nil {
		m, err = s.decode(raw)
	}
	if err != nil {
		return m, fmt.Errorf("%s %d: %w", s.noun, id, err)
	}
	return m, nil
}

// publishAgain publishes what message id is about and says where it now is.
func (s stored[T]) publishAgain(ctx context.Context, e *env, a *api, id uint64, msg *nats.Msg) error {
	js, err := jetstream.New(a.nc)
	if err != nil {
		return err
	}
	ack, err := bounded(ctx, func(ctx context.Context) (*jetstream.PubAck, error) { return js.PublishMsg(ctx, msg) })
	if err != nil {
		return fmt.Errorf("%s %d on %s: %w", s.noun, id, clean(msg.Subject), err)
	}
	fmt.Fprintf(e.stdout, "published again on %s, now message %d of %s\n", clean(msg.Subject), ack.Sequence, ack.Stream)
	return nil
}

// stream finds a stream. Without it, no service has ever run here.
func (a *api) stream(ctx context.Context, name string) (jetstream.Stream, error) {
	js, err := jetstream.New(a.nc)
	if err != nil {
		return nil, err
	}
	stream, err := bounded(ctx, func(ctx context.Context) (jetstream.Stream, error) { return js.Stream(ctx, name) })
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("%w: there is no stream %s", client.ErrNoService, name)
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", name, err)
	}
	return stream, nil
}
