package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
)

const (
	// answerWait is how long one question to a cluster may take before it is asked again. nats-server 2.15 leaves questions about a
	// stream unanswered while its leader is being elected, and the first of two services that create a stream at once.
	answerWait = 2 * time.Second
	// askAgainWait is the pause after a refusal that says that there is no leader.
	askAgainWait = 100 * time.Millisecond

	// codeNoLeader is the refusal of a cluster that has no leader at the moment.
	codeNoLeader = 10008
	// headerOperation tells a deleted key of a bucket from one with a value.
	headerOperation = "KV-Operation"
)

// A cell is the newest message on a subject.
type cell struct {
	value    []byte
	revision uint64
	header   nats.Header
	// at is when it was stored.
	at time.Time
	// gone says that the message only marks that the key was deleted.
	gone bool
}

// Value returns the body.
func (c cell) Value() []byte { return c.value }

// Revision returns the sequence.
func (c cell) Revision() uint64 { return c.revision }

// insist asks again while nobody answers, or while there is no leader, until ctx ends. What it asks for must be harmless twice.
func insist(ctx context.Context, ask func(context.Context) error) error {
	for {
		begin := time.Now()
		attempt, cancel := context.WithTimeout(ctx, answerWait)
		err := ask(attempt)
		cancel()
		if err == nil || ctx.Err() != nil || !leaderless(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(max(0, askAgainWait-time.Since(begin))):
		}
	}
}

// leaderless reports whether an error may be the silence of a cluster that elects a leader.
func leaderless(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrNoResponders) ||
		errors.As(err, &api) && api.ErrorCode == codeNoLeader
}

// newest returns the newest message on a subject, which may be a wildcard, as the leader of its stream has it; the zero cell
// where there is none. The client's own reads may be answered by any replica, one that lags behind or stands still among them; and much
// is decided by a read alone: that there is no such task, that nothing is left to do, that a lane is not paused.
func (b *Bus) newest(ctx context.Context, stream, subject string) (cell, error) {
	question, err := json.Marshal(struct {
		Subject string `json:"last_by_subj"`
	}{subject})
	if err != nil {
		return cell{}, err
	}
	var reply struct {
		Error   *jetstream.APIError `json:"error"`
		Message struct {
			Sequence uint64    `json:"seq"`
			Time     time.Time `json:"time"`
			Header   []byte    `json:"hdrs"`
			Data     []byte    `json:"data"`
		} `json:"message"`
	}
	err = insist(ctx, func(ctx context.Context) error {
		answer, err := b.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+stream, question)
		if err != nil {
			return err
		}
		reply.Error = nil
		if err := json.Unmarshal(answer.Data, &reply); err != nil {
			return fmt.Errorf("answer of %s: %w", stream, err)
		}
		if reply.Error != nil && reply.Error.ErrorCode != jetstream.JSErrCodeMessageNotFound {
			return reply.Error
		}
		return nil
	})
	if err != nil || reply.Error != nil {
		return cell{}, err
	}
	c := cell{value: reply.Message.Data, revision: reply.Message.Sequence, at: reply.Message.Time}
	if len(reply.Message.Header) == 0 {
		return c, nil
	}
	c.header, err = nats.DecodeHeadersMsg(reply.Message.Header)
	if err != nil {
		return cell{}, fmt.Errorf("%w: message %d of %s: %w", ErrUnreadable, c.revision, stream, err)
	}
	c.gone = c.header.Get(headerOperation) != "" || c.header.Get(jetstream.MarkerReasonHeader) != ""
	return c, nil
}

// key is newest for a key of a bucket. It fails with jetstream.ErrKeyNotFound where there is none, or none any more.
func (b *Bus) key(ctx context.Context, bucket, key string) (cell, error) {
	c, err := b.newest(ctx, events.BucketStream(bucket), events.KeySubject(bucket, key))
	if err == nil && (c.revision == 0 || c.gone) {
		err = jetstream.ErrKeyNotFound
	}
	return c, err
}
