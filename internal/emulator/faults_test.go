package emulator

import (
	"encoding/json"
	"testing"
	"time"
)

func TestFaultsOfAScript(t *testing.T) {
	t.Parallel()
	j := Job{Input: json.RawMessage(`{"emulate":{"webhook":"drop,forged,nonsense","webhook_delay_ms":500}}`)}
	f := Faults{}.flawsOf(j, "x")
	if !f.Has(Drop) || !f.Has(Forged) || len(f.names) != 2 || f.delay != 500*time.Millisecond {
		t.Errorf("flaws %+v", f)
	}
	if f := (Faults{}).flawsOf(Job{}, "x"); len(f.names) != 0 || f.delay != DefaultDelay {
		t.Errorf("flaws %+v of a job that asks for none", f)
	}
}

// The share of webhooks that a fault befalls is what was asked for, each fault is drawn by itself, and the seed
// decides.
func TestFaultShares(t *testing.T) {
	t.Parallel()
	const jobs = 20_000
	count := func(seed uint64) (drop, both int, first []bool) {
		f := Faults{Shares: map[Fault]float64{Drop: 0.1, Duplicate: 0.5}, Seed: seed}
		for i := range uint64(jobs) {
			flaws := f.flawsOf(Job{Seq: i + 1}, "COMPLETED")
			if flaws.Has(Drop) {
				drop++
				if flaws.Has(Duplicate) {
					both++
				}
			}
			if i < 100 {
				first = append(first, flaws.Has(Drop))
			}
		}
		return drop, both, first
	}
	drop, both, first := count(1)
	if drop < jobs*9/100 || drop > jobs*11/100 || both < drop*4/10 || both > drop*6/10 {
		t.Errorf("%d of %d dropped, %d of them doubled, want a tenth and half of that", drop, jobs, both)
	}
	again, _, _ := count(1)
	_, _, other := count(2)
	same := true
	for i := range first {
		same = same && first[i] == other[i]
	}
	if again != drop || same {
		t.Errorf("%d and %d by the same seed, the same by another one: %v", drop, again, same)
	}
}
