// Package ramp decides how many paid requests of a lane may be under way at once: few at first, more with experience.
package ramp

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// Least is how many tasks may be on their way to the provider at first, and after whatever is no acceptance. Each
	// acceptance adds one, up to a bound that is Most by default, or takes one away where the request had to wait for
	// others to be answered.
	Least = 4
	Most  = 32
	// leastUnanswered is how many requests may have left and be unanswered before there is any experience with the
	// provider, and after one was in doubt: if it falls silent, all of them are in doubt. Later it is unansweredShare of
	// those that were answered, which fade within window.
	leastUnanswered = 4
	unansweredShare = 0.01
	window          = 10 * time.Minute
)

// A Ramp is what one lane may do at once. It is safe for concurrent use.
type Ramp struct {
	// Slots are for tasks on their way to the provider, Unanswered for those of them whose request has left.
	Slots, Unanswered *Places
	most              int

	mu sync.Mutex
	// answers is how many requests were answered of late, as of at.
	answers float64
	at      time.Time
}

// New returns a Ramp without experience, of no more than most slots; Most if that is 0.
func New(most int) *Ramp {
	return &Ramp{Slots: newPlaces(Least), Unanswered: newPlaces(leastUnanswered), most: max(cmp.Or(most, Most), Least)}
}

// Sent takes in whether the provider has accepted a task, and whether its request had to wait for others to be answered.
// It returns how many slots there are by that.
func (r *Ramp) Sent(accepted, waited bool) (slots int) {
	change := 1
	switch {
	case !accepted:
		change = -r.most
	case waited:
		change = -1
	}
	return r.Slots.add(change, r.most)
}

// Answered takes in that a request was answered, or else is in doubt.
func (r *Ramp) Answered(ok bool, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ok {
		faded := max(0, 1-now.Sub(r.at).Seconds()/window.Seconds())
		r.answers, r.at = faded*r.answers+1, now
	} else {
		r.answers = 0
	}
	r.Unanswered.resize(max(leastUnanswered, int(unansweredShare*r.answers)))
}

// Places are a number of places that changes. Whoever waits longest is next.
type Places struct {
	mu            sync.Mutex
	places, taken int
	waiting       []chan struct{} // closed when its place is taken
}

func newPlaces(n int) *Places { return &Places{places: n} }

// Enter waits for a place, and reports whether it had to, or took the last one; ok is false when ctx or stopped ends.
func (p *Places) Enter(ctx, stopped context.Context) (waited, ok bool) {
	p.mu.Lock()
	turn := make(chan struct{})
	p.waiting = append(p.waiting, turn)
	p.admit()
	waited = p.taken >= p.places
	p.mu.Unlock()
	select {
	case <-turn:
		return waited, true
	case <-ctx.Done():
	case <-stopped.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.waiting, turn)
	if i < 0 {
		return waited, true
	}
	p.waiting = slices.Delete(p.waiting, i, i+1)
	return true, false
}

// admit gives the free places to those who wait. The lock is held.
func (p *Places) admit() {
	for p.taken < p.places && len(p.waiting) > 0 {
		close(p.waiting[0])
		p.waiting = p.waiting[1:]
		p.taken++
	}
}

// Leave gives a place back.
func (p *Places) Leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	p.admit()
}

// resize sets the number of places. Those that are taken beyond it are not given again.
func (p *Places) resize(places int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.places = places
	p.admit()
}

// add adds places, and leaves as many as from Least to most.
func (p *Places) add(places, most int) (now int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.places = min(max(p.places+places, Least), most)
	p.admit()
	return p.places
}
