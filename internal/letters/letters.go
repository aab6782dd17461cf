// Package letters shows operators what is stored of messages: the dead letters and the providers' callbacks, and replays
// them.
package letters

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/events/operator"
	"reelay/internal/api"
	"reelay/internal/bus"
	"reelay/internal/provider"
)

// maxScan is how many messages one page goes through at most, those left out included.
const maxScan = 1_000

// replayWait bounds a publish.
const replayWait = 5 * time.Second

// Stored reads what is stored on a bus.
type Stored struct {
	Bus *bus.Bus
	Log *slog.Logger
}

// Dead answers with dead letters, or with one and all that is kept of it.
func (s Stored) Dead(ctx context.Context, c api.Call) (any, error) {
	r, err := operator.DecodeStoredRequest(operator.VerbDead, c.Data)
	if err != nil {
		return nil, err
	}
	reply := operator.DeadReply{Letters: []operator.StoredLetter{}}
	reply.StoredPage, err = s.page(ctx, events.StreamDead, "dead message", r,
		func(raw *jetstream.RawStreamMsg) (bool, error) {
			l, err := events.DecodeDeadLetter(raw.Header, raw.Data)
			if err != nil {
				return false, err
			}
			shown := operator.StoredLetter{
				ID: raw.Sequence, Time: raw.Time, Stream: l.Stream, Consumer: l.Consumer, Sequence: l.Sequence, Subject: l.Subject,
				StoredAt: l.StoredAt, Deliveries: l.Deliveries, Reason: l.Reason, StoredMessage: storedMessage(r, l.Header, l.Body),
			}
			shown.Bytes = max(shown.Bytes, l.CutFrom)
			if _, _, _, err := l.Replay(); err != nil {
				shown.NotReplayable = err.Error()
			}
			reply.Letters = append(reply.Letters, shown)
			return true, nil
		})
	return reply, err
}

// Callbacks answers with the callbacks of providers, or with one and its body.
func (s Stored) Callbacks(ctx context.Context, c api.Call) (any, error) {
	r, err := operator.DecodeStoredRequest(operator.VerbCallbacks, c.Data)
	if err != nil {
		return nil, err
	}
	reply := operator.CallbacksReply{Callbacks: []operator.StoredCallback{}}
	reply.StoredPage, err = s.page(ctx, events.StreamCallbacks, "callback", r,
		func(raw *jetstream.RawStreamMsg) (bool, error) {
			cb, err := events.ParseCallback(raw.Subject, raw.Header.Get, raw.Data)
			if err != nil || r.Lane != "" && r.Lane != cb.Lane {
				return false, err
			}
			reply.Callbacks = append(reply.Callbacks, operator.StoredCallback{
				ID: raw.Sequence, Received: cb.Received, Lane: cb.Lane, Project: cb.Task.Project, TaskID: cb.Task.ID,
				Attempt: cb.Attempt, ProviderWord: providerWord(cb.Body), Unproven: cb.Unproven,
				StoredMessage: storedMessage(r, raw.Header, cb.Body),
			})
			return true, nil
		})
	return reply, err
}

// providerWord returns the provider's own word for the state, for people.
func providerWord(body []byte) string {
	var b struct {
		Status string `json:"status"`
		Task   struct {
			Status string `json:"status"`
		} `json:"task"`
	}
	_ = json.Unmarshal(body, &b) // a body of any other form says nothing
	return provider.Clip(b.Status+b.Task.Status, 20)
}

// storedMessage is what an answer shows of a message: of a list its size alone.
func storedMessage(r operator.StoredRequest, header map[string][]string, body []byte) operator.StoredMessage {
	m := operator.StoredMessage{Bytes: len(body)}
	if r.ID == 0 {
		return m
	}
	m.Header = header
	shown := body[:min(len(body), operator.MaxStoredBodyBytes)]
	if utf8.Valid(body) {
		m.Text = strings.ToValidUTF8(string(shown), "")
	} else {
		m.Data = shown
	}
	return m
}

