//go:build unix

package chaos

import (
	"math/rand/v2"
	"sync"
	"time"
)

// A deck hands out its cards in random order, all of them before any comes again: what is rare is still met in a short run.
// It is safe for concurrent use.
type deck[T any] struct {
	mu    sync.Mutex
	rng   *rand.Rand
	cards []T
	left  []T
}

// newDeck returns a deck whose order depends on the seed and its own number only, whatever is drawn elsewhere.
func newDeck[T any](seed, number uint64, cards []T) *deck[T] {
	return &deck[T]{rng: rand.New(rand.NewPCG(seed, number)), cards: cards}
}

func (d *deck[T]) draw() T {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.left) == 0 {
		d.left = append(d.left, d.cards...)
		d.rng.Shuffle(len(d.left), func(i, j int) { d.left[i], d.left[j] = d.left[j], d.left[i] })
	}
	card := d.left[len(d.left)-1]
	d.left = d.left[:len(d.left)-1]
	return card
}

// repeat returns n times card.
func repeat[T any](n int, card T) []T {
	all := make([]T, n)
	for i := range all {
		all[i] = card
	}
	return all
}

// between returns a random duration of at least low and below high.
func between(rng *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(rng.Int64N(int64(high-low)))
}
