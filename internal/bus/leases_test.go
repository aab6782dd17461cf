package bus_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/failpoint"
)

// A log of who leads, and the lead to be given up by release.
type terms struct {
	mu    sync.Mutex
	story []string
}

func (s *terms) add(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.story = append(s.story, text)
}

func (s *terms) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.story, " ")
}

// lead runs Lead until stop is called. It fails the test if two lead at once.
func (b *fixture) lead(on *bus.Bus, name string, s *terms, leading *int) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		on.Lead(ctx, "fal", name, 0, func(ctx context.Context, l *bus.Lease) {
			s.add("+" + name)
			s.mu.Lock()
			if *leading++; *leading > 1 {
				b.Errorf("%d lead at once", *leading)
			}
			s.mu.Unlock()
			<-ctx.Done()
			s.mu.Lock()
			*leading--
			s.mu.Unlock()
			s.add("-" + name)
		})
	}()
	return func() { cancel(); <-done }
}

// TestLead: one leads at a time, and another within seconds of its end, whatever that is.
func TestLead(t *testing.T) {
	rows := []struct {
		name string
		// faults are those of the writes of the first, after a minute.
		faults failpoint.Outcome
		stop   bool
		// ends is how soon the first has counted itself out, next how soon the second leads.
		ends, next time.Duration
	}{
		{"stopped", failpoint.Outcome{}, true, 0, 2 * time.Second},
		{"renewals are lost", failpoint.Outcome{Lose: true}, false, 4 * time.Second, 8 * time.Second},
		{"renewals stand still", failpoint.Outcome{Pause: time.Hour}, false, 4 * time.Second, 8 * time.Second},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			bubble(t, func(b *fixture) {
				var faulty atomic.Pointer[failpoint.Outcome]
				faulty.Store(&failpoint.Outcome{})
				plan := func(string) failpoint.Outcome { return *faulty.Load() }
				first := b.Open(bus.Options{Faults: plan})
				second := b.Open(bus.Options{})
				var s terms
				var leading int
				stopFirst := b.lead(first, "first", &s, &leading)
				time.Sleep(time.Second)
				stopSecond := b.lead(second, "second", &s, &leading)
				time.Sleep(10 * time.Minute)
				if s.String() != "+first" {
					b.Fatalf("%s", &s)
				}
				faulty.Store(&row.faults)
				if row.stop {
					stopFirst()
				}
				time.Sleep(row.ends + time.Millisecond)
				if !strings.HasPrefix(s.String(), "+first -first") {
					b.Errorf("it still thinks that it leads: %s", &s)
				}
				time.Sleep(row.next - row.ends)
				if s.String() != "+first -first +second" {
					b.Errorf("after %v: %s", row.next, &s)
				}
				h, err := second.LaneHolder(b.Context(), "fal")
				if b.OK(err); h.Name != "second" || time.Since(h.Since) > time.Minute {
					b.Errorf("the holder is %+v", h)
				}
				faulty.Store(&failpoint.Outcome{})
				stopFirst()
				stopSecond()
				if h, err := second.LaneHolder(b.Context(), "fal"); err != nil || h.Name != "" {
					b.Errorf("after all have stopped: %+v, %v", h, err)
				}
			})
		})
	}
}

// TestLeadKeepsWhatItHas: an answer that is lost now and then ends no lease, and takes none away from whoever has it.
func TestLeadKeepsWhatItHas(t *testing.T) {
	bubble(t, func(b *fixture) {
		var n atomic.Int64
		plan := func(point string) failpoint.Outcome {
			return failpoint.Outcome{LoseAnswer: point == "lease" && n.Add(1)%3 == 1}
		}
		on := b.Open(bus.Options{Faults: plan})
		var s terms
		var leading int
		defer b.lead(on, "first", &s, &leading)()
		time.Sleep(time.Second)
		defer b.lead(b.Open(bus.Options{}), "second", &s, &leading)()
		time.Sleep(time.Hour)
		if s.String() != "+first" {
			b.Errorf("%s", &s)
		}
		if n := n.Load(); n < 1_000 {
			b.Errorf("%d renewals in an hour", n)
		}
	})
}

