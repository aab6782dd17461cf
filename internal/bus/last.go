package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
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
	// headerStatus is set on an answer without a message.
	headerStatus   = "Status"
	statusNotFound = "404"
)

// A message is a stored one; its sequence is 0 where there is none.
type message struct {
	subject  string
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
	return b.messageBy(ctx, stream, struct {
		Subject string `json:"last_by_subj"`
	}{subject})
}

// messageBy asks the leader of a stream for one message.
func (b *Bus) messageBy(ctx context.Context, stream string, which any) (message, error) {
	question, err := json.Marshal(which)
	if err != nil {
		return message{}, err
	}
	var reply struct {
		Error   *jetstream.APIError `json:"error"`
		Message struct {
			Subject  string    `json:"subject"`
			Sequence uint64    `json:"seq"`
			Time     time.Time `json:"time"`
			Header   []byte    `json:"hdrs"`
			Data     []byte    `json:"data"`
		} `json:"message"`
	}
	err = retry(ctx, func(ctx context.Context) error {
		answer, err := b.nc.RequestWithContext(ctx, b.apiPrefix+"STREAM.MSG.GET."+stream, question)
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
	m := message{subject: reply.Message.Subject, sequence: reply.Message.Sequence, at: reply.Message.Time, data: reply.Message.Data}
	if len(reply.Message.Header) == 0 {
		return m, nil
	}
	if m.header, err = nats.DecodeHeadersMsg(reply.Message.Header); err != nil {
		return message{}, fmt.Errorf("%w: message %d of %s: %w", ErrUnreadable, m.sequence, stream, err)
	}
	return m, nil
}

// lastDirect is last for a stream with one replica, which is its leader: it answers with the message as it is stored,
// which costs a fraction. subject is no wildcard.
func (b *Bus) lastDirect(ctx context.Context, stream, subject string) (m message, err error) {
	var answer *nats.Msg
	err = retry(ctx, func(ctx context.Context) (err error) {
		answer, err = b.nc.RequestWithContext(ctx, b.apiPrefix+"DIRECT.GET."+stream+"."+subject, nil)
		return err
	})
	if err != nil {
		return m, err
	}
	m.header, m.data = answer.Header, answer.Data
	if status := m.header.Get(headerStatus); status != "" {
		if status != statusNotFound {
			err = fmt.Errorf("%s: status %s: %s", stream, status, m.header.Get("Description"))
		}
		return message{}, err
	}
	m.sequence, err = strconv.ParseUint(m.header.Get(jetstream.SequenceHeader), 10, 64)
	if err == nil {
		m.at, err = time.Parse(time.RFC3339Nano, m.header.Get(jetstream.TimeStampHeaer))
	}
	if err != nil {
		err = fmt.Errorf("answer of %s: %w", stream, err)
	}
	return m, err
}

// key returns the entry of a key as the leader of the bucket has it.
func (b *Bus) key(ctx context.Context, name, key string) (Entry, error) {
	m, err := b.last(ctx, bucket.Stream(name), bucket.KeySubject(name, key))
	if err != nil {
		return Entry{}, err
	}
	return m.entry(key), nil
}

// entry returns a message as that of a key.
func (m message) entry(key string) Entry {
	marker := m.header.Get(headerOperation) != "" || m.header.Get(jetstream.MarkerReasonHeader) != ""
	return Entry{Key: key, Value: m.data, Revision: m.sequence, At: m.at, Present: m.sequence > 0 && !marker}
}
