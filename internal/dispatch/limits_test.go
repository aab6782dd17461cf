package dispatch_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"reelay/internal/dispatch"
)

func at(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }

// TestWindow compares a window with a list.
func TestWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w dispatch.Window[int]
		model := map[int]int{} // until; 0 for not known
		now := 100
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			k := rapid.IntRange(0, 9).Draw(t, "key")
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				w.Count(k, time.Time{})
				model[k] = 0
			case 1:
				until := now + rapid.IntRange(-5, 60).Draw(t, "until") + 1
				w.Count(k, at(until))
				model[k] = until
			case 2:
				w.Free(k)
				delete(model, k)
			default:
				now += rapid.IntRange(0, 30).Draw(t, "pause")
			}
			var ends []int
			for k, until := range model {
				if until != 0 && until <= now {
					delete(model, k)
				} else if until != 0 {
					ends = append(ends, until)
				}
			}
			if got := w.Used(at(now)); got != len(model) {
				t.Fatalf("at %d: %d used, want %d", now, got, len(model))
			}
			next, ok := w.Freed(1)
			if ok != (len(ends) > 0) || ok && !next.Equal(at(slices.Min(ends))) {
				t.Fatalf("at %d: next %v %v, want one of %v", now, next, ok, ends)
			}
		}
	})
}

// TestAdmissionTimes compares what a window predicts with what it does when each request is sent as soon as it is let
// through.
func TestAdmissionTimes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w dispatch.Window[int]
		now, each := 100, rapid.IntRange(1, 60).Draw(t, "each")
		for i := range rapid.IntRange(0, 30).Draw(t, "counted") {
			w.Count(i, at(now+rapid.IntRange(1, each).Draw(t, "left")))
		}
		limit := rapid.IntRange(0, 20).Draw(t, "limit")
		turns := w.AdmissionTimes(at(now), limit, time.Duration(each)*time.Second)
		for n := 1; n <= 100; n++ {
			for limit > 0 && w.Used(at(now)) >= limit {
				now++
			}
			if got := turns.At(n); !got.Equal(at(now)) {
				t.Fatalf("request %d at %v, want %v", n, got, at(now))
			}
			w.Count(1000+n, at(now+each))
		}
	})
}

// TestServiceTime: slots that are always in demand, each for a time of its own, are measured to be occupied for their
// mean, also soon after the start, when only the short times have ended, and when what was true at first is true no
// more.
func TestServiceTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		places := rapid.IntRange(1, 40).Draw(t, "places")
		r := rand.New(rand.NewPCG(1, rapid.Uint64().Draw(t, "seed")))
		var f dispatch.ServiceTime
		left := make([]int, places) // seconds
		draw := func(mean int) int { return mean/2 + r.IntN(mean+1) }
		f.Observe(at(0), 0, places)
		for i := range left {
			left[i] = draw(200)
		}
		now, ends := 0, 0
		for _, mean := range []int{200, 600} {
			for ends = 0; ends < 5*places+300; ends++ {
				i := slices.Index(left, slices.Min(left))
				d := left[i]
				for j := range left {
					left[j] -= d
				}
				now += d
				f.Observe(at(now), places, 2)
				left[i] = draw(mean)
				if got := f.Mean().Seconds(); mean == 200 && ends > 40 && (got < 150 || got > 250) {
					t.Fatalf("after %d ends at %d places: %.0f s each, want about 200", ends, places, got)
				}
			}
			if got := f.Mean().Seconds(); got < 0.75*float64(mean) || got > 1.25*float64(mean) {
				t.Fatalf("%.0f s each, want about %d", got, mean)
			}
		}
	})
}

// TestServiceTimeIsNotHasty: while all tasks are new, or but for a few that failed at once, nobody knows for how long a
// slot is occupied.
func TestServiceTimeIsNotHasty(t *testing.T) {
	rows := []struct {
		name                string
		places, fail, after int
		want                float64
	}{
		{"all are new", 20, 0, 1, 0},
		{"all are new, for long", 20, 0, 3600, 0},
		{"some have failed at once", 100, 8, 2, 0},
		{"few places", 4, 4, 100, 0},
		{"most have ended", 20, 20, 300, 300},
	}
	for _, row := range rows {
		var f dispatch.ServiceTime
		for n := range row.places {
			f.Observe(at(0), n, 1)
		}
		for range row.fail {
			f.Observe(at(row.after), row.places, 1)
			f.Observe(at(row.after), row.places-1, 1)
		}
		f.Observe(at(row.after), row.places, 0)
		if got := f.Mean().Seconds(); got < row.want*0.6 || got > row.want*1.4 {
			t.Errorf("%s: %.1f s each, want %.1f", row.name, got, row.want)
		}
	}
}

