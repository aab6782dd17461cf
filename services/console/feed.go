package console

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"reelay/events"
	"reelay/events/client"
)

const (
	// maxRecent is how many events are kept to be shown.
	maxRecent = 100
	// plotSpan is how far back the plots go, plotStep the time that one bar of them counts.
	plotSpan = 3 * time.Hour
	plotStep = 5 * time.Minute
	// feedPause is the pause between two tries to read events.
	feedPause = 2 * time.Second
)

// A feed reads the events of everything and keeps what pages show of them: the newest ones, and how many tasks have ended
// and what they cost.
type feed struct {
	mu       sync.Mutex
	last     uint64 // the sequence of the newest event
	recent   []client.StoredEvent
	counts   map[int64]*count // by time in units of plotStep
	watchers map[*watcher]struct{}
}

// A count is what happened within plotStep.
type count struct {
	Completed, Failed, Cancelled int
	USD                          float64
}

// A watcher is told that an event has come which it wants.
type watcher struct {
	wants func(events.Event) bool
	dirty chan struct{}
}

func newFeed() *feed { return &feed{counts: map[int64]*count{}, watchers: map[*watcher]struct{}{}} }

// run reads events until ctx ends. NATS and its streams may come later.
func (f *feed) run(ctx context.Context, c *client.Client, log *slog.Logger) error {
	filter := events.EventSubject(events.Key{Project: "*", ID: "*"}, "*")
	for {
		stream, err := c.ReplaySince(ctx, filter, time.Now().Add(-plotSpan))
		if err == nil {
			for {
				select {
				case <-ctx.Done():
					return nil
				case e := <-stream:
					f.add(e)
				}
			}
		}
		log.Debug("events cannot be read yet", "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(feedPause):
		}
	}
}

func (f *feed) add(e client.StoredEvent) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e.Sequence <= f.last {
		return
	}
	f.last = e.Sequence
	if e.Type.Terminal() {
		f.count(e)
	}
	e.Task = nil // it may be large
	if len(f.recent) == maxRecent {
		f.recent = slices.Delete(f.recent, 0, 1)
	}
	f.recent = append(f.recent, e)
	for w := range f.watchers {
		if w.wants(e.Event) {
			select {
			case w.dirty <- struct{}{}:
			default:
			}
		}
	}
}

func (f *feed) count(e client.StoredEvent) {
	at := e.Time.UnixNano() / int64(plotStep)
	c := f.counts[at]
	if c == nil {
		c = &count{}
		f.counts[at] = c
		for old := range f.counts {
			if old < at-int64(plotSpan/plotStep) {
				delete(f.counts, old)
			}
		}
	}
	switch e.Type {
	case events.EventCompleted:
		c.Completed++
	case events.EventFailed:
		c.Failed++
	case events.EventCancelled:
		c.Cancelled++
	}
	if e.Task != nil {
		c.USD += e.Task.SpentUSD()
	}
}

// sequence is that of the newest event.
func (f *feed) sequence() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// newest returns the n newest events, the newest first.
func (f *feed) newest(n int) []client.StoredEvent {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := slices.Clone(f.recent[max(0, len(f.recent)-n):])
	slices.Reverse(all)
	return all
}

// bars returns what happened until now, the oldest first.
func (f *feed) bars(now time.Time) []count {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, last := int64(plotSpan/plotStep), now.UnixNano()/int64(plotStep)
	all := make([]count, 0, n)
	for at := last - n + 1; at <= last; at++ {
		if c := f.counts[at]; c != nil {
			all = append(all, *c)
		} else {
			all = append(all, count{})
		}
	}
	return all
}

// watch tells of events that are wanted, until stop is called.
func (f *feed) watch(wants func(events.Event) bool) (w *watcher, stop func()) {
	w = &watcher{wants: wants, dirty: make(chan struct{}, 1)}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watchers[w] = struct{}{}
	return w, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.watchers, w)
	}
}
