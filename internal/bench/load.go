package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"reelay/events"
	"reelay/internal/provider/registry"
)

const (
	project = "bench"
	prompt  = "a kite over dunes in the evening, seen from far above, in one long and quiet shot"
	// maxPending is how many publishes wait for their acknowledgement at once.
	maxPending = 256
)

// A client says how tasks are handed in and how their ends are heard.
type client struct {
	request func(id string) (subject string, data []byte)
	// ends is the subject of all ends, with the task's id in the token before the last.
	ends string
}

// taskClient hands tasks in to reelay.
func taskClient(p registry.Provider) client {
	return client{
		ends: events.Event{Type: events.EventCompleted, Project: project, TaskID: "*"}.Subject(),
		request: func(id string) (string, []byte) {
			data, _ := json.Marshal(map[string]any{ // of strings
				"id": id, "provider": p.Name, "model": p.ExampleModel, "input": map[string]string{"prompt": prompt},
			})
			return events.RequestSubject(project, events.Video), data
		},
	}
}

// loopClient hands tasks in to the loop.
func loopClient() client {
	return client{
		ends: loopEnds + "*.completed",
		request: func(id string) (string, []byte) {
			data, _ := json.Marshal(loopRequest{ID: id, Input: loopInput{Prompt: prompt}}) // of strings
			return loopRequests + id, data
		},
	}
}

// A load hands tasks in and hears their ends.
type load struct {
	client
	js   jetstream.JetStream
	sub  *nats.Subscription
	ends chan *nats.Msg
}

func newLoad(nc *nats.Conn, c client) (*load, error) {
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(maxPending))
	if err != nil {
		return nil, err
	}
	l := &load{client: c, js: js, ends: make(chan *nats.Msg, 1<<16)}
	if l.sub, err = nc.ChanSubscribe(c.ends, l.ends); err != nil {
		return nil, err
	}
	return l, nc.Flush()
}

func (l *load) close() { _ = l.sub.Unsubscribe() }

// together hands n tasks in at once and returns how long it took until the last has ended.
func (l *load) together(ctx context.Context, n int) (time.Duration, error) {
	begin := time.Now()
	open := map[string]bool{}
	for range n {
		id := nuid.Next()
		open[id] = true
		subject, data := l.request(id)
		if _, err := l.js.PublishAsync(subject, data, jetstream.WithStallWait(runWait)); err != nil {
			return 0, fmt.Errorf("request: %w", err)
		}
	}
	for len(open) > 0 {
		id, err := l.end(ctx)
		if err != nil {
			return 0, fmt.Errorf("%d of %d tasks are open: %w", len(open), n, err)
		}
		delete(open, id)
	}
	return time.Since(begin), nil
}

// alone hands n tasks in, each when the one before has ended, and returns how long each took.
func (l *load) alone(ctx context.Context, n int) (times []time.Duration, err error) {
	for range n {
		took, err := l.together(ctx, 1)
		if err != nil {
			return nil, err
		}
		times = append(times, took)
	}
	return times, nil
}

// end returns the id of the next task that has ended.
func (l *load) end(ctx context.Context) (string, error) {
	select {
	case <-ctx.Done():
		return "", context.Cause(ctx)
	case m := <-l.ends:
		tokens := strings.Split(m.Subject, ".")
		return tokens[len(tokens)-2], nil
	}
}
