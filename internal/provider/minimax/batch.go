package minimax

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"reelay/internal/provider"
)

const (
	// glanceAge is for how long a list answers looks. It adds that much, at most, to the time until an end is noticed.
	glanceAge = 2 * time.Second
	// glanceSize is how many running tasks one list is asked for; more than an account may have in flight by default.
	glanceSize = 50
	// glancePause is how long no list is tried after one that failed.
	glancePause = time.Minute
)

// A sight is the running tasks of the account as of the last list.
type sight struct {
	mu      sync.Mutex
	asked   time.Time                    // when a look last came by
	read    time.Time                    // when it came
	running map[string]provider.Snapshot // by id
	failed  time.Time                    // when a list failed last
	// reading is closed when the list that is being read has come, or has not; nil while none is.
	reading chan struct{}
}

// PollBatched answers a look from a list of the running tasks, by which one call serves all looks of two seconds. It knows only tasks of
// V2 that run, as of a list that came at most two seconds ago; ok is false for all others, for ended ones, where no other look came
// within two seconds, and where the list fails: then Poll tells. So a PollBatched never says that a task has ended.
func (d *Driver) PollBatched(ctx context.Context, ref json.RawMessage) (snap provider.Snapshot, ok bool) {
	g, id, err := d.readRef(ref)
	if err != nil || g != (v2{}) {
		return snap, false
	}
	for {
		running, wait, mine := d.sight.enter(time.Now())
		switch {
		case running != nil:
			snap, ok = running[id]
			return snap, ok
		case wait == nil:
			return snap, false
		case mine:
			running, err := d.running(ctx)
			d.sight.leave(time.Now(), running, err != nil && ctx.Err() == nil)
			snap, ok = running[id]
			return snap, ok
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return snap, false
		}
	}
}

// enter returns the list if it is young enough; else what to wait for, and whether it is for the caller to read it. It returns neither
// where a list is not worth its call.
func (s *sight) enter(now time.Time) (running map[string]provider.Snapshot, wait chan struct{}, mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	alone := now.Sub(s.asked) >= glanceAge
	s.asked = now
	switch {
	case s.running != nil && now.Sub(s.read) < glanceAge:
		return s.running, nil, false
	case s.reading != nil:
		return nil, s.reading, false
	case alone || now.Sub(s.failed) < glancePause:
		return nil, nil, false
	}
	s.reading = make(chan struct{})
	return nil, s.reading, true
}

// leave takes in the list that has come now, nil for none.
func (s *sight) leave(now time.Time, running map[string]provider.Snapshot, failed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read, s.running = now, running
	if failed {
		s.failed = now
	}
	close(s.reading)
	s.reading = nil
}

// running lists the running tasks of the account, the newest glanceSize of them.
func (d *Driver) running(ctx context.Context) (map[string]provider.Snapshot, error) {
	r, err := d.call(ctx, http.MethodGet, v2QueryPath, url.Values{
		"page_num": {"1"}, "page_size": {strconv.Itoa(glanceSize)}, "filter.status": {"running"},
	})
	if err != nil {
		return nil, err
	}
	var a struct {
		Items []v2Task `json:"items"`
		Total *int     `json:"total"`
	}
	if json.Unmarshal(r.Body, &a) != nil || r.Status != http.StatusOK || a.Total == nil {
		return nil, d.lookError(v2Saying(r.Body), r)
	}
	all := map[string]provider.Snapshot{}
	for _, item := range a.Items {
		if snap := d.snapshot(item.Status); item.ID.isID() && snap.State == provider.Running {
			all[string(item.ID)] = snap
		}
	}
	return all, nil
}
