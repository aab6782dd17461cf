package mcp

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"reelay/events"
	"reelay/events/client"
)

const (
	// watcherBuffer is how many events wait for one who watches a task. What does not fit is lost to it: it asks for the
	// record all the same.
	watcherBuffer = 8
	// subscribePause is the pause between two tries to hear events.
	subscribePause = 2 * time.Second
)

// A hub hands the events of tasks to those who watch one, over a single subscription.
type hub struct {
	mu       sync.Mutex
	watchers map[events.Key]map[chan events.Event]struct{}
	// all are told of every event.
	all []func(events.Event)
}

func newHub() *hub { return &hub{watchers: map[events.Key]map[chan events.Event]struct{}{}} }

// watch returns the events of a task from now on, until stop is called.
func (h *hub) watch(k events.Key) (stream <-chan events.Event, stop func()) {
	c := make(chan events.Event, watcherBuffer)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watchers[k] == nil {
		h.watchers[k] = map[chan events.Event]struct{}{}
	}
	h.watchers[k][c] = struct{}{}
	return c, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.watchers[k], c)
		if len(h.watchers[k]) == 0 {
			delete(h.watchers, k)
		}
	}
}

// each has f called with every event; f must not wait.
func (h *hub) each(f func(events.Event)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, f)
}

// publish never waits for a watcher.
func (h *hub) publish(e events.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.all {
		f(e)
	}
	for c := range h.watchers[e.Key()] {
		select {
		case c <- e:
		default:
		}
	}
}

// run hears events until ctx ends. NATS may come later.
func (h *hub) run(ctx context.Context, c *client.Client, log *slog.Logger) error {
	filter := events.EventSubject(events.Key{Project: "*", ID: "*"}, "*")
	for {
		stream, err := c.Subscribe(ctx, filter)
		if err == nil {
			for {
				select {
				case <-ctx.Done():
					return nil
				case e := <-stream:
					h.publish(e)
				}
			}
		}
		log.Warn("events cannot be heard yet", "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(subscribePause):
		}
	}
}
