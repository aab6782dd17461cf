package submitter_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/test/long"
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

// TestWindow: four submitters, of which one crashes, one stands still and one is stopped again and again, never send
// more than 20 requests in a minute, and hardly fewer.
func TestWindow(t *testing.T) {
	inWorld(t, perMinute(20), func(w *world) {
		const minutes = 16
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
			w.Errorf("%d requests in one minute", most)
		}
		if share := float64(len(taken)) / (20 * spent.Minutes()); share < 0.95 {
			w.Errorf("%d requests in %v, %.1f %% of what is granted", len(taken), spent, 100*share)
		}
		seen := map[string]bool{}
		for _, c := range taken {
			if seen[c.task] {
				w.Errorf("%s was sent twice", c.task)
			}
			seen[c.task] = true
		}
	})
}

// TestInFlight: the cap is never exceeded by one, whoever dispatches, and is used in full; a task in flight that ends
// makes room for the next.
func TestInFlight(t *testing.T) {
	inWorld(t, map[string]events.ModelLimits{events.AnyModel: {InFlight: 5}}, func(w *world) {
		w.provider.rule(func(_ time.Time, taken []call) string {
			if inFlight := len(taken) - int(w.ended.Load()); inFlight >= 5 {
				w.Errorf("request number %d although %d are in flight", len(taken)+1, inFlight)
			}
			return ""
		})
		w.ask("demo", 60, "")
		all := []*replica{w.start(), w.start()}
		for n := range 30 {
			time.Sleep(20 * time.Second)
			taken := w.provider.taken()
			if len(taken) != 5+int(w.ended.Load()) {
				w.Fatalf("%d taken after %d have ended", len(taken), w.ended.Load())
			}
			k := events.Key{Project: "demo", ID: taken[n].task}
			w.ended.Add(1) // at the provider first
			w.end(k)
			time.Sleep(time.Second) // a request that a crash cuts off is in doubt, and rightly takes a place for long
			if r := all[n%2]; n%7 == 0 {
				r.crash()
				r.restart()
			}
		}
	})
}

// TestLearnsLong: a provider that changes its limit is followed. Two minutes after a change fewer than one request in a
// hundred is refused, also over a failover, and no task fails by it.
func TestLearnsLong(t *testing.T) {
	long.Only(t)
	for _, configured := range []int{0, 60} {
		t.Run(fmt.Sprint("configured ", configured), func(t *testing.T) {
			inWorld(t, perMinute(configured), func(w *world) {
				const minutes = 12
				limits := []int{40, 12, 25}
				w.ask("demo", 1_000, "")
				r := w.start()
				for i, limit := range limits {
					w.provider.rule(atMost(limit))
					time.Sleep(2 * minute)
					since := time.Now()
					before := len(w.provider.taken())
					time.Sleep(minutes / 2 * minute)
					r.crash()
					r.restart()
					time.Sleep(minutes / 2 * minute)
					if refused, all := w.provider.refused(since); refused*100 > all {
						w.Errorf("at %d a minute %d of %d requests were refused", limit, refused, all)
					}
					got, want := len(w.provider.taken())-before, min(limit, slices.Min(limits[:i+1]))*minutes
					if got*100 < want*90 {
						w.Errorf("at %d a minute %d were taken in %d minutes", limit, got, minutes)
					}
				}
				time.Sleep(time.Hour) // by now it has found that the limit is higher again
				tasks := 0
				for id := 1; id <= w.ids; id++ {
					k := events.Key{Project: "demo", ID: fmt.Sprintf("t%05d", id)}
					if task, _, err := w.client.Get(w.Context(), k); err != nil || task.Status.Terminal() {
						w.Fatalf("%s is %s, %v: %+v", k, task.Phase, err, task.Error)
					}
					tasks++
				}
				if taken := w.provider.taken(); len(taken) != tasks {
					w.Errorf("%d of %d were taken in the end", len(taken), tasks)
				}
			})
		})
	}
}

// TestConcurrencyRefused: a provider that refuses for the tasks in flight is sent fewer of them.
func TestConcurrencyRefused(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.provider.rule(func(_ time.Time, taken []call) string {
			if len(taken)-int(w.ended.Load()) >= 3 {
				return "concurrency"
			}
			return ""
		})
		w.ask("demo", 40, "")
		w.start()
		time.Sleep(2 * minute)
		since := time.Now()
		for n := range 20 {
			time.Sleep(minute)
			w.ended.Add(1)
			w.end(events.Key{Project: "demo", ID: w.provider.taken()[n].task})
		}
		time.Sleep(minute)
		if refused, all := w.provider.refused(since); refused > 0 || all != 20 {
			w.Errorf("%d of %d requests refused, want none of 20", refused, all)
		}
	})
}

