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
	// batchAge is how long a list answers polls. It adds at most that much to the time until an end is detected.
	batchAge = 2 * time.Second
	// batchSize is how many running tasks one list is asked for; more than an account may have in flight by default.
	batchSize = 50
	// batchPause is the time without lists after one that failed.
	batchPause = time.Minute
)

// A runningBatch holds the running tasks of the account as of the last list.
type runningBatch struct {
	mu       sync.Mutex
	askedAt  time.Time                    // time of the last poll
	readAt   time.Time                    // time of the list
	running  map[string]provider.Snapshot // by id
	failedAt time.Time                    // time of the last list that failed
	// reading is closed when the list that is being read has arrived or failed; nil while none is read.
	reading chan struct{}
}

// PollBatched polls a task from a list of the running tasks, so that one call serves all polls of two seconds. It
// knows only running tasks of V2, as of a list at most two seconds old; ok is false for all others, for ended ones,
// where no other poll came within two seconds, and where the list fails: those need Poll. So PollBatched never
// reports an end.
func (d *Driver) PollBatched(ctx context.Context, ref json.RawMessage) (snap provider.Snapshot, ok bool) {
	g, id, err := d.readRef(ref)
	if err != nil || g != (v2{}) {
		return snap, false
	}
	for {
		running, wait, mine := d.batch.acquire(time.Now())
		switch {
		case running != nil:
			snap, ok = running[id]
			return snap, ok
		case wait == nil:
			return snap, false
		case mine:
			running, err := d.listRunning(ctx)
			d.batch.release(time.Now(), running, err != nil && ctx.Err() == nil)
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

// acquire returns the list if it is young enough; else a channel to wait for, and whether the caller has to read the
// list. It returns neither where a list is not worth its call.
func (s *runningBatch) acquire(now time.Time) (running map[string]provider.Snapshot, wait chan struct{}, mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	alone := now.Sub(s.askedAt) >= batchAge
	s.askedAt = now
	switch {
	case s.running != nil && now.Sub(s.readAt) < batchAge:
		return s.running, nil, false
	case s.reading != nil:
		return nil, s.reading, false
	case alone || now.Sub(s.failedAt) < batchPause:
		return nil, nil, false
	}
	s.reading = make(chan struct{})
	return nil, s.reading, true
}

// release stores a list that was just read, nil for none, and wakes the polls that wait for it.
func (s *runningBatch) release(now time.Time, running map[string]provider.Snapshot, failed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readAt, s.running = now, running
	if failed {
		s.failedAt = now
	}
	close(s.reading)
	s.reading = nil
}

// listRunning lists the running tasks of the account, the newest batchSize of them.
func (d *Driver) listRunning(ctx context.Context) (map[string]provider.Snapshot, error) {
	r, err := d.call(ctx, http.MethodGet, v2QueryPath, url.Values{
		"page_num": {"1"}, "page_size": {strconv.Itoa(batchSize)}, "filter.status": {"running"},
	})
	if err != nil {
		return nil, err
	}
	var a struct {
		Items []v2Task `json:"items"`
		Total *int     `json:"total"`
	}
	if json.Unmarshal(r.Body, &a) != nil || r.Status != http.StatusOK || a.Total == nil {
		return nil, d.callError(readEnvelope(r.Body), r)
	}
	all := map[string]provider.Snapshot{}
	for _, item := range a.Items {
		if snap := d.snapshot(item.Status); item.ID.isID() && snap.State == provider.Running {
			all[string(item.ID)] = snap
		}
	}
	return all, nil
}
