package notifier

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/internal/bus"
)

const (
	// minRetry and maxRetry bound the wait before an event is tried again that an endpoint did not take; it doubles.
	minRetry, maxRetry = 5 * time.Second, 30 * time.Minute
	// minTries is how often an event is delivered at least, here or at the endpoint, however old it is.
	minTries = 6
	// minTurn and maxTurn bound the wait for an earlier event of the same task.
	minTurn, maxTurn = 500 * time.Millisecond, 5 * time.Minute
	// undefinedAgain is when a notification is looked at again whose endpoint the file does not define.
	undefinedAgain = 5 * time.Minute
	// natsAgain is when one is tried again that could not be read.
	natsAgain = 2 * time.Second
	// maxBodyBytes bounds what is sent: a larger event goes without its record.
	maxBodyBytes = 256 << 10
)

var (
	errGone       = errors.New("the event is not kept any more")
	errUnreadable = errors.New("the event is no JSON object")
)

// deliver handles a notification of an endpoint. stop ends before the context of the delivery does.
func (s *Service) deliver(ctx, stop context.Context, name string, m bus.Message) bus.Outcome {
	_, k, t, err := events.ParseNotifySubject(m.Subject)
	var n events.Notification
	if err == nil {
		err = json.Unmarshal(m.Data, &n)
	}
	if err != nil {
		return bus.Terminate("it is no notification: " + err.Error())
	}
	late := func() bool { return time.Since(m.Time) > s.o.MaxAge }
	if _, o, ok := s.sentTo(name, k, t, late); !ok {
		return o
	}
	earliest, err := s.earliest(ctx, name, k)
	switch {
	case err != nil:
		s.log.Warn("it could not be asked whether an earlier webhook of a task waits", "task", k, "error", err)
		return bus.RetryAfter(natsAgain)
	case earliest > m.Sequence:
		return bus.Done() // another delivery of it has ended, and later events may have been sent since
	case earliest > 0 && earliest < m.Sequence:
		return bus.RetryAfter(growing(minTurn, maxTurn, m.Delivered))
	}
	g := s.gate(name)
	if !g.await(stop, late) {
		if stop.Err() != nil {
			return bus.RetryAfter(0)
		}
		return bus.Terminate(fmt.Sprintf("the endpoint %s has taken nothing in %v: %s", name, s.o.MaxAge, g.lastFailure()))
	}
	set, o, ok := s.sentTo(name, k, t, late) // the file may have changed meanwhile
	if !ok {
		g.pass()
		return o
	}
	return s.send(ctx, set.client, set.endpoints[name], g, n, m)
}

// sentTo returns the settings by which an endpoint is sent an event, or what becomes of one that it is not sent. The
// project is checked here too: when the event was routed, the file may not have had the endpoint.
func (s *Service) sentTo(name string, k events.Key, t events.EventType, late func() bool) (*settings, bus.Outcome, bool) {
	set := s.settings.Load()
	e := set.endpoints[name]
	switch {
	case e == nil && late():
		return nil, bus.Terminate("REELAY_NOTIFY_FILE defines no endpoint " + name), false
	case e == nil:
		return nil, bus.RetryAfter(undefinedAgain), false
	case !e.allows(k.Project):
		return nil, bus.Terminate(fmt.Sprintf("the endpoint %s is not for project %s", name, k.Project)), false
	case !e.wants(t, true):
		return nil, bus.Done(), false
	}
	return set, bus.Outcome{}, true
}

// send delivers an event through an open gate.
func (s *Service) send(
	ctx context.Context, client *http.Client, e *endpoint, g *gate, n events.Notification, m bus.Message,
) bus.Outcome {
	d, err := s.load(ctx, n)
	if err != nil {
		g.pass()
		if errors.Is(err, errGone) {
			s.log.Info("an event is not sent to a webhook: it was erased or is too old", "endpoint", e.name, "event", n.ID)
			return bus.Done()
		}
		if errors.Is(err, errUnreadable) {
			return bus.Terminate(err.Error())
		}
		s.log.Warn("an event could not be read for a webhook yet", "endpoint", e.name, "event", n.ID, "error", err)
		return bus.RetryAfter(natsAgain)
	}
	r := s.post(ctx, client, e, d)
	if ctx.Err() != nil && r.failure != "" {
		g.pass()
		return bus.RetryAfter(0) // the service is stopping
	}
	g.leave(r.failure, r.retryAfter)
	if r.failure == "" {
		return bus.Done()
	}
	if time.Since(m.Time) > s.o.MaxAge && m.Delivered >= minTries {
		return bus.Terminate(fmt.Sprintf("the endpoint %s did not take it in %v: %s", e.name, s.o.MaxAge, r.failure))
	}
	wait := max(growing(minRetry, maxRetry, m.Delivered), min(r.retryAfter, maxRetryAfter))
	if r.status == http.StatusGone {
		s.log.Error("an endpoint for webhooks says that it is gone; take it out of REELAY_NOTIFY_FILE, or mend it",
			"endpoint", e.name, "event", n.ID)
	}
	s.log.Warn("a webhook was not delivered; it is tried again", "endpoint", e.name, "event", n.ID, "reason", r.failure,
		"again_in", wait)
	return bus.RetryAfter(wait)
}

// growing is a wait that doubles with each delivery.
func growing(first, most time.Duration, delivered uint64) time.Duration {
	return min(first<<min(max(delivered, 1)-1, 20), most)
}

// earliest returns the sequence of the earliest notification of a task that waits for the endpoint; 0 if none does.
func (s *Service) earliest(ctx context.Context, name string, k events.Key) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestWait)
	defer cancel()
	m, err := s.tickets.GetMsg(ctx, 1, jetstream.WithGetMsgSubject(events.NotifyTaskFilter(name, k)))
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return 0, nil
	case err != nil:
		return 0, err
	}
	return m.Sequence, nil
}

// load reads the event of a notification. It fails with errGone and errUnreadable.
func (s *Service) load(ctx context.Context, n events.Notification) (delivery, error) {
	ctx, cancel := context.WithTimeout(ctx, requestWait)
	defer cancel()
	m, err := s.events.GetMsg(ctx, n.Sequence)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return delivery{}, errGone
	case err != nil:
		return delivery{}, err
	case m.Header.Get(events.HeaderID) != n.ID: // another stream of that name
		return delivery{}, errGone
	}
	body, err := within(m.Data)
	return delivery{id: n.ID, header: m.Header, body: body}, err
}

// within bounds the body of an event.
func within(body []byte) ([]byte, error) {
	if len(body) <= maxBodyBytes {
		return body, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	delete(fields, "task")
	return json.Marshal(fields)
}
