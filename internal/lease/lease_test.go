package lease_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"reelay/events/bucket"
	"reelay/internal/bus"
	"reelay/internal/failpoint"
	"reelay/internal/lease"
	"reelay/internal/test/broker"
)

func TestMain(m *testing.M) { broker.Main(m) }

// A fixture is a real broker within a bubble, so that hours of its time take milliseconds.
type fixture struct{ *broker.Broker }

func bubble(t *testing.T, f func(b *fixture)) {
	t.Helper()
	broker.Run(t, func(b *broker.Broker) { f(&fixture{b}) })
}

// terms is a log of who leads, and when that ended.
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
		lease.Candidate{Bus: on, Log: b.Logger, Name: name}.Lead(ctx, "fal", func(ctx context.Context, _ *lease.Lease) {
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
				h, err := lease.Holder(b.Context(), second, "fal")
				if b.OK(err); h.Name != "second" || time.Since(h.Since) > time.Minute {
					b.Errorf("the holder is %+v", h)
				}
				faulty.Store(&failpoint.Outcome{})
				stopFirst()
				stopSecond()
				if h, err := lease.Holder(b.Context(), second, "fal"); err != nil || h.Name != "" {
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

// TestHandOver: what a holder stores is there for the next one; who has lost the lease stores nothing.
func TestHandOver(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		got, err := lease.HandOver(b.Context(), on, "fal")
		if b.OK(err); got.Version != 0 {
			b.Errorf("before anything is stored: %+v", got)
		}
		ctx, cancel := context.WithCancel(context.Background())
		lease.Candidate{Bus: on, Log: b.Logger, Name: "first"}.Lead(ctx, "fal", func(ctx context.Context, l *lease.Lease) {
			b.OK(l.HandOver(ctx, bucket.HandOver{Version: 20}))
			cancel()
			time.Sleep(time.Hour) // while it ends the lease is renewed
			b.OK(l.HandOver(context.Background(), bucket.HandOver{Version: 30}))
			on.Conn().Close()
			time.Sleep(10 * time.Second)
			if err := l.HandOver(context.Background(), bucket.HandOver{Version: 40}); !errors.Is(err, lease.ErrLost) {
				b.Errorf("after its end: %v", err)
			}
		})
		got, err = lease.HandOver(b.Context(), b.Open(bus.Options{}), "fal")
		if b.OK(err); got.Version != 30 {
			b.Errorf("handed over: %+v", got)
		}
	})
}

// TestFreeLease: a lease that no process can end is nobody's: what cannot be read and what outlives its time,
// once it was seen unchanged for so long. A marker is no lease.
func TestFreeLease(t *testing.T) {
	const soon, ttl = 2 * time.Second, bucket.LeaseTTL + 2*time.Second
	rows := []struct {
		name, value string
		within      time.Duration
		text        string
	}{
		{"unreadable", "nonsense", bucket.LeaseTTL + soon, "could not be read"},
		{"without a lifetime", `{"holder":"gone"}`, ttl, "outlived its time"},
		{"without a lifetime, as its own says", `{"holder":"gone","ttl":"20s"}`, 22 * time.Second, "outlived its time"},
		{"deleted", "delete", soon, ""},
		{"purged", "purge", soon, ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			bubble(t, func(b *fixture) {
				var told strings.Builder
				on := b.Open(bus.Options{})
				kv, err := on.JetStream().KeyValue(b.Context(), bucket.Leases)
				b.OK(err)
				_, err = kv.PutString(b.Context(), "fal", row.value)
				b.OK(err)
				switch row.value {
				case "delete":
					b.OK(kv.Delete(b.Context(), "fal"))
				case "purge":
					b.OK(kv.Purge(b.Context(), "fal"))
				}
				b.Logger = slog.New(slog.NewTextHandler(&told, nil))
				var s terms
				var leading int
				stop := b.lead(on, "first", &s, &leading)
				time.Sleep(row.within - soon)
				if row.within > soon && s.String() != "" {
					b.Errorf("before its time: %s", &s)
				}
				time.Sleep(soon)
				if s.String() != "+first" {
					b.Errorf("after %v: %s", row.within, &s)
				}
				stop()
				if !strings.Contains(told.String(), row.text) {
					b.Errorf("told: %s", &told)
				}
			})
		})
	}
}

