package quota

import (
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"reelay/events"
	"reelay/events/bucket"
)

// manyProjects is how many projects are known before those are forgotten that do nothing.
const manyProjects = 4_096

// An Intake counts what projects hand in at one submitter. It is safe for concurrent use.
type Intake struct {
	*Quotas

	lock     sync.Mutex
	projects map[string]*project
}

// A project is what one has handed in.
type project struct {
	// waiting are the ids of its tasks that are still to be sent.
	waiting map[string]struct{}
	// requests and bytes are what it may still hand in at a time, which is the latest at which a request of its was stored.
	requests, bytes *rate.Limiter
	at              time.Time
	// seen is when one was taken in.
	seen time.Time
	// rejected counts its rejections since some were dropped.
	rejected int64
}

// NewIntake returns an intake that knows of no task.
func NewIntake(q *Quotas) *Intake { return &Intake{Quotas: q, projects: map[string]*project{}} }

// project returns what is known of one. The lock is held.
func (i *Intake) project(name string) *project {
	p := i.projects[name]
	if p != nil {
		return p
	}
	if len(i.projects) >= manyProjects {
		for name, p := range i.projects {
			if len(p.waiting) == 0 && time.Since(p.seen) > bucket.QuotaBurst*time.Second {
				delete(i.projects, name)
			}
		}
	}
	p = &project{waiting: map[string]struct{}{}, requests: rate.NewLimiter(0, 0), bytes: rate.NewLimiter(0, 0), seen: time.Now()}
	i.projects[name] = p
	return p
}

// Forget forgets all tasks: they are told anew.
func (i *Intake) Forget() {
	i.lock.Lock()
	defer i.lock.Unlock()
	for _, p := range i.projects {
		clear(p.waiting)
	}
}

// See takes in whether a task is still to be sent.
func (i *Intake) See(k events.Key, waits bool) {
	i.lock.Lock()
	defer i.lock.Unlock()
	if waits {
		i.project(k.Project).waiting[k.ID] = struct{}{}
	} else if p := i.projects[k.Project]; p != nil {
		delete(p.waiting, k.ID)
	}
}

// Admit says why a project may not hand in one more request of a size in bytes, which was stored at a time; nil if it
// may. The rates count one that is tried again no second time.
func (i *Intake) Admit(name string, at time.Time, size int, again bool) *events.Error {
	quota := i.Of(name)
	i.lock.Lock()
	defer i.lock.Unlock()
	p := i.project(name)
	if n := int64(len(p.waiting)); n >= quota.Waiting {
		return over(bucket.QuotaWaiting, "project %q has %d tasks that wait, and may have %d", name, n, quota.Waiting)
	}
	if again {
		return nil
	}
	p.seen = time.Now()
	if at.Before(p.at) { // it was taken in out of turn
		at = p.at
	}
	p.at = at
	for _, r := range []struct {
		limiter *rate.Limiter
		name    string
		limit   int64
		n, most int
	}{
		{p.requests, bucket.QuotaRequests, quota.RequestsPerSecond, 1, 1},
		{p.bytes, bucket.QuotaBytes, quota.BytesPerSecond, size, events.MaxRequestBytes},
	} {
		if burst := max(int(r.limit)*bucket.QuotaBurst, r.most); r.limiter.Burst() != burst {
			*r.limiter = *rate.NewLimiter(rate.Limit(r.limit), burst)
		}
		if !r.limiter.AllowN(at, r.n) {
			return over(r.name, "project %q hands in more than its %s, %d; %d seconds' worth may come at once", name, r.name, r.limit,
				bucket.QuotaBurst)
		}
	}
	return nil
}

func over(quota, format string, args ...any) *events.Error {
	return &events.Error{
		Code: events.CodeOverLimit, Kind: events.KindRateLimited, Field: quota, Message: fmt.Sprintf(format, args...),
		Retryable: true, Charge: events.ChargeNone,
	}
}

// Rejected counts a rejection. Now and then it says that of the rejections of the project all but the newest are to be
// dropped, and how many to keep.
func (i *Intake) Rejected(name string) (keep uint64, drop bool) {
	quota := i.Of(name)
	i.lock.Lock()
	defer i.lock.Unlock()
	p := i.project(name)
	if p.rejected++; p.rejected <= quota.Rejections/10 {
		return 0, false
	}
	p.rejected = 0
	return uint64(quota.Rejections), true
}