// TestAdmissionTimesHuge: the admission that comes in a thousand years does not come now.
func TestAdmissionTimesHuge(t *testing.T) {
	var w dispatch.Window[int]
	w.Count(1, at(60))
	turns := w.AdmissionTimes(at(0), 1, 24*time.Hour)
	for n, last := 1, at(0); n < 10_000_000; n *= 3 {
		if got := turns.At(n); !got.After(last) && n < 100_000 || got.Before(last) {
			t.Fatalf("number %d is let through at %v, the one before at %v", n, got, last)
		} else {
			last = got
		}
	}
}

// TestServiceTimeHuge: what has been occupied for years is not less than nothing.
func TestServiceTimeHuge(t *testing.T) {
	var f dispatch.ServiceTime
	f.Observe(at(0), 0, 20)
	if f.Observe(at(6_000_000_000), 1, 2); f.Mean() <= 0 {
		t.Errorf("%v each", f.Mean())
	}
}

// A provider takes so many requests in any minute.
type provider struct {
	limit int
	taken []time.Time
}

func (p *provider) used(now time.Time) int {
	p.taken = slices.DeleteFunc(p.taken, func(t time.Time) bool { return !now.Before(t.Add(time.Minute)) })
	return len(p.taken)
}

// run sends as much as is learned to a provider for some minutes, spread evenly, and returns what it took and refused.
func run(l *dispatch.AdaptiveLimit, p *provider, configured int, from time.Time, minutes int) (taken, refused int) {
	rest := time.Duration(0)
	for now, end := from, from.Add(time.Duration(minutes)*time.Minute); now.Before(end); {
		used := p.used(now)
		limit := l.Cap(configured)
		switch {
		case limit > 0 && used >= limit:
			now = p.taken[0].Add(time.Minute)
			continue
		case used >= p.limit:
			l.Decrease(configured, used)
			refused++
			rest = min(max(2*rest, time.Second), 6*time.Second)
			now = now.Add(rest)
			continue
		}
		p.taken = append(p.taken, now)
		taken++
		l.Increase(configured, used+1)
		rest = 0
		now = now.Add(time.Minute / time.Duration(max(limit, 120)))
	}
	return taken, refused
}

// TestFollows: two minutes after the provider's limit has changed, fewer than one request in a hundred is refused, and
// nearly all that it grants is used, however the limit was before and whether one is configured.
func TestFollows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits := rapid.SliceOfN(rapid.IntRange(7, 90), 1, 4).Draw(t, "limits")
		configured := rapid.SampledFrom([]int{0, 60, 90}).Draw(t, "configured")
		var l dispatch.AdaptiveLimit
		p := &provider{}
		now := noon
		for _, limit := range limits {
			p.limit = limit
			run(&l, p, configured, now, 2)
			now = now.Add(2 * time.Minute)
			var taken, refused int
			// A lower limit is followed at once, a higher one is found in the time of some hundred requests.
			const hours = 4
			taken, refused = run(&l, p, configured, now, hours*60)
			now = now.Add(hours * time.Hour)
			if refused*100 > taken {
				t.Fatalf("limits %v, configured %d: at %d it refused %d and took %d: %+v", limits, configured, limit, refused,
					taken, l)
			}
			most := limit
			if configured > 0 {
				most = min(most, configured)
			}
			if taken, _ = run(&l, p, configured, now, 60); taken*100 < most*60*90 {
				t.Fatalf("limits %v, configured %d: at %d it took %d in an hour: %+v", limits, configured, limit, taken, l)
			}
			now = now.Add(time.Hour)
		}
	})
}

func TestRefuse(t *testing.T) {
	rows := []struct {
		name             string
		learned          dispatch.AdaptiveLimit
		configured, used int
		want             int
	}{
		{"no limit is known", dispatch.AdaptiveLimit{}, 0, 20, 20},
		{"no limit is known, and nothing was taken: no number either", dispatch.AdaptiveLimit{}, 0, 0, 0},
		{"a little under the configured one", dispatch.AdaptiveLimit{}, 20, 18, 18},
		{"at the configured one", dispatch.AdaptiveLimit{}, 20, 20, 20},
		{"far below: another's use", dispatch.AdaptiveLimit{}, 20, 1, 10},
		{"far below what was learned", dispatch.AdaptiveLimit{Limit: 8}, 20, 0, 4},
		{"never nothing", dispatch.AdaptiveLimit{Limit: 1}, 20, 0, 1},
		{"a configured one below what was learned", dispatch.AdaptiveLimit{Limit: 30}, 20, 19, 19},
	}
	for _, row := range rows {
		row.learned.Decrease(row.configured, row.used)
		if got := row.learned.Cap(row.configured); got != row.want {
			t.Errorf("%s: %d, want %d", row.name, got, row.want)
		}
	}
}