// TestSlowLink: a link on which each answer takes longer than a renewal used to be waited for ends no term, once that is
// known.
func TestSlowLink(t *testing.T) {
	bubble(t, func(b *fixture) {
		plan := func(point string) failpoint.Outcome {
			if point == "lease" {
				return failpoint.Outcome{Pause: 1300 * time.Millisecond}
			}
			return failpoint.Outcome{}
		}
		var s terms
		var leading int
		defer b.lead(b.Open(bus.Options{Faults: plan}), "first", &s, &leading)()
		time.Sleep(time.Minute)
		before := s.String()
		time.Sleep(time.Hour)
		if !strings.HasSuffix(before, "+first") || s.String() != before {
			b.Errorf("%s, and then %.100s", before, &s)
		}
	})
}

// TestWanted: a holder knows of another that waits for the lease, and of none that has died; one that has resigned asks
// nobody to for a while.
func TestWanted(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		var first, second atomic.Pointer[lease.Lease]
		run := func(name string, held *atomic.Pointer[lease.Lease]) (stop func()) {
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan struct{})
			go func() {
				defer close(done)
				lease.Candidate{Bus: on, Log: b.Logger, Name: name}.Lead(ctx, "fal", func(ctx context.Context, l *lease.Lease) {
					held.Store(l)
					<-ctx.Done()
				})
			}()
			return func() { cancel(); <-done }
		}
		wanted := func(held *atomic.Pointer[lease.Lease], want bool, when string) {
			b.Helper()
			if held.Load() == nil || held.Load().Wanted(b.Context()) != want {
				b.Errorf("%s: not %v", when, want)
			}
		}
		defer run("first", &first)()
		time.Sleep(10 * time.Second)
		wanted(&first, false, "alone")
		stop := run("second", &second)
		time.Sleep(5 * time.Second)
		wanted(&first, true, "with a second")
		time.Sleep(time.Minute)
		wanted(&first, true, "a minute later")
		first.Load().Resign(10 * time.Second)
		time.Sleep(time.Minute)
		wanted(&second, false, "after the first has resigned")
		time.Sleep(time.Minute)
		wanted(&second, true, "after its silence")
		stop()
		time.Sleep(20 * time.Second)
		wanted(&first, false, "after the second has ended")
	})
}

// TestResignTooLate: who has lost the lease has none to resign, and asks for it again at once.
func TestResignTooLate(t *testing.T) {
	bubble(t, func(b *fixture) {
		var lose atomic.Bool
		on := b.Open(bus.Options{Faults: func(string) failpoint.Outcome { return failpoint.Outcome{Lose: lose.Load()} }})
		var terms atomic.Int32
		var lost atomic.Pointer[lease.Lease]
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			lease.Candidate{Bus: on, Log: b.Logger, Name: "first"}.Lead(ctx, "fal", func(ctx context.Context, l *lease.Lease) {
				terms.Add(1)
				<-ctx.Done()
				if lost.CompareAndSwap(nil, l) {
					go l.Resign(time.Hour) // by a request that is still under way
				}
			})
		}()
		defer func() { cancel(); <-done }()
		time.Sleep(10 * time.Second)
		lose.Store(true)
		time.Sleep(10 * time.Second)
		lose.Store(false)
		time.Sleep(time.Minute)
		if n := terms.Load(); n != 2 || lost.Load().Resigned() {
			b.Errorf("%d terms, resigned %v", n, lost.Load().Resigned())
		}
	})
}

// TestResign: who resigns is followed at once by another, and by itself where there is none.
func TestResign(t *testing.T) {
	for _, others := range []bool{true, false} {
		bubble(t, func(b *fixture) {
			on := b.Open(bus.Options{})
			var s terms
			var leading int
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan struct{})
			go func() {
				defer close(done)
				lease.Candidate{Bus: on, Log: b.Logger, Name: "first"}.Lead(ctx, "fal", func(ctx context.Context, l *lease.Lease) {
					s.add("+first")
					if time.AfterFunc(time.Minute, func() { l.Resign(20 * time.Second) }); ctx.Err() == nil {
						<-ctx.Done()
					}
					s.add("-first")
				})
			}()
			defer func() { cancel(); <-done }()
			time.Sleep(10 * time.Second)
			want := "+first -first +first"
			if others {
				want = "+first -first +second"
				defer b.lead(on, "second", &s, &leading)()
			}
			time.Sleep(52 * time.Second)
			if others && s.String() != want || !others && s.String() != "+first -first" {
				b.Errorf("two seconds after the end: %s", &s)
			}
			if time.Sleep(30 * time.Second); s.String() != want {
				b.Errorf("%s, want %s", &s, want)
			}
		})
	}
}