// page hands one message of a stream to add, or the newest of a list until add has accepted as many as were asked for.
// A message of a list that add fails on is one that this build cannot read.
func (s Stored) page(
	ctx context.Context, name, kind string, r operator.StoredRequest, add func(*jetstream.RawStreamMsg) (bool, error),
) (p operator.StoredPage, err error) {
	if r.ID != 0 {
		raw, err := s.stored(ctx, name, kind, r.ID)
		if err != nil {
			return p, err
		}
		if _, err := add(raw); err != nil {
			return p, api.Conflict(events.CodeConflict, "id", "%s %d: %v", kind, r.ID, err)
		}
		return p, nil
	}
	stream, err := s.Bus.JetStream().Stream(ctx, name)
	if err != nil {
		return p, api.Unavailable("stream %s: %v", name, err)
	}
	state := stream.CachedInfo().State
	id := state.LastSeq
	if r.Before > 0 {
		id = min(id, r.Before-1)
	}
	for accepted, seen := 0, 0; id >= max(state.FirstSeq, 1); id-- {
		if accepted == r.Limit || seen == maxScan {
			p.NextBefore = id + 1
			break
		}
		seen++
		raw, err := stream.GetMsg(ctx, id)
		if errors.Is(err, jetstream.ErrMsgNotFound) { // an operator has deleted it
			continue
		}
		if err != nil {
			return p, api.Unavailable("message %d of %s: %v", id, name, err)
		}
		ok, err := add(raw)
		if err != nil {
			p.Unreadable = append(p.Unreadable, operator.UnreadableMessage{ID: id, Error: err.Error()})
		}
		if ok {
			accepted++
		}
	}
	return p, nil
}

// stored returns one message of a stream.
func (s Stored) stored(ctx context.Context, name, kind string, id uint64) (*jetstream.RawStreamMsg, error) {
	stream, err := s.Bus.JetStream().Stream(ctx, name)
	if err != nil {
		return nil, api.Unavailable("stream %s: %v", name, err)
	}
	raw, err := stream.GetMsg(ctx, id)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, api.Fail(404, events.CodeNotFound, events.KindNotFound, "there is no %s %d", kind, id)
	}
	if err != nil {
		return nil, api.Unavailable("message %d of %s: %v", id, name, err)
	}
	return raw, nil
}

// ReplayDead publishes the message of a dead letter again. The letter stays.
func (s Stored) ReplayDead(ctx context.Context, c api.Call) (any, error) {
	r, err := operator.DecodeReplayRequest(c.Data)
	if err != nil {
		return nil, err
	}
	raw, err := s.stored(ctx, events.StreamDead, "dead message", r.ID)
	if err != nil {
		return nil, err
	}
	l, err := events.DecodeDeadLetter(raw.Header, raw.Data)
	if err != nil {
		return nil, api.Conflict(events.CodeConflict, "id", "message %d: %v", r.ID, err)
	}
	subject, header, body, err := l.Replay()
	if err != nil {
		return nil, api.Conflict(events.CodeConflict, "id", "message %d: %v", r.ID, err)
	}
	k, _ := l.Key()
	return s.replay(ctx, r.ID, &nats.Msg{Subject: subject, Header: header, Data: body}, k)
}

// ReplayCallback hands a callback to the pipeline again. Like any that comes twice, it changes nothing that has been
// settled.
func (s Stored) ReplayCallback(ctx context.Context, c api.Call) (any, error) {
	r, err := operator.DecodeReplayRequest(c.Data)
	if err != nil {
		return nil, err
	}
	raw, err := s.stored(ctx, events.StreamCallbacks, "callback", r.ID)
	if err != nil {
		return nil, err
	}
	cb, err := events.ParseCallback(raw.Subject, raw.Header.Get, raw.Data)
	if err != nil {
		return nil, api.Conflict(events.CodeConflict, "id", "callback %d: %v", r.ID, err)
	}
	cb.Received = time.Now()
	// without an id, which would make it a duplicate
	msg := &nats.Msg{Subject: cb.Subject(), Header: nats.Header{}, Data: cb.Body}
	for name, value := range cb.Header() {
		msg.Header.Set(name, value)
	}
	return s.replay(ctx, r.ID, msg, cb.Task)
}

// replay publishes what message id is about and says where it now is.
func (s Stored) replay(ctx context.Context, id uint64, msg *nats.Msg, k events.Key) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, replayWait)
	defer cancel()
	ack, err := s.Bus.JetStream().PublishMsg(ctx, msg)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return nil, api.TimedOut("it is not known whether message %d is published again on %s; once more does no harm", id,
			msg.Subject)
	case err != nil:
		return nil, api.Unavailable("message %d is not published on %s: %v", id, msg.Subject, err)
	}
	s.Log.Info("a stored message was published again", "id", id, "subject", msg.Subject, "sequence", ack.Sequence)
	return operator.ReplayReply{
		Subject: msg.Subject, Stream: ack.Stream, Sequence: ack.Sequence, Project: k.Project,
		TaskID: k.ID,
	}, nil
}
