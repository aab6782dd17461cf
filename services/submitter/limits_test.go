package submitter_test

import (
	"testing"
	"time"

	"reelay/events"
)

const minute = time.Minute

func perMinute(n int) map[string]events.ModelLimits {
	return map[string]events.ModelLimits{events.AnyModel: {Requests: n}}
}

// mostInAMinute returns the most requests that any minute has seen.
func mostInAMinute(taken []call) (most int) {
	first := 0
	for i, c := range taken {
		for c.at.Sub(taken[first].at) >= minute {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

// TestWindow: four submitters, of which one crashes, one stands still and one is stopped again and again, never send more than 20
// requests in a minute, and hardly fewer.
func TestWindow(t *testing.T) {
	inWorld(t, perMinute(20), func(w *world) {
		const minutes = 30
		w.ask("demo", minutes*20+60, "")
		var all []*replica
		for range 4 {
			all = append(all, w.start())
		}
		began := time.Now()
		for n := 0; time.Since(began) < minutes*minute; n++ {
			time.Sleep(2*minute + 7*time.Second)
			switch r := all[n%4]; n % 3 {
			case 0:
				r.crash()
				time.Sleep(3 * time.Second)
				r.restart()
			case 1:
				r.stand(13 * time.Second)
				time.Sleep(20 * time.Second)
			default:
				r.stop()
				time.Sleep(time.Second)
				r.restart()
			}
		}
		taken := w.provider.taken()
		spent := time.Since(began)
		if most := mostInAMinute(taken); most > 20 {
			t.Errorf("%d requests in one minute", most)
		}
		if share := float64(len(taken)) / (20 * spent.Minutes()); share < 0.95 {
			t.Errorf("%d requests in %v, %.1f %% of what is granted", len(taken), spent, 100*share)
		}
		t.Logf("%d requests in %v", len(taken), spent)
		seen := map[string]bool{}
		for _, c := range taken {
			if seen[c.task] {
				t.Errorf("%s was sent twice", c.task)
			}
			seen[c.task] = true
		}
	})
}
