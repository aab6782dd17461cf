package dispatch

import (
	"container/heap"
	"math"
	"slices"
	"time"
)

// A Window counts the requests that a provider may still count against a limit per time. A request is counted from
// before it is sent until one window after its answer: the provider has counted it somewhere in between, so whatever
// its own window is, it never sees more than the limit. The zero Window is empty. It is not safe for concurrent use.
type Window[K comparable] struct {
	counted map[K]*countedRequest[K]
	ends    ends[K]
}

// A countedRequest is one request. It is in ends once it is known when it ends.
type countedRequest[K comparable] struct {
	key   K
	until time.Time
	index int // in ends; -1 while the end is not known
}

// Count counts a request until a time, or for the zero time until it is counted anew or freed.
func (w *Window[K]) Count(k K, until time.Time) {
	w.Free(k)
	if w.counted == nil {
		w.counted = map[K]*countedRequest[K]{}
	}
	r := &countedRequest[K]{key: k, until: until, index: -1}
	w.counted[k] = r
	if !until.IsZero() {
		heap.Push(&w.ends, r)
	}
}

// Free no longer counts a request.
func (w *Window[K]) Free(k K) {
	r, ok := w.counted[k]
	if !ok {
		return
	}
	delete(w.counted, k)
	if r.index >= 0 {
		heap.Remove(&w.ends, r.index)
	}
}

// Used returns how many requests are counted now.
func (w *Window[K]) Used(now time.Time) int {
	for len(w.ends) > 0 && !now.Before(w.ends[0].until) {
		delete(w.counted, heap.Pop(&w.ends).(*countedRequest[K]).key)
	}
	return len(w.counted)
}

// Freed returns when n of the requests are no longer counted, from 1; false if that is not known of so many.
func (w *Window[K]) Freed(n int) (time.Time, bool) {
	switch {
	case n > len(w.ends):
		return time.Time{}, false
	case n == 1:
		return w.ends[0].until, true
	}
	var ends []time.Time
	for _, r := range w.ends {
		ends = append(ends, r.until)
	}
	slices.SortFunc(ends, time.Time.Compare)
	return ends[n-1], true
}

// AdmissionTimes are the times at which a window admits further requests.
type AdmissionTimes struct {
	now time.Time
	// ends are when the requests that are counted are no longer, in order.
	ends  []time.Time
	limit int
	each  time.Duration
}

// AdmissionTimes returns when further requests are admitted, of which each is counted for a time and no more than limit
// at once; a limit of 0 admits all at once. It takes O(n log n) for n requests that are counted.
func (w *Window[K]) AdmissionTimes(now time.Time, limit int, each time.Duration) AdmissionTimes {
	t := AdmissionTimes{now: now, limit: limit, each: each}
	if limit <= 0 {
		return t
	}
	w.Used(now)
	for _, r := range w.counted {
		end := r.until
		if r.index < 0 { // it is under way, and answered soon
			end = now.Add(each)
		}
		t.ends = append(t.ends, end)
	}
	slices.SortFunc(t.ends, time.Time.Compare)
	return t
}

// At returns when the n-th request from now is admitted, from 1, if each is sent as soon as it may be.
func (t AdmissionTimes) At(n int) time.Time {
	if t.limit <= 0 {
		return t.now
	}
	rounds := (n - 1) / t.limit // before it so many more times as many as may are sent
	at := t.now
	if over := len(t.ends) + n - rounds*t.limit - t.limit; over > 0 {
		at = t.ends[over-1]
	}
	return at.Add(Times(rounds, t.each))
}

// Times returns n times d, neither below 0, or the longest time there is: a hundred thousand tasks of one a day take
// longer.
func Times(n int, d time.Duration) time.Duration {
	if n > 0 && d > math.MaxInt64/time.Duration(n) {
		return math.MaxInt64
	}
	return time.Duration(n) * d
}

// ends is a heap of requests, those first that end first.
type ends[K comparable] []*countedRequest[K]

// Len is for package heap, as are the next four.
func (h ends[K]) Len() int { return len(h) }

func (h ends[K]) Less(i, j int) bool { return h[i].until.Before(h[j].until) }

func (h ends[K]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *ends[K]) Push(x any) {
	r := x.(*countedRequest[K])
	r.index = len(*h)
	*h = append(*h, r)
}

func (h *ends[K]) Pop() any {
	old := *h
	r := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return r
}
