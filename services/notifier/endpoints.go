package notifier

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/events/operator"
	"reelay/internal/api"
)

// testWait bounds notify-test, replayWait one page of notify-replay.
const testWait, replayWait = postWait + time.Second, 30 * time.Second

// endpoints are the verbs.
func (s *Service) endpoints() []api.Endpoint {
	return []api.Endpoint{
		{
			Verb: operator.VerbNotify, About: "the endpoints for webhooks, and what waits for them",
			Request: "empty", Answer: `{"endpoints":[{"endpoint":"studio","defined":true,"waiting":0,"dead":0}]}`,
			Handle: bounded(2*requestWait, s.list),
		},
		{
			Verb: operator.VerbNotifyReplay, About: "deliver the dead letters of an endpoint again, oldest first",
			Request: `{"endpoint":"studio","since":"...","limit":100,"after":0}`, Answer: `{"replayed":1,"next_after":0}`,
			Handle: bounded(replayWait, s.replay),
		},
		{
			Verb: operator.VerbNotifyTest, About: "send an endpoint a body of the type test, once",
			Request: `{"endpoint":"studio"}`, Answer: `{"endpoint":"studio","failure":"HTTP 503","took_s":0.2,"webhook_id":"..."}`,
			Handle: bounded(testWait, s.test),
		},
	}
}

type handler = func(context.Context, api.Call) (any, error)

func bounded(wait time.Duration, handle handler) handler {
	return func(ctx context.Context, c api.Call) (any, error) {
		ctx, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		return handle(ctx, c)
	}
}

// list answers notify.
func (s *Service) list(ctx context.Context, _ api.Call) (any, error) {
	reply := operator.NotifyReply{Endpoints: []operator.NotifyEndpoint{}}
	dead, err := s.dead(ctx)
	if err != nil {
		return nil, api.Unavailable("stream %s: %v", events.StreamDead, err)
	}
	defined := s.settings.Load().endpoints
	for _, name := range s.names() {
		shown := operator.NotifyEndpoint{
			Endpoint: name, Dead: int(dead[events.DeadSubject(events.StreamNotify, events.NotifyConsumer(name).Durable)]),
		}
		if e := defined[name]; e != nil {
			shown.Defined, shown.Projects, shown.Always, shown.Events = true, e.projects, e.always, e.events
		}
		if shown.Waiting, shown.Oldest, err = s.waiting(ctx, name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return nil, api.Unavailable("%v", err)
		}
		s.gate(name).show(&shown)
		reply.Endpoints = append(reply.Endpoints, shown)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	reply.FileError = s.fileError
	return reply, nil
}

// show tells how the deliveries of late went.
func (g *gate) show(e *operator.NotifyEndpoint) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if e.Failures = g.failures; e.Failures > 0 {
		e.LastFailure, e.FailedAt = g.failure, new(g.failedAt.UTC())
	}
	if !g.deliveredAt.IsZero() {
		e.DeliveredAt = new(g.deliveredAt.UTC())
	}
}

// dead counts dead letters by their subject.
func (s *Service) dead(ctx context.Context) (map[string]uint64, error) {
	stream, err := s.o.Bus.JetStream().Stream(ctx, events.StreamDead)
	if err != nil {
		return nil, err
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(events.DeadSubject(events.StreamNotify, ">")))
	if err != nil {
		return nil, err
	}
	return info.State.Subjects, nil
}

// replay answers notify-replay.
func (s *Service) replay(ctx context.Context, c api.Call) (any, error) {
	r, err := operator.DecodeNotifyReplayRequest(c.Data)
	if err != nil {
		return nil, err
	}
	if _, err := s.defined(r.Endpoint); err != nil {
		return nil, err
	}
	stream, err := s.o.Bus.JetStream().Stream(ctx, events.StreamDead)
	if err != nil {
		return nil, api.Unavailable("stream %s: %v", events.StreamDead, err)
	}
	began := time.Now()
	var reply operator.NotifyReplayReply
	filter := events.DeadSubject(events.StreamNotify, events.NotifyConsumer(r.Endpoint).Durable)
	for after := r.After; ; {
		m, err := stream.GetMsg(ctx, after+1, jetstream.WithGetMsgSubject(filter))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break
		}
		if err != nil {
			return nil, api.Unavailable("dead letters behind %d: %v", after, err)
		}
		after = m.Sequence
		if r.Since == nil || !m.Time.Before(*r.Since) {
			if err := s.again(ctx, m); err != nil {
				return nil, api.Unavailable("dead letter %d: %v; those before it were replayed", after, err)
			}
			reply.Replayed++
		}
		if r.Limit--; r.Limit == 0 || time.Since(began) > replayWait/2 { // the rest is another page
			reply.NextAfter = after
			break
		}
	}
	s.log.Info("dead letters of an endpoint were replayed", "endpoint", r.Endpoint, "replayed", reply.Replayed)
	return reply, nil
}

// again publishes the notification of a dead letter.
func (s *Service) again(ctx context.Context, m *jetstream.RawStreamMsg) error {
	l, err := events.DecodeDeadLetter(m.Header, m.Data)
	if err != nil {
		return err
	}
	subject, header, body, err := l.Replay()
	if err != nil {
		return err
	}
	_, err = s.o.Bus.JetStream().PublishMsg(ctx, &nats.Msg{Subject: subject, Header: header, Data: body})
	return err
}

// defined returns an endpoint of the file, or an error for whoever asked for it.
func (s *Service) defined(name string) (*endpoint, error) {
	e := s.settings.Load().endpoints[name]
	if e == nil {
		return nil, api.Fail(404, events.CodeNotFound, events.KindNotFound, "REELAY_NOTIFY_FILE defines no endpoint %s", name)
	}
	return e, nil
}

// test answers notify-test.
func (s *Service) test(ctx context.Context, c api.Call) (any, error) {
	r, err := operator.DecodeNotifyTestRequest(c.Data)
	if err != nil {
		return nil, err
	}
	e, err := s.defined(r.Endpoint)
	if err != nil {
		return nil, err
	}
	begin := time.Now().UTC()
	id := fmt.Sprintf("test/%s/%s", e.name, strconv.FormatInt(begin.UnixNano(), 10))
	body, err := events.Marshal(map[string]any{"type": "test", "time": begin, "message": "sent by reelay notify test"})
	if err != nil {
		return nil, err
	}
	sent := s.post(ctx, s.settings.Load().client, e, delivery{id: id, body: body})
	return operator.NotifyTestReply{
		Endpoint: e.name, Failure: sent.failure, TookS: time.Since(begin).Seconds(), WebhookID: id,
	}, nil
}
