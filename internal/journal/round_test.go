package journal_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"reelay/internal/journal"
)

// TestManyWriters: what many write at once is there after a restart, each line of each, though they share their syncs
// and the journal is rewritten under way.
func TestManyWriters(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, nil)
	body := strings.Repeat("x", 100<<10) // so that it grows enough to be rewritten
	const writers, each = 16, 10
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := range each {
				owner := fmt.Sprintf("w%d-%d", w, n)
				err := j.Begin(journal.Entry{Owner: owner, Project: "demo", TaskID: owner, Attempt: 1, At: time.Now()})
				if err == nil {
					err = j.Gate(owner)
				}
				if err == nil {
					err = j.Answer(owner, journal.Answer{Outcome: "accepted", ID: owner, Body: body})
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	answered := 0
	for _, e := range open(t, dir, nil).Pending() {
		if e.Gated && e.Answer != nil && e.Answer.ID == e.Owner {
			answered++
		}
	}
	if answered != writers*each {
		t.Errorf("%d answers are there, want %d", answered, writers*each)
	}
}

// BenchmarkWriters is how long one of many writers waits for its line.
func BenchmarkWriters(b *testing.B) {
	j := open(b, b.TempDir(), nil)
	var n atomic.Int64
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			owner := fmt.Sprint(n.Add(1))
			must(b, j.Begin(journal.Entry{Owner: owner, Project: "demo", TaskID: owner, Attempt: 1, At: time.Now()}))
		}
	})
}