// TestMemory: what a holder remembers is there for the next one; who has lost the lease remembers nothing.
func TestMemory(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		var got string
		b.OK(on.Recall(b.Context(), "fal", &got))
		if got != "" {
			b.Errorf("recalled %q", got)
		}
		ctx, cancel := context.WithCancel(context.Background())
		on.Lead(ctx, "fal", "first", 0, func(ctx context.Context, l *bus.Lease) {
			b.OK(l.Remember(ctx, "20 a minute"))
			cancel()
			time.Sleep(time.Hour) // while it ends the lease is renewed
			b.OK(l.Remember(context.Background(), "30 a minute"))
			on.Conn().Close()
			time.Sleep(10 * time.Second)
			if err := l.Remember(context.Background(), "40 a minute"); !errors.Is(err, bus.ErrLeaseLost) {
				b.Errorf("after its end: %v", err)
			}
		})
		b.OK(b.Open(bus.Options{}).Recall(b.Context(), "fal", &got))
		if got != "30 a minute" {
			b.Errorf("recalled %q", got)
		}
	})
}

// TestSetLane: a switch is set only if nobody else has set it meanwhile.
func TestSetLane(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		kv := b.switches()
		revision, err := on.SetLane(b.Context(), "fal", events.LanePause{Paused: true, Until: time.Now().Add(time.Hour)}, 0)
		b.OK(err)
		if err := on.CheckLane(b.Context(), "fal"); !errors.Is(err, events.ErrPaused) {
			b.Errorf("paused until later: %v", err)
		}
		time.Sleep(time.Hour)
		b.OK(on.CheckLane(b.Context(), "fal")) // one may be sent to see
		later, err := kv.PutString(b.Context(), "fal", `{"paused":true}`)
		b.OK(err)
		for _, known := range []uint64{0, revision} {
			if _, err := on.SetLane(b.Context(), "fal", events.LanePause{}, known); !errors.Is(err, bus.ErrConflict) {
				b.Errorf("over another's: %v", err)
			}
		}
		_, err = on.SetLane(b.Context(), "fal", events.LanePause{}, later)
		b.OK(err)
		b.OK(on.CheckLane(b.Context(), "fal"))
	})
}

// TestLastChange is the revision of the newest record, whatever else the stream holds.
func TestLastChange(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		want := func(revision uint64) {
			b.Helper()
			if got, err := on.LastChange(b.Context()); err != nil || got != revision {
				b.Errorf("%d, %v, want %d", got, err, revision)
			}
		}
		want(0)
		first, err := on.Put(b.Context(), bus.Put{Task: record("first"), Heartbeat: time.Second})
		b.OK(err)
		want(first)
		time.Sleep(time.Minute) // heartbeats are no changes
		want(first)
		other := record("other")
		other.ID = "t2"
		second, err := on.Put(b.Context(), bus.Put{Task: other})
		b.OK(err)
		want(second)
		on.Conn().Close()
		if _, err := on.LastChange(b.Context()); err == nil {
			b.Error("no error without a broker")
		}
	})
}

// TestForeignLease: a lease that no process can have written is taken by nobody, and said aloud.
func TestForeignLease(t *testing.T) {
	bubble(t, func(b *fixture) {
		var told strings.Builder
		on := b.Open(bus.Options{Log: slog.New(slog.NewTextHandler(&told, nil))})
		kv, err := on.JetStream().KeyValue(b.Context(), events.LeaseBucket)
		b.OK(err)
		_, err = kv.PutString(b.Context(), "fal", "nonsense")
		b.OK(err)
		var s terms
		var leading int
		stop := b.lead(on, "first", &s, &leading)
		time.Sleep(time.Minute)
		if s.String() != "" {
			b.Errorf("%s", &s)
		}
		b.OK(kv.Delete(b.Context(), "fal"))
		time.Sleep(2 * time.Second)
		if s.String() != "+first" {
			b.Errorf("after it was deleted: %s", &s)
		}
		stop()
		if !strings.Contains(told.String(), bus.ErrUnreadable.Error()) {
			b.Errorf("told: %s", &told)
		}
	})
}
