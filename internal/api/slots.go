package api

import (
	"sync"

	"reelay/events"
)

// slots bound what is under way at once.
type slots struct {
	// name is that of the quota by which a project has them.
	name string
	size int
	mu   sync.Mutex
	used int
	// held are those of each project.
	held map[string]int
}

// take takes a slot. A project has no more than its quota, nor than are left free: so there is always one for another.
// What names no project is the operator's, whom nothing bounds but the size.
func (s *slots) take(project string, quota int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch held := s.held[project]; {
	case s.used == s.size:
		return Unavailable("%d requests are under way; ask again", s.size)
	case project == "":
	case held >= quota:
		f := Fail(429, events.CodeOverLimit, events.KindRateLimited, "%d requests of project %q are under way, which may have %d; "+
			"ask again", held, project, quota)
		f.Body.Field, f.Body.Retryable = s.name, true
		return f
	case held >= s.size-s.used:
		return Unavailable("%d requests of project %q are under way; ask again", held, project)
	}
	s.used++
	s.held[project]++
	return nil
}

// give gives a slot back.
func (s *slots) give(project string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used--
	if s.held[project]--; s.held[project] == 0 {
		delete(s.held, project)
	}
}
