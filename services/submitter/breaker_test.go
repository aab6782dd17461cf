package submitter

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"reelay/internal/provider"
)

// inBubble runs f with a breaker and the time of a bubble.
func inBubble(t *testing.T, f func(t *testing.T, b breaker)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newBreaker("fal", slog.New(slog.DiscardHandler), func() {})) })
}

// try sends one task with an outcome and reports whether the breaker let it.
func try(b breaker, o provider.Outcome) bool {
	if b.allow() > 0 {
		return false
	}
	b.record(o)
	return true
}

// trip opens the breaker by doubts in a row.
func trip(t *testing.T, b breaker) {
	t.Helper()
	for i := range doubtsInARow {
		if b.isOpen() || !try(b, provider.InDoubt) {
			t.Fatalf("stopped after %d in doubt", i)
		}
	}
	if !b.isOpen() || b.allow() == 0 {
		t.Fatal("not stopped")
	}
}

func TestBreakerInARow(t *testing.T) {
	inBubble(t, func(t *testing.T, b breaker) {
		for _, o := range []provider.Outcome{provider.Accepted, provider.Refused} {
			for range doubtsInARow - 1 {
				if !try(b, provider.InDoubt) {
					t.Fatal("stopped too early")
				}
			}
			if !try(b, o) || b.isOpen() {
				t.Errorf("stopped although one was %s in between", o)
			}
			time.Sleep(2 * doubtWindow)
		}
		trip(t, b)
		if wait := b.allow(); wait != breakerWait {
			t.Errorf("waits %v, want %v", wait, breakerWait)
		}
	})
}

// TestBreakerInAWhile: doubts between successes count as well, for ten minutes.
func TestBreakerInAWhile(t *testing.T) {
	storm := func(b breaker, every time.Duration) (sent int) {
		for range 3 * doubtsInAWhile {
			if !try(b, provider.InDoubt) {
				break
			}
			sent++
			if b.isOpen() || !try(b, provider.Accepted) {
				break
			}
			time.Sleep(every)
		}
		return sent
	}
	inBubble(t, func(t *testing.T, b breaker) {
		if n := storm(b, time.Minute); n != doubtsInAWhile {
			t.Errorf("stopped after %d in doubt, want %d", n, doubtsInAWhile)
		}
		if !b.isOpen() || b.allow() == 0 {
			t.Errorf("stopped, and yet open %v and the next is sent after %v", b.isOpen(), b.allow())
		}
	})
	inBubble(t, func(t *testing.T, b breaker) {
		if n := storm(b, doubtWindow/2); n != 3*doubtsInAWhile {
			t.Errorf("stopped after %d in doubt, one every %v", n, doubtWindow/2)
		}
	})
}

// TestBreakerProbes: after a wait one task is sent, and what becomes of it decides.
func TestBreakerProbes(t *testing.T) {
	rows := []struct {
		name  string
		probe func(b breaker)
		open  bool
	}{
		{"accepted", func(b breaker) { b.record(provider.Accepted) }, false},
		{"refused", func(b breaker) { b.record(provider.Refused) }, false},
		{"in doubt", func(b breaker) { b.record(provider.InDoubt) }, true},
		{"not sent", func(b breaker) { b.release() }, true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b breaker) {
				trip(t, b)
				time.Sleep(breakerWait - time.Second)
				if b.allow() == 0 {
					t.Fatal("sends before the wait is over")
				}
				time.Sleep(time.Second)
				if b.allow() > 0 {
					t.Fatal("does not probe")
				}
				if b.isOpen() {
					t.Error("the probe itself would be vetoed at its gate")
				}
				if b.allow() == 0 {
					t.Error("a second task is sent beside the probe")
				}
				row.probe(b)
				if b.isOpen() != row.open {
					t.Errorf("open %v, want %v", b.isOpen(), row.open)
				}
				if row.open {
					if wait := b.allow(); wait != breakerWait {
						t.Errorf("the next probe in %v, want %v", wait, breakerWait)
					}
				}
			})
		})
	}
}

// TestBreakersApart: what was under way when the lane stopped may stop it for the other reason as well, a little later.
// What one allows and the other does not is given back: else the lane would never send again.
func TestBreakersApart(t *testing.T) {
	inBubble(t, func(t *testing.T, b breaker) {
		trip(t, b)
		time.Sleep(breakerWait / 2)
		for range doubtsInAWhile - doubtsInARow {
			b.record(provider.InDoubt)
		}
		time.Sleep(breakerWait / 2)
		if b.allow() == 0 {
			t.Fatal("sends although the other reason stands")
		}
		time.Sleep(breakerWait)
		if !try(b, provider.Accepted) || b.isOpen() {
			t.Error("does not send again")
		}
	})
}

// TestUnsentTeachesNothing: a lane that is well stays so, whatever is vetoed.
func TestUnsentTeachesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, b breaker) {
		for range 10 * doubtsInAWhile {
			if b.allow() > 0 {
				t.Fatal("stopped")
			}
			b.release()
		}
		trip(t, b)
	})
}
