package jsonapi

import "sync"

// maxRecent bounds what is remembered.
const maxRecent = 1000

// Recent remembers the newest of what was added to it. The zero Recent is ready, and safe for concurrent use.
type Recent struct {
	mu    sync.Mutex
	known map[string]bool
	order []string
}

// Add remembers an id.
func (r *Recent) Add(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.known[id]:
		return
	case r.known == nil:
		r.known = map[string]bool{}
	case len(r.order) == maxRecent:
		delete(r.known, r.order[0])
		r.order = append([]string{}, r.order[1:]...)
	}
	r.known[id], r.order = true, append(r.order, id)
}

// Has reports whether an id is remembered.
func (r *Recent) Has(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.known[id]
}
