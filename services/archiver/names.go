package archiver

import (
	"context"
	"slices"
	"strings"
	"time"

	"reelay/events"
	"reelay/internal/artifact"
	"reelay/internal/task"
)

// names are the files that records name, and what protects those that none names yet.
type names struct {
	// by has a task for each file.
	by map[string]events.Key
	// storing is, by project, when the first result was known whose outputs are not all stored: a file that was stored after
	// that may be one of them.
	storing map[string]time.Time
}

// clockSkew is by how much the clocks of a store and of a machine may differ.
const clockSkew = time.Hour

func newNames() names { return names{by: map[string]events.Key{}, storing: map[string]time.Time{}} }

// readNames reads the records of a project, or of all for "". see is called with each, and may be nil.
func (s *Service) readNames(ctx context.Context, project string, see func(events.Task)) (names, error) {
	n := newNames()
	err := s.o.Bus.ReadProject(ctx, project, func(t events.Task) {
		n.add(t)
		if see != nil {
			see(t)
		}
	})
	return n, err
}

func (n names) add(t events.Task) {
	if t.Result == nil {
		return
	}
	for _, o := range t.Result.Outputs {
		if name, ok := nameOf(o.StoredURL); ok {
			n.by[name.String()] = t.Key()
		}
	}
	if len(task.Unsettled(t)) == 0 {
		return
	}
	at := resultAt(t)
	if first, ok := n.storing[t.Project]; !ok || at.Before(first) {
		n.storing[t.Project] = at
	}
}

// mayBeStoring reports whether a file that no record names may be of a task that is about to.
func (n names) mayBeStoring(f artifact.File) bool {
	first, ok := n.storing[f.Name.Project]
	return ok && f.StoredAt.After(first.Add(-clockSkew))
}

// taskOf is a task whose record names a file; empty for none.
func (n names) taskOf(name artifact.Name) string {
	if k, ok := n.by[name.String()]; ok {
		return k.String()
	}
	return ""
}

// nameOf reads the name of a file from its place.
func nameOf(storedURL string) (artifact.Name, bool) {
	words := strings.Split(storedURL, "/")
	n, err := artifact.ParseName(strings.Join(words[max(0, len(words)-2):], "/"))
	return n, err == nil
}

// page lists the files behind a name, as many as limit by the order of their names; next is empty on the last page.
func (s *Service) page(ctx context.Context, project, after string, limit int) (files []artifact.File, next string, err error) {
	byName := func(a, b artifact.File) int { return strings.Compare(a.Name.String(), b.Name.String()) }
	first := func() { // no more than twice as many as are asked for are in memory
		slices.SortFunc(files, byName)
		files = files[:min(len(files), limit+1)]
	}
	err = s.o.Store.List(ctx, project, func(f artifact.File) error {
		if f.Name.String() > after {
			files = append(files, f)
		}
		if len(files) >= 2*(limit+1) {
			first()
		}
		return nil
	})
	if err != nil {
		return nil, "", err
	}
	if first(); len(files) > limit {
		files = files[:limit]
		next = files[limit-1].Name.String()
	}
	return files, next, nil
}