// TestOneBesideThousand: the one task of a project is sent within one round of the thousand of another.
func TestOneBesideThousand(t *testing.T) {
	inWorld(t, perMinute(10), func(w *world) {
		w.ask("big", 1_000, `,"priority":100`)
		w.start()
		time.Sleep(5 * minute)
		before := len(w.provider.taken())
		k := w.ask("small", 1, "")
		time.Sleep(2 * minute)
		at := slices.IndexFunc(w.provider.taken(), func(c call) bool { return c.task == k.ID }) - before
		if at < 0 || at > 9 { // the ten of a minute leave at one moment, and may overtake one another
			w.Errorf("sent after %d others", at)
		}
	})
}

// TestShares: what is set for a lane counts at once: limits, weights, caps of projects, and limits that cannot be read
// pause.
func TestShares(t *testing.T) {
	inWorld(t, perMinute(60), func(w *world) {
		w.set(bucket.LimitsKey("acme"),
			`{"models":{"m":{"requests":40}},"projects":{"a":{"weight":3},"c":{"requests":2},"d":{"in_flight":3}}}`)
		for _, p := range []string{"a", "b", "c", "d"} {
			w.ask(p, 300, "")
		}
		w.start()
		count := func(d time.Duration) map[string]int {
			before := len(w.provider.taken())
			time.Sleep(d)
			n := map[string]int{}
			for _, c := range w.provider.taken()[before:] {
				n[string("abcd"[(idOf(c.task)-1)/300])]++
			}
			return n
		}
		got := count(4*minute + 10*time.Second)
		if sum := got["a"] + got["b"] + got["c"] + got["d"]; sum != 200 {
			w.Errorf("%d sent in five windows of 40", sum)
		}
		if got["c"] > 10 || got["c"] < 8 || got["d"] != 3 {
			w.Errorf("capped projects: %v", got)
		}
		if r := float64(got["a"]) / float64(got["b"]); r < 2.8 || r > 3.2 {
			w.Errorf("weights 3 and 1: %v", got)
		}
		w.set(bucket.LimitsKey("acme"), `{"models":{"*":{"requests":5}}}`)
		time.Sleep(minute)
		if got := count(10 * minute); got["a"]+got["b"]+got["c"]+got["d"] != 50 || got["a"] > 15 || got["d"] < 10 {
			w.Errorf("after the change: %v", got)
		}
		w.set(bucket.LimitsKey("acme"), `{"models":{"*":{"request":5}}}`)
		synctest.Wait()
		if got := count(10 * minute); len(got) > 0 {
			w.Errorf("sent although nobody knows the limits: %v", got)
		}
		if e := w.laneEvents(); !slices.Equal(e, []events.EventType{events.EventPaused}) {
			w.Errorf("events: %v", e)
		}
	})
}

func idOf(task string) (n int) {
	_, _ = fmt.Sscanf(task, "t%d", &n)
	return n
}

// TestFamilies: models of other limits do not wait for one another.
func TestFamilies(t *testing.T) {
	inWorld(t, map[string]events.ModelLimits{events.AnyModel: {Requests: 1}, "m1": {Requests: 30}}, func(w *world) {
		for n := range 50 {
			_, err := w.client.JetStream().Publish(w.Context(), events.RequestSubject("slow", events.Video),
				fmt.Appendf(nil, `{"id":"s%d","provider":"acme","model":"x","priority":100,"input":{"id":"s%d"},"timeout":"24h"}`,
					n, n))
			w.ok(err)
		}
		w.ask("slow", 200, "")
		w.start()
		time.Sleep(4*minute + 10*time.Second)
		slow := 0
		for _, c := range w.provider.taken() {
			if c.task[0] == 's' {
				slow++
			}
		}
		if all := len(w.provider.taken()); slow != 5 || all != 155 {
			w.Errorf("%d of %d are of the slow models, want 5 of 155", slow, all)
		}
	})
}

// TestNewLimit: what was learned of the provider under one limit is forgotten when a person sets another, and stays
// when something else is set.
func TestNewLimit(t *testing.T) {
	rows := []struct {
		name, set string
		least     int // taken in the minute after
		most      int
	}{
		{"another limit", `{"models":{"*":{"requests":100}}}`, 60, 100},
		{"the share of a project", `{"projects":{"demo":{"weight":2}}}`, 1, 20},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			inWorld(t, perMinute(60), func(w *world) {
				w.provider.rule(atMost(10))
				w.ask("demo", 400, "")
				w.start()
				time.Sleep(10 * minute)
				w.provider.rule(func(time.Time, []call) string { return "" })
				before := len(w.provider.taken())
				w.set("acme.limits", row.set)
				time.Sleep(minute)
				if n := len(w.provider.taken()) - before; n < row.least || n > row.most {
					w.Errorf("%d sent in a minute, want %d to %d", n, row.least, row.most)
				}
			})
		})
	}
}
