package bus_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/failpoint"
)

func TestClaim(t *testing.T) {
	bubble(t, func(b *fixture) {
		bb := b.Open(bus.Options{})
		const first, second = "demo.a.1", "demo.b.1"
		for _, row := range []struct{ lane, id, by, want string }{
			{"fal", "r1", first, first},
			{"fal", "r1", second, first},
			{"fal", "r1", first, first},
			{"fal", "r2", second, second},
			{"fal-team2", "r1", second, second},
			{"fal", "a.b.>", first, first},
			{"fal", "a.b.>", second, first},
			{"fal", "a.b.*", second, second},
			{"fal", strings.Repeat("x", 300), first, first},
			{"fal", strings.Repeat("x", 301), second, second},
		} {
			if got, err := bb.Claim(b.Context(), row.lane, row.id, row.by); err != nil || got != row.want {
				b.Errorf("%s claims %s at %s: %s, %v, want %s", row.by, row.id, row.lane, got, err, row.want)
			}
			if got, err := bb.Claimant(b.Context(), row.lane, row.id); err != nil || got != row.want {
				b.Errorf("%s at %s is held by %s, %v, want %s", row.id, row.lane, got, err, row.want)
			}
		}
		if got, err := bb.Claimant(b.Context(), "fal", "r3"); err != nil || got != "" {
			b.Errorf("an id that nobody claimed is held by %q, %v", got, err)
		}
	})
}

// TestClaimRace: of many that claim one id at the same time all learn of the same holder.
func TestClaimRace(t *testing.T) {
	bubble(t, func(b *fixture) {
		const many = 20
		buses := []*bus.Bus{b.Open(bus.Options{}), b.Open(bus.Options{})}
		holders := make([]string, many)
		var wg sync.WaitGroup
		for i := range holders {
			wg.Go(func() {
				var err error
				if holders[i], err = buses[i%2].Claim(b.Context(), "fal", "r1", fmt.Sprintf("demo.t%d.1", i)); err != nil {
					b.Error(err)
				}
			})
		}
		wg.Wait()
		for _, h := range holders {
			if h == "" || h != holders[0] {
				b.Fatalf("held by %v", holders)
			}
		}
	})
}

// TestClaimAnswerLost: a claim whose answer was lost is made again by its taker.
func TestClaimAnswerLost(t *testing.T) {
	bubble(t, func(b *fixture) {
		lose := true
		bb := b.Open(bus.Options{Faults: func(point string) failpoint.Outcome {
			return failpoint.Outcome{LoseAnswer: lose && point == "claim"}
		}})
		if _, err := bb.Claim(b.Context(), "fal", "r1", "demo.a.1"); err == nil {
			b.Fatal("a lost answer is no error")
		}
		lose = false
		for _, by := range []string{"demo.b.1", "demo.a.1"} {
			if got, err := bb.Claim(b.Context(), "fal", "r1", by); err != nil || got != "demo.a.1" {
				b.Errorf("%s: held by %s, %v", by, got, err)
			}
		}
	})
}

func TestClaimSubject(t *testing.T) {
	seen := map[string]string{}
	for _, id := range []string{"r1", "a.b", "a b", "*", ">", "", strings.Repeat("x", 64), strings.Repeat("x", 65)} {
		subject := events.ClaimSubject("fal", id)
		if tokens := strings.Split(subject, "."); len(tokens) != 4 || !events.ValidToken(tokens[3]) || seen[subject] != "" {
			t.Errorf("%q is claimed on %s", id, subject)
		}
		seen[subject] = id
	}
	if got := events.ClaimSubject("fal", "r1"); got != "reelay.claim.fal.r1" {
		t.Errorf("%s", got)
	}
}
