package archiver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"reelay/internal/artifact"
)

// errProjectFull says that a project has as many bytes in the store as it may.
var errProjectFull = errors.New("the project has as many bytes stored as it may")

// usageAge is how long it is before the files of a project are counted anew. What other archivers store meanwhile may
// pass the bound.
const usageAge = 5 * time.Minute

// usage counts the stored bytes of the projects that have a bound.
type usage struct {
	store *artifact.Store
	max   PerProject[int64]

	mu sync.Mutex
	by map[string]*projectUsage
}

type projectUsage struct {
	bytes   int64
	counted time.Time
}

// take counts bytes that are about to be stored for a project; undo takes them back. It fails with errProjectFull.
func (u *usage) take(ctx context.Context, project string, bytes int64) (undo func(), err error) {
	limit := u.max.Of(project)
	if limit == 0 {
		return func() {}, nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	p := u.by[project]
	if p == nil || time.Since(p.counted) > usageAge {
		p = &projectUsage{counted: time.Now()}
		if err := u.store.List(ctx, project, func(f artifact.File) error {
			p.bytes += f.Size
			return nil
		}); err != nil {
			return nil, err
		}
		u.by[project] = p
	}
	if p.bytes+bytes > limit {
		return nil, fmt.Errorf("%w: %d bytes, and %d more would pass the limit of %d of project %s", errProjectFull, p.bytes, bytes,
			limit, project)
	}
	p.bytes += bytes
	return func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		p.bytes -= bytes
	}, nil
}

// forget has the files of a project counted anew.
func (u *usage) forget(project string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.by, project)
}
