package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reelay/events/bucket"
)

const (
	// answerWait is how long one question to a cluster may take before it is asked again. nats-server 2.15 leaves
	// questions about a stream unanswered while its leader is being elected, and the first of two services that create a
	// stream at once.
	answerWait = 2 * time.Second
	// askAgainWait is the pause after a refusal that says that there is no leader.
	askAgainWait = 100 * time.Millisecond

	// codeNoLeader is the refusal of a cluster that has no leader at the moment.
	codeNoLeader = 10008
	// headerOperation tells a deleted key of a bucket from one with a value.
	headerOperation = "KV-Operation"
	operationDelete = "DEL"
)

// A message is the last one on a subject; its sequence is 0 where there is none.
type message struct {
	sequence uint64
	at       time.Time
	header   nats.Header
	data     []byte
}

// retry asks again while nobody answers, or while there is no leader, until ctx ends. What it asks for must be harmless
// twice.
func retry(ctx context.Context, ask func(context.Context) error) error {
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
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) ||
		errors.Is(err, nats.ErrNoResponders) ||
		errors.As(err, &api) && api.ErrorCode == codeNoLeader
}

// last returns the last message on a subject, which may be a wildcard, as the leader of its stream has it. The client's
// own reads may be answered by any replica, one that lags behind among them; and much is decided by a read alone: that
// there is no such task, that nothing is left to do, that a lane is not paused.
func (b *Bus) last(ctx context.Context, stream, subject string) (message, error) {
	question, err := json.Marshal(struct {
		Subject string `json:"last_by_subj"`
	}{subject})
	if err != nil {
		return message{}, err
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
	err = retry(ctx, func(ctx context.Context) error {
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
		return message{}, err
	}
	m := message{sequence: reply.Message.Sequence, at: reply.Message.Time, data: reply.Message.Data}
	if len(reply.Message.Header) == 0 {
		return m, nil
	}
	if m.header, err = nats.DecodeHeadersMsg(reply.Message.Header); err != nil {
		return message{}, fmt.Errorf("%w: message %d of %s: %w", ErrUnreadable, m.sequence, stream, err)
	}
	return m, nil
}

// key returns the entry of a key as the leader of the bucket has it.
func (b *Bus) key(ctx context.Context, name, key string) (Entry, error) {
	m, err := b.last(ctx, bucket.Stream(name), bucket.KeySubject(name, key))
	if err != nil {
		return Entry{}, err
	}
	marker := m.header.Get(headerOperation) != "" || m.header.Get(jetstream.MarkerReasonHeader) != ""
	return Entry{Key: key, Value: m.data, Revision: m.sequence, At: m.at, Present: m.sequence > 0 && !marker}, nil
}
