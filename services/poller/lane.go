package poller

import (
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go"

	"reelay/events"
	"reelay/internal/provider"
)

// lane is one provider account at work.
type lane struct {
	provider.Lane
	budget pollBudget
	polls  failsafe.Executor[provider.Snapshot]

	mu          sync.Mutex
	reliability reliability
	// published holds the figures that were published last.
	published events.LaneHealth
	detection detection
}

// updateReliability applies a change to the callback reliability, and returns the new value.
func (l *lane) updateReliability(change func(reliability) reliability) reliability {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reliability = change(l.reliability)
	return l.reliability
}

func (l *lane) assumedMissRate(now time.Time) float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reliability.assumedMissRate(now)
}

// unpublished returns the current figures, and whether they differ from the published ones.
func (l *lane) unpublished() (figures events.LaneHealth, fresh bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	figures = events.LaneHealth{CallbackHealth: l.reliability.figures(), Detection: l.detection.last}
	return figures, figures != l.published
}

func (l *lane) setPublished(figures events.LaneHealth) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.published = figures
}
