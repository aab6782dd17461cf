package dispatch

import (
	"sync"

	"reelay/events/bucket"
)

// Pauses is what is known of the pauses that are set for lanes, and of limits that cannot be read, which pause a lane
// as well. It is a cache: before the last byte of a paid request the broker itself is asked. The zero Pauses knows of
// none. It is safe for concurrent use.
type Pauses struct {
	mu    sync.Mutex
	lanes map[string]lanePause
}

// A lanePause is what is set for a lane, or for all.
type lanePause struct {
	bucket.LanePause
	// revision is that of the pause, limits that of the limits, unreadable why those cannot be read.
	revision, limits uint64
	unreadable       error
}

// Put takes in the pause of a lane, or of bucket.AllLanes, and reports whether it was not known. One that is older than
// what is known changes nothing.
func (p *Pauses) Put(lane string, pause bucket.LanePause, revision uint64) (changed bool) {
	p.change(lane, func(of *lanePause) {
		if revision >= of.revision {
			changed = revision > of.revision
			of.LanePause, of.revision = pause, revision
		}
	})
	return changed
}

// Restart has whatever is put next count, however old it seems: the revisions may begin anew.
func (p *Pauses) Restart() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for lane, of := range p.lanes {
		of.revision = 0
		p.lanes[lane] = of
	}
}

// PutLimits takes in why the limits of a lane cannot be read; nil if they can be.
func (p *Pauses) PutLimits(lane string, unreadable error, revision uint64) {
	p.change(lane, func(of *lanePause) { of.unreadable, of.limits = unreadable, revision })
}

func (p *Pauses) change(lane string, change func(*lanePause)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lanes == nil {
		p.lanes = map[string]lanePause{}
	}
	of := p.lanes[lane]
	change(&of)
	p.lanes[lane] = of
}

// Of returns what is set for a lane itself, and its revision.
func (p *Pauses) Of(lane string) (bucket.LanePause, uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	of := p.lanes[lane]
	return of.LanePause, of.revision
}

// Paused returns why a lane is paused, nil if it is not, and the highest revision of the keys that count for it.
func (p *Pauses) Paused(lane string) (paused *bucket.PausedError, version uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, key := range []string{bucket.AllLanes, lane} {
		of := p.lanes[key]
		version = max(version, of.revision, of.limits)
		switch {
		case paused != nil && paused.Pause.Until.IsZero(): // by a person, which hides what ends by itself
		case of.unreadable != nil:
			paused = &bucket.PausedError{
				Key:   bucket.LimitsKey(key),
				Pause: bucket.LanePause{Paused: true, Reason: of.unreadable.Error()},
			}
		case of.Paused:
			paused = &bucket.PausedError{Key: key, Pause: of.LanePause}
		}
	}
	return paused, version
}
