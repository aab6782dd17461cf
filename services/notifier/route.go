package notifier

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/internal/bus"
)

// routeAgain is when an event is tried again of which a notification could not be stored.
const routeAgain = time.Second

// route makes the notifications of an event.
func (s *Service) route(ctx context.Context, m bus.Message) bus.Outcome {
	k, t, err := events.ParseEventSubject(m.Subject)
	if err != nil {
		return bus.Done() // of another build, and nobody's
	}
	targets, refused, err := s.targets(ctx, m, k, t)
	for _, name := range targets {
		if err == nil {
			err = s.notify(ctx, name, k, t, m)
		}
	}
	switch {
	case err != nil:
		s.log.Warn("an event could not be queued for a webhook yet; it is tried again", "subject", m.Subject, "error", err)
		return bus.RetryAfter(routeAgain)
	case refused != "":
		return bus.Terminate(fmt.Sprintf("the request names the endpoint %s, which is not for project %s", refused, k.Project))
	}
	return bus.Done()
}

// targets returns the endpoints that are sent an event; refused is one that was named and is not for the project.
func (s *Service) targets(ctx context.Context, m bus.Message, k events.Key, t events.EventType) (
	targets []string, refused string, err error,
) {
	defined := s.settings.Load().endpoints
	for _, name := range events.ParseNotified(m.Get(events.HeaderNotify)) {
		e := defined[name]
		switch {
		case e == nil:
			s.stray(name, k)
			targets = append(targets, name)
		case !e.allows(k.Project):
			refused = name
		case e.wants(t, true):
			targets = append(targets, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(defined)) {
		e := defined[name]
		if !e.always || !e.allows(k.Project) || !e.wants(t, false) || slices.Contains(targets, name) {
			continue
		}
		began, err := s.began(ctx)
		if err != nil {
			return nil, "", err
		}
		if m.Time.After(began) { // nobody wants to hear of what was long before
			targets = append(targets, name)
		}
	}
	return targets, refused, nil
}

// began returns when notifications were first made of events: when their consumer was.
func (s *Service) began(ctx context.Context) (time.Time, error) {
	if s.since.IsZero() {
		ctx, cancel := context.WithTimeout(ctx, requestWait)
		defer cancel()
		c, err := s.o.Bus.JetStream().Consumer(ctx, events.StreamEvents, events.ConsumerNotify)
		if err != nil {
			return time.Time{}, fmt.Errorf("consumer %s: %w", events.ConsumerNotify, err)
		}
		s.since = c.CachedInfo().Created
	}
	return s.since, nil
}

// notify stores a notification. An event that is routed again, because its acknowledgement was lost, is recognised.
func (s *Service) notify(ctx context.Context, endpoint string, k events.Key, t events.EventType, m bus.Message) error {
	body, err := events.Marshal(events.Notification{Sequence: m.Sequence, ID: m.Get(events.HeaderID)})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, requestWait)
	defer cancel()
	_, err = s.o.Bus.JetStream().PublishMsg(ctx, &nats.Msg{
		Subject: events.NotifySubject(endpoint, k, t), Data: body, Header: nats.Header{},
	}, jetstream.WithMsgID(endpoint+":"+strconv.FormatUint(m.Sequence, 10)))
	return err
}

// stray has notifications of a name looked after that the file does not define; beyond maxStrays the survey does, when
// there is room.
func (s *Service) stray(endpoint string, k events.Key) {
	s.mu.Lock()
	known := s.strays[endpoint] || len(s.strays) >= maxStrays
	if !known {
		s.strays[endpoint] = true
	}
	s.mu.Unlock()
	if known {
		return
	}
	s.log.Error("a request names an endpoint for webhooks that REELAY_NOTIFY_FILE does not define; its events wait for it",
		"endpoint", endpoint, "task", k)
	select {
	case s.strayed <- struct{}{}:
	default:
	}
}
