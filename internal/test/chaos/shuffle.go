//go:build unix

package chaos

import (
	"math/rand/v2"
	"sync"
	"time"
)

// A shuffleBag hands out its items in random order, all of them before any comes again, so that a short run meets rare
// ones too. It is safe for concurrent use.
type shuffleBag[T any] struct {
	mu    sync.Mutex
	rng   *rand.Rand
	items []T
	left  []T
}

// newShuffleBag returns a bag whose order depends on the seed and its own number only, whatever is drawn elsewhere.
func newShuffleBag[T any](seed, number uint64, items []T) *shuffleBag[T] {
	return &shuffleBag[T]{rng: rand.New(rand.NewPCG(seed, number)), items: items}
}

func (d *shuffleBag[T]) draw() T {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.left) == 0 {
		d.left = append(d.left, d.items...)
		d.rng.Shuffle(len(d.left), func(i, j int) { d.left[i], d.left[j] = d.left[j], d.left[i] })
	}
	item := d.left[len(d.left)-1]
	d.left = d.left[:len(d.left)-1]
	return item
}

// repeat returns item n times.
func repeat[T any](n int, item T) []T {
	all := make([]T, n)
	for i := range all {
		all[i] = item
	}
	return all
}

// between returns a random duration of at least low and below high.
func between(rng *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(rng.Int64N(int64(high-low)))
}
