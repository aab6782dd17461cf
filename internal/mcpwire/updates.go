package mcpwire

import (
	"context"
	"sync"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// updatePause is the least time between two notifications about one resource.
const updatePause = 500 * time.Millisecond

// Updates tell subscribers of resources that these have changed, of each resource twice a second at most. A subscriber
// that does not read keeps back what is told of its own resources alone, until its connection is given up.
type Updates struct {
	server *sdk.Server

	mu    sync.Mutex
	dirty map[string]bool
	// told are the resources whose subscribers are being told.
	told  map[string]bool
	last  time.Time
	armed bool
}

// NewUpdates returns the updates of a server.
func NewUpdates(server *sdk.Server) *Updates {
	return &Updates{server: server, dirty: map[string]bool{}, told: map[string]bool{}}
}

// Mark says that resources have changed. It never waits.
func (u *Updates) Mark(uris ...string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, uri := range uris {
		u.dirty[uri] = true
	}
	u.arm()
}

func (u *Updates) arm() {
	if !u.armed && len(u.dirty) > 0 {
		u.armed = true
		time.AfterFunc(max(0, updatePause-time.Since(u.last)), u.flush)
	}
}

func (u *Updates) flush() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.armed, u.last = false, time.Now()
	for uri := range u.dirty {
		if !u.told[uri] {
			delete(u.dirty, uri)
			u.told[uri] = true
			go u.tell(uri)
		}
	}
	u.arm()
}

func (u *Updates) tell(uri string) {
	// What cannot be told belongs to a client that has gone.
	_ = u.server.ResourceUpdated(context.Background(), &sdk.ResourceUpdatedNotificationParams{URI: uri})
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.told, uri)
}
