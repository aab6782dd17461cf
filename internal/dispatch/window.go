package dispatch

import (
	"container/heap"
	"math"
	"slices"
	"time"
)

// A Window counts the requests that a provider may still count against a limit per time. A request is counted from before it is
// sent until one window after its answer: the provider has counted it somewhere in between, so whatever its own window is, it
// never sees more than the limit. The zero Window is empty. It is not safe for concurrent use.
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

// Hold counts a request until a time, or for the zero time until it is held anew or freed.
func (w *Window[K]) Hold(k K, until time.Time) {
	w.Free(k)
	if w.counted == nil {
		w.counted = map[K]*countedRequest[K]{}
	}
	s := &countedRequest[K]{key: k, until: until, index: -1}
	w.counted[k] = s
	if !until.IsZero() {
		heap.Push(&w.ends, s)
	}
}

// Free no longer counts a request.
func (w *Window[K]) Free(k K) {
	s, ok := w.counted[k]
	if !ok {
		return
	}
	delete(w.counted, k)
	if s.index >= 0 {
		heap.Remove(&w.ends, s.index)
	}
}

// Used returns how many requests are counted now.
func (w *Window[K]) Used(now time.Time) int {
	for len(w.ends) > 0 && !now.Before(w.ends[0].until) {
		delete(w.counted, heap.Pop(&w.ends).(*countedRequest[K]).key)
	}
	return len(w.counted)
}

// Next returns when the next request is no longer counted; false if that is known of none.
func (w *Window[K]) Next() (time.Time, bool) {
	if len(w.ends) == 0 {
		return time.Time{}, false
	}
	return w.ends[0].until, true
}

// Turns are the times at which a window lets further requests through.
type Turns struct {
	now time.Time
	// ends are when the requests that are counted are no longer, in order.
	ends  []time.Time
	limit int
	each  time.Duration
}

// Turns returns when further requests are let through, of which each is counted for a time and no more than limit at once; a limit of
// 0 lets all through at once. It takes O(n log n) for n requests that are counted.
func (w *Window[K]) Turns(now time.Time, limit int, each time.Duration) Turns {
	t := Turns{now: now, limit: limit, each: each}
	if limit <= 0 {
		return t
	}
	w.Used(now)
	for _, s := range w.counted {
		end := s.until
		if s.index < 0 { // on its way: it is answered soon
			end = now.Add(each)
		}
		t.ends = append(t.ends, end)
	}
	slices.SortFunc(t.ends, time.Time.Compare)
	return t
}

// At returns when the n-th request from now is let through, from 1, if each is sent as soon as it may be.
func (t Turns) At(n int) time.Time {
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

// Times returns n times d, neither below 0, or the longest time there is: a hundred thousand tasks of one a day take longer.
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
	s := x.(*countedRequest[K])
	s.index = len(*h)
	*h = append(*h, s)
}

func (h *ends[K]) Pop() any {
	old := *h
	s := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return s
}
