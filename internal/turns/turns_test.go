package turns

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"reelay/internal/bus"
)

// queue is a line in memory, and what was taken in of it.
type queue struct {
	mu       sync.Mutex
	created  time.Time
	messages []bus.Message // in order; those that are acknowledged are taken out
	projects map[uint64]string
	last     uint64
	broken   bool

	taken map[uint64]int
	fails map[uint64]int // how often a message cannot be taken in
}

func newQueue() *queue {
	q := &queue{}
	q.anew()
	return q
}

// anew removes the queue and makes another.
func (q *queue) anew() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.created, q.messages, q.last = time.Now(), nil, 0
	q.projects, q.taken, q.fails = map[uint64]string{}, map[uint64]int{}, map[uint64]int{}
}

func (q *queue) add(project string, n int) (last uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for range n {
		q.last++
		q.messages = append(q.messages, bus.Message{Sequence: q.last, Time: time.Now()})
		q.projects[q.last] = project
	}
	return q.last
}

func (q *queue) Count(_ context.Context, long uint64) (Count, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.broken {
		return Count{}, errors.New("no leader")
	}
	l := Count{
		Created: q.created, Last: q.last, Messages: uint64(len(q.messages)), First: q.last + 1, Waiting: map[string]uint64{},
	}
	for i, m := range q.messages {
		if i == 0 {
			l.First = m.Sequence
		}
		if l.Messages >= long {
			l.Waiting[q.projects[m.Sequence]]++
		}
	}
	return l, nil
}

func (q *queue) NextRequest(_ context.Context, project string, from uint64) (bus.Message, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, m := range q.messages {
		if m.Sequence >= from && q.projects[m.Sequence] == project {
			return m, nil
		}
	}
	return bus.Message{}, nil
}

func (q *queue) take(_ context.Context, m bus.Message) bus.Outcome {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.taken[m.Sequence]++
	if q.fails[m.Sequence] > 0 {
		q.fails[m.Sequence]--
		return bus.RetryAfter(time.Minute)
	}
	return bus.Done()
}

// fail says whether the queue can be counted.
func (q *queue) fail(broken bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.broken = broken
}

// times returns how often a message was taken in.
func (q *queue) times(sequence uint64) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.taken[sequence]
}

// wait lets a time go by, and all that it brings.
func wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// run runs f beside the turns of a consumer of at most 4.
func run(t *testing.T, q *queue, f func(turns *Turns)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		turns := New(q, 4, q.take, slog.New(slog.DiscardHandler))
		ended := make(chan error, 1)
		go func() { ended <- turns.Run(ctx) }()
		f(turns)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestWhose: nobody has a turn in a short line, nor alone in a long one; else all, those first who had none for longest.
func TestWhose(t *testing.T) {
	for name, row := range map[string]struct {
		waiting map[string]uint64
		want    []string
	}{
		"nobody":    {nil, nil},
		"alone":     {map[string]uint64{"a": 1000}, nil},
		"long line": {map[string]uint64{"a": 1000, "b": 3, "c": 1}, []string{"c", "b", "a"}},
	} {
		turns := New(nil, 4, nil, nil)
		if got := turns.whose(Count{Waiting: row.waiting, Delivered: 7}); !slices.Equal(got, row.want) {
			t.Errorf("%s: %v, want %v", name, got, row.want)
		}
		if p := turns.places["a"]; p != nil && p.next != 8 {
			t.Errorf("%s: the burst is taken in from %d on, which the consumer has in hand", name, p.next)
		}
		if p := turns.begin("c"); p != nil {
			turns.end(p)
			if got := turns.whose(Count{Waiting: row.waiting}); got[2] != "c" {
				t.Errorf("%s: %v after c had a turn", name, got)
			}
		}
	}
}

// TestSlowHandlers: whoever comes while all that the consumer may have in hand takes for ever has a turn.
func TestSlowHandlers(t *testing.T) {
	q := newQueue()
	q.add("a", 1000)
	run(t, q, func(turns *Turns) {
		turns.Handle(t.Context(), bus.Message{})
		wait(time.Minute)
		for range 3 {
			last := q.add("b", 1)
			wait(time.Second)
			if q.times(last) != 1 {
				t.Errorf("request %d was taken in %d times", last, q.times(last))
			}
		}
	})
}

// TestTrouble: what fails for some seconds is taken in at a turn all the same, and holds nobody up; a line that cannot be
// counted for a while changes nothing.
func TestTrouble(t *testing.T) {
	q := newQueue()
	q.add("a", 1000)
	bad := q.add("b", 1)
	ghost := q.add("b", 1)
	good := q.add("b", 1)
	q.fails[bad], q.fails[ghost] = tries-1, 1000
	run(t, q, func(turns *Turns) {
		turns.Handle(t.Context(), bus.Message{})
		wait(time.Second)
		if q.times(good) != 1 || q.times(bad) == 0 {
			t.Error("held up")
		}
		q.fail(true)
		wait(time.Minute)
		q.fail(false)
		wait(time.Minute)
		if q.times(bad) != tries || q.times(good) != 1 || q.times(ghost) != tries {
			t.Errorf("tried %d, %d and %d times", q.times(bad), q.times(good), q.times(ghost))
		}
	})
}

// TestDone: what was taken in at a turn is done when the consumer comes upon it. Another message that has its number in
// a stream that was made anew is not.
func TestDone(t *testing.T) {
	q := newQueue()
	q.add("a", 1000)
	last := q.add("b", 1)
	run(t, q, func(turns *Turns) {
		turns.Handle(t.Context(), bus.Message{})
		wait(time.Second)
		old, _ := q.NextRequest(t.Context(), "b", 1)
		for range 2 {
			if turns.Handle(t.Context(), old) != bus.Done() || q.times(last) != 1 {
				t.Fatalf("taken in %d times", q.times(last))
			}
		}
		q.anew()
		q.add("a", 1000)
		q.add("b", 1)
		again, _ := q.NextRequest(t.Context(), "b", 1)
		if turns.Handle(t.Context(), again) != bus.Done() || q.times(last) != 1 {
			t.Errorf("the new request of that number was taken in %d times", q.times(last))
		}
		wait(time.Second)
		turns.Handle(t.Context(), old)
		if q.times(last) == 1 {
			t.Error("what was done before the stream was put back is still done")
		}
		last = q.add("b", 1)
		wait(time.Second)
		if q.times(last) != 1 {
			t.Error("turns go on behind a place in the former stream")
		}
	})
}
