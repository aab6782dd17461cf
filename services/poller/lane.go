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
	pace  pace
	looks failsafe.Executor[provider.Snapshot]

	mu     sync.Mutex
	health health
	// told is what others were told last.
	told events.CallbackHealth
}

// learn changes what is known of the callbacks, and returns it.
func (l *lane) learn(change func(health) health) health {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.health = change(l.health)
	return l.health
}

func (l *lane) unheard(now time.Time) float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.health.unheard(now)
}

// news returns the figures if others do not know them yet.
func (l *lane) news() (figures events.CallbackHealth, fresh bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	figures = l.health.figures()
	return figures, figures != l.told
}

func (l *lane) tell(figures events.CallbackHealth) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told = figures
}
