package api

import "sync"

// slots bound what is under way at once.
type slots struct {
	size int
	mu   sync.Mutex
	used int
	// held are those of each project; nil where projects do not count.
	held map[string]int
}

// take takes a slot. Where projects count, one has no more than are left free: so there is always one for another.
func (s *slots) take(project string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.used == s.size:
		return Unavailable("%d requests are under way; ask again", s.size)
	case s.held != nil && s.held[project] >= s.size-s.used:
		return Unavailable("%d requests of project %q are under way; ask again", s.held[project], project)
	}
	s.used++
	if s.held != nil {
		s.held[project]++
	}
	return nil
}

// give gives a slot back.
func (s *slots) give(project string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used--
	if s.held == nil {
		return
	}
	if s.held[project]--; s.held[project] == 0 {
		delete(s.held, project)
	}
}
