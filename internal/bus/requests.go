package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
)

// HasRequests reports whether requests or commands are stored that no submitter has finished with, as the leader of
// their stream knows it. Where there are none, every task that was asked for before is a record, or was rejected.
func (b *Bus) HasRequests(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	stream, err := b.js.Stream(ctx, events.StreamRequests)
	if err != nil {
		return false, fmt.Errorf("stream %s: %w", events.StreamRequests, err)
	}
	return stream.CachedInfo().State.Msgs > 0, nil
}

// HasRequest is HasRequests of the one that is stored at a sequence, as the acknowledgement of its publisher says.
func (b *Bus) HasRequest(ctx context.Context, sequence uint64) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	stream, err := b.js.Stream(ctx, events.StreamRequests)
	if err == nil && sequence < stream.CachedInfo().State.FirstSeq {
		return false, nil
	}
	if err == nil {
		_, err = stream.GetMsg(ctx, sequence) // it may be done with before older ones
	}
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("request %d: %w", sequence, err)
	}
	return true, nil
}

// NextRequest returns the oldest request or command of a project that waits at a sequence or behind it, without taking
// it from its consumer; its Sequence is 0 where there is none.
func (b *Bus) NextRequest(ctx context.Context, project string, from uint64) (Message, error) {
	m, err := b.messageBy(ctx, events.StreamRequests, struct {
		Sequence uint64 `json:"seq"`
		Subject  string `json:"next_by_subj"`
	}{max(1, from), events.IntakeFilter(project)})
	return Message{
		Subject: m.subject, Header: m.header, Data: m.data, Sequence: m.sequence, Time: m.at, Delivered: 1,
	}, err
}
