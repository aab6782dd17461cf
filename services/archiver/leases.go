package archiver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/artifact"
	"reelay/internal/bus"
)

// A file that an earlier task has made is not stored again for another task with the same bytes. Between the moment that
// it is found in the store and the record that names it, nobody may delete it: a lease says whether it is kept or deleted
// (bucket.FileLease).

// leaseTries is how often a lease is asked for against other tasks with the same bytes.
const leaseTries = 4

// errLeased says that a file is being deleted, or is about to be named.
var errLeased = errors.New("the file is leased")

// inStore reports whether the store has a file, which then stays until a task has named it.
func (s *Service) inStore(ctx context.Context, k events.Key, n artifact.Name, size int64) (bool, error) {
	f, err := s.o.Store.Stat(ctx, n)
	if err == nil && f.Size == size {
		if err := s.keepFor(ctx, k, n); err != nil {
			return false, err
		}
		f, err = s.o.Store.Stat(ctx, n)
	}
	if errors.Is(err, artifact.ErrNotFound) {
		return false, nil
	}
	return err == nil && f.Size == size, err
}

// keepFor takes the lease of a file for a task.
func (s *Service) keepFor(ctx context.Context, k events.Key, n artifact.Name) error {
	for try := 1; ; try++ {
		_, err := s.lease(ctx, n, k.String(), bucket.KeepFileTTL)
		if errors.Is(err, bus.ErrConflict) && try < leaseTries {
			continue
		}
		if err == nil {
			s.kept.add(k, n)
		}
		return err
	}
}

// lease takes the lease of a file for a task, or for deleting it for "", and returns its revision. One for keeping it
// may be renewed, or taken over by another task: the file is kept all the same. It fails with errLeased.
func (s *Service) lease(ctx context.Context, n artifact.Name, task string, ttl time.Duration) (uint64, error) {
	leases, key := s.leases(), bucket.FileLeaseKey(n.Project, n.SHA256)
	e, err := leases.Get(ctx, key)
	if err != nil {
		return 0, err
	}
	var had bucket.FileLease
	if e.Present {
		if err := json.Unmarshal(e.Value, &had); err != nil {
			return 0, fmt.Errorf("lease of %s: %w: %w", n, bus.ErrUnreadable, err)
		}
		if task == "" || had.Task == "" {
			return 0, fmt.Errorf("%w: %s", errLeased, n)
		}
	}
	value, err := events.Marshal(bucket.FileLease{Task: task})
	if err != nil {
		return 0, err
	}
	revision, err := leases.Update(ctx, key, value, e.Revision, ttl)
	if errors.Is(err, bus.ErrConflict) {
		err = fmt.Errorf("%w: %w", errLeased, err)
	}
	return revision, err
}

// keptFiles are those whose leases this process has taken for tasks.
type keptFiles struct {
	mu  sync.Mutex
	all map[events.Key][]artifact.Name
}

func (f *keptFiles) add(k events.Key, n artifact.Name) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Contains(f.all[k], n) {
		f.all[k] = append(f.all[k], n)
	}
}

func (f *keptFiles) take(k events.Key) []artifact.Name {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.all[k]
	delete(f.all, k)
	return all
}

// release gives back the lease of a file that a task has named, or will not. One that is not this task's, or that
// somebody else has taken over, stays.
func (s *Service) release(ctx context.Context, n artifact.Name, k events.Key) {
	e, err := s.leases().Get(ctx, bucket.FileLeaseKey(n.Project, n.SHA256))
	var had bucket.FileLease
	if err != nil || !e.Present || json.Unmarshal(e.Value, &had) != nil || had.Task != k.String() {
		return // it ends by itself
	}
	s.giveBack(ctx, n, e.Revision)
}

func (s *Service) giveBack(ctx context.Context, n artifact.Name, revision uint64) {
	err := s.leases().Delete(ctx, bucket.FileLeaseKey(n.Project, n.SHA256), revision)
	if err != nil && !errors.Is(err, bus.ErrConflict) {
		s.log.InfoContext(ctx, "the lease of a file could not be given back; it ends by itself", "name", n, "error", err)
	}
}

func (s *Service) leases() bus.Bucket { return s.o.Bus.Bucket(bucket.Leases, "file-lease") }

// deleted are the files that a deletion has dealt with.
type deleted struct {
	gone []artifact.File
	// named stay because a record names them, or is about to.
	named int
}

// deleteUnnamed deletes those of some files of one project that no record names but those of a task, which may be the
// zero Key. The records are read when nobody can begin to use the files any more.
func (s *Service) deleteUnnamed(ctx context.Context, project string, files []artifact.File, but events.Key) (d deleted, err error) {
	leased := map[artifact.Name]uint64{}
	defer func() {
		for n, revision := range leased {
			s.giveBack(context.WithoutCancel(ctx), n, revision)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, bucket.DeleteFileTTL/2)
	defer cancel()
	for _, f := range files {
		s.release(ctx, f.Name, but)
		revision, err := s.lease(ctx, f.Name, "", bucket.DeleteFileTTL)
		switch {
		case err == nil:
			leased[f.Name] = revision
		case errors.Is(err, errLeased):
			d.named++
		default:
			return d, err
		}
	}
	if len(leased) == 0 {
		return d, nil
	}
	known := newNames()
	if err := s.o.Bus.ReadProject(ctx, project, func(t events.Task) {
		if t.Key() != but {
			known.add(t)
		}
	}); err != nil {
		return d, err
	}
	for _, f := range files {
		if _, ok := leased[f.Name]; !ok {
			continue
		}
		if known.taskOf(f.Name) != "" || but == (events.Key{}) && known.mayBeStoring(f) {
			d.named++
			continue
		}
		if err := s.o.Store.Delete(ctx, f.Name); err != nil {
			return d, err
		}
		d.gone = append(d.gone, f)
	}
	return d, nil
}
