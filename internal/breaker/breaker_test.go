package breaker

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"reelay/internal/provider"
)

// inBubble runs f with a breaker and the time of a bubble.
func inBubble(t *testing.T, f func(t *testing.T, b Breaker)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, New("fal", slog.New(slog.DiscardHandler), func() {})) })
}

// try sends one task with an outcome and reports whether the breaker let it.
func try(b Breaker, o provider.Outcome) bool {
	p, wait := b.Allow()
	if wait > 0 {
		return false
	}
	b.Record(p, o)
	return true
}

// wait is how long the breaker has the next task wait.
func wait(b Breaker) time.Duration {
	p, d := b.Allow()
	if d == 0 {
		b.Release(p)
	}
	return d
}

// trip opens the breaker by doubts in a row.
func trip(t *testing.T, b Breaker) {
	t.Helper()
	for i := range doubtsInARow {
		if b.IsOpen() || !try(b, provider.InDoubt) {
			t.Fatalf("stopped after %d in doubt", i)
		}
	}
	if !b.IsOpen() || wait(b) == 0 {
		t.Fatal("not stopped")
	}
}

func TestBreakerInARow(t *testing.T) {
	inBubble(t, func(t *testing.T, b Breaker) {
		for _, o := range []provider.Outcome{provider.Accepted, provider.Refused} {
			for range doubtsInARow - 1 {
				if !try(b, provider.InDoubt) {
					t.Fatal("stopped too early")
				}
			}
			if !try(b, o) || b.IsOpen() {
				t.Errorf("stopped although one was %s in between", o)
			}
			time.Sleep(2 * doubtWindow)
		}
		trip(t, b)
		if d := wait(b); d != breakerWait {
			t.Errorf("waits %v, want %v", d, breakerWait)
		}
	})
}

// TestBreakerInAWhile: doubts between successes count as well, for ten minutes.
func TestBreakerInAWhile(t *testing.T) {
	storm := func(b Breaker, every time.Duration) (sent int) {
		for range 3 * doubtsInAWhile {
			if !try(b, provider.InDoubt) {
				break
			}
			sent++
			if b.IsOpen() || !try(b, provider.Accepted) {
				break
			}
			time.Sleep(every)
		}
		return sent
	}
	inBubble(t, func(t *testing.T, b Breaker) {
		if n := storm(b, time.Minute); n != doubtsInAWhile {
			t.Errorf("stopped after %d in doubt, want %d", n, doubtsInAWhile)
		}
		if !b.IsOpen() || wait(b) == 0 {
			t.Errorf("stopped, and yet open %v and the next is sent after %v", b.IsOpen(), wait(b))
		}
	})
	inBubble(t, func(t *testing.T, b Breaker) {
		if n := storm(b, doubtWindow/2); n != 3*doubtsInAWhile {
			t.Errorf("stopped after %d in doubt, one every %v", n, doubtWindow/2)
		}
	})
}

// TestBreakerProbes: after a wait one task is sent, and what becomes of it decides.
func TestBreakerProbes(t *testing.T) {
	rows := []struct {
		name  string
		probe func(b Breaker, p Pass)
		open  bool
	}{
		{"accepted", func(b Breaker, p Pass) { b.Record(p, provider.Accepted) }, false},
		{"refused", func(b Breaker, p Pass) { b.Record(p, provider.Refused) }, false},
		{"in doubt", func(b Breaker, p Pass) { b.Record(p, provider.InDoubt) }, true},
		{"not sent", func(b Breaker, p Pass) { b.Release(p) }, true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b Breaker) {
				trip(t, b)
				time.Sleep(breakerWait - time.Second)
				if wait(b) == 0 {
					t.Fatal("sends before the wait is over")
				}
				time.Sleep(time.Second)
				p, d := b.Allow()
				if d > 0 {
					t.Fatal("does not probe")
				}
				if b.Vetoes(p) {
					t.Error("the probe itself would be vetoed at its gate")
				}
				if wait(b) == 0 {
					t.Error("a second task is sent beside the probe")
				}
				row.probe(b, p)
				if b.IsOpen() != row.open {
					t.Errorf("open %v, want %v", b.IsOpen(), row.open)
				}
				if row.open {
					if d := wait(b); d != breakerWait {
						t.Errorf("the next probe in %v, want %v", d, breakerWait)
					}
				}
			})
		})
	}
}

// TestBreakersApart: what was under way when the lane stopped may stop it for the other reason as well, a little later.
// What one allows and the other does not is given back: else the lane would never send again.
func TestBreakersApart(t *testing.T) {
	inBubble(t, func(t *testing.T, b Breaker) {
		trip(t, b)
		time.Sleep(breakerWait / 2)
		for range doubtsInAWhile - doubtsInARow {
			b.Record(Pass{}, provider.InDoubt)
		}
		time.Sleep(breakerWait / 2)
		if wait(b) == 0 {
			t.Fatal("sends although the other reason stands")
		}
		time.Sleep(breakerWait)
		if !try(b, provider.Accepted) || b.IsOpen() {
			t.Error("does not send again")
		}
	})
}

// TestUnsentTeachesNothing: a lane that is well stays so, whatever is vetoed.
func TestUnsentTeachesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, b Breaker) {
		for range 10 * doubtsInAWhile {
			if wait(b) > 0 {
				t.Fatal("stopped")
			}
		}
		trip(t, b)
	})
}

// TestOnlyTheProbeDecides: what was under way when the lane stopped says nothing of a lane that is being tried, whatever
// becomes of it, and is not sent beside the probe.
func TestOnlyTheProbeDecides(t *testing.T) {
	for name, ends := range map[string]func(b Breaker, p Pass){
		"accepted": func(b Breaker, p Pass) { b.Record(p, provider.Accepted) },
		"in doubt": func(b Breaker, p Pass) { b.Record(p, provider.InDoubt) },
		"not sent": func(b Breaker, p Pass) { b.Release(p) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b Breaker) {
				earlier, _ := b.Allow()
				trip(t, b)
				time.Sleep(breakerWait)
				probe, d := b.Allow()
				if d > 0 {
					t.Fatal("does not probe")
				}
				if !b.Vetoes(earlier) || b.Vetoes(probe) {
					t.Errorf("the earlier one is vetoed: %v, the probe: %v", b.Vetoes(earlier), b.Vetoes(probe))
				}
				if ends(b, earlier); !b.row.IsHalfOpen() || wait(b) == 0 {
					t.Fatalf("%v by an outcome that is none of the probe's", b.row.State())
				}
				if b.Record(probe, provider.Accepted); !b.row.IsClosed() {
					t.Errorf("%v after the probe was accepted", b.row.State())
				}
			})
		})
	}
}
