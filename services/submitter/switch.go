package submitter

import (
	"context"
	"errors"
	"sync"
	"time"

	"reelay/internal/bus"
)

// Spending says whether money may be spent at all. Its answer must not take time: it is asked before every intent and before
// the last byte of every paid request.
type Spending interface {
	// Allowed returns why nothing may be spent now.
	Allowed() error
}

// stoppedWait is how soon a lane looks again that may not spend. The switch of a lane wakes it at once.
const stoppedWait = time.Second

var errSwitchesUnknown = errors.New("the switches of the lanes have not been read yet")

// switches is what is known of the lanes' switches.
type switches struct {
	mu    sync.Mutex
	known bool
	set   map[string]bus.LaneSwitch
}

// check says whether a lane is paused.
func (w *switches) check(lane string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.known {
		return errSwitchesUnknown
	}
	for _, key := range []string{bus.AllLanes, lane} {
		if s := w.set[key]; s.Paused {
			return &bus.PausedError{Key: key, Switch: s}
		}
	}
	return nil
}

func (w *switches) put(key string, s bus.LaneSwitch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if key == "" {
		w.known = true
		return
	}
	if w.set == nil {
		w.set = map[string]bus.LaneSwitch{}
	}
	w.set[key] = s
}

// leave says whether a lane may spend money now.
func (s *Service) leave(l *lane) error {
	if s.o.Spending != nil {
		if err := s.o.Spending.Allowed(); err != nil {
			return err
		}
	}
	return s.switches.check(l.Name)
}

// followSwitches keeps the switches as they are set, and wakes the lanes.
func (s *Service) followSwitches(ctx context.Context) error {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := s.o.Bus.FollowLanes(ctx, func(key string, w bus.LaneSwitch) {
			s.switches.put(key, w)
			if key != "" {
				s.log.Warn("switch of a lane", "lane", key, "paused", w.Paused, "reason", w.Reason, "by", w.By)
			}
			for _, l := range s.lanes {
				paused := 0.0
				if errors.Is(s.switches.check(l.Name), bus.ErrPaused) {
					paused = 1
				}
				s.metrics.paused.WithLabelValues(l.Name).Set(paused)
				select {
				case l.wake <- struct{}{}:
				default:
				}
			}
		})
		if ctx.Err() != nil {
			return nil
		}
		s.log.Warn("watch of the lanes' switches interrupted", "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}
