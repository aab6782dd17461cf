package lanes

import (
	"time"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/provider"
	"reelay/internal/provider/local"
	"reelay/internal/provider/registry"
)

const (
	// localInterval is the time between two polls of work that is done here; what comes of it is written down at once.
	localInterval = 5 * time.Second
	// localHorizon is how long nobody need have seen a message whose sender has died. It may be sent again.
	localHorizon = 30 * time.Second
)

// Local returns the lane whose work the media service does, over the queue of b. It costs nothing.
func Local(b *bus.Bus) provider.Lane {
	return provider.Lane{
		Name: registry.Local, Provider: registry.Local, Driver: local.New(b), Emulated: true, Free: true, PollInterval: localInterval,
		Horizon: func(events.Task) time.Duration { return localHorizon }, NoCallback: true,
	}
}
