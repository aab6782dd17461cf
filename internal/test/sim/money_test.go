package sim_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/allinone"
	"reelay/internal/config"
	"reelay/internal/emulator"
	"reelay/internal/test/long"
	"reelay/internal/test/sim"
)

// emulatedPrices is a table in which fal's model costs what the emulator charges for it, and that price.
func emulatedPrices(t *testing.T) (config.Pipeline, float64) {
	t.Helper()
	var usd float64
	sim.Run(t, sim.Options{Quiet: true}, func(t *testing.T, w *sim.World) {
		w.Publish(video, falRequest("probe", ""))
		w.AwaitEnd("demo", "probe")
		usd = w.Stack.Ledger("fal").Jobs()[0].PriceUSD
	})
	path := filepath.Join(t.TempDir(), "prices.json")
	table := fmt.Sprintf(`{"prices":[{"provider":"fal","models":[%q],"unit":"clip","rates":[{"usd":%v}],"source":"the `+
		`emulator","as_of":"2026-01-01"}]}`,
		falVideo, usd)
	if err := os.WriteFile(path, []byte(table), 0o600); err != nil {
		t.Fatal(err)
	}
	return config.Pipeline{Prices: path}, usd
}

// charged is what the provider has charged for a job of a task that has ended: both charge for what succeeds and for
// nothing else that these tests do.
func charged(t events.Task, j emulator.Job) float64 {
	if t.Status == events.StatusCompleted && t.ProviderID == j.ID {
		return j.PriceUSD
	}
	return 0
}

// cents rounds a sum of amounts.
func cents(usd float64) float64 { return math.Round(usd*1e6) / 1e6 }

// checkMoney compares what the records say with the providers' ledgers, and the sum of them with what spend answers.
func checkMoney(t *testing.T, w *sim.World, ids []string) {
	t.Helper()
	spent, reserved := 0.0, 0.0
	for _, id := range ids {
		task := w.Get("demo", id)
		bill := 0.0
		for _, p := range []string{"fal", "minimax"} {
			for _, j := range w.Stack.Ledger(p).Jobs() {
				if strings.Contains(string(j.Input), "marked "+id+";") {
					bill += charged(task, j)
				}
			}
		}
		known := task.Cost != nil && task.Cost.ActualUSD != nil
		for _, a := range task.Attempts {
			switch {
			case a.Charge == events.ChargeNone && *a.CostUSD != 0:
				t.Errorf("%s: attempt %d is free and costs %v", id, a.N, *a.CostUSD)
			case a.CostUSD == nil:
				t.Errorf("%s: attempt %d has no price", id, a.N)
			case a.Outcome == events.AttemptAccepted:
				spent += *a.CostUSD
			case a.Charge != events.ChargeNone:
				reserved += *a.CostUSD
			}
		}
		if known && cents(*task.Cost.ActualUSD) != cents(bill) {
			t.Errorf("%s is %s and cost %v, the provider charges %v: %+v", id, task.Status, *task.Cost.ActualUSD, bill,
				task.Attempts)
		}
		if !known && task.Status == events.StatusCompleted && len(task.Attempts) == 1 {
			t.Errorf("%s completed and nobody knows its price: %+v", id, task.Cost)
		}
	}
	var r events.SpendReply
	if e := w.Ask(&r, events.VerbSpend, "", "demo"); e != nil {
		t.Fatal(e)
	}
	if cents(r.Total.SpentUSD) != cents(spent) || cents(r.Total.ReservedUSD) != cents(reserved) {
		t.Errorf("spend answers %+v, the records say %v spent and %v reserved", r.Total, cents(spent), cents(reserved))
	}
}

// marked puts a mark into the prompt of a request, by which its jobs are found in the ledgers.
func marked(id, body string) string {
	return strings.Replace(body, "a kite", "a kite marked "+id+";", 1)
}

// TestMoney: every way to end costs what the provider's ledger says, to the cent.
func TestMoney(t *testing.T) {
	prices, falUSD := emulatedPrices(t)
	sim.Run(t, sim.Options{Pipeline: prices}, func(t *testing.T, w *sim.World) {
		requests := map[string]string{
			"fal":        falRequest("fal", ""),
			"v1":         v1Request("v1", ""),
			"v1-long":    strings.Replace(v1Request("v1-long", ""), `"emulate"`, `"duration":10,"emulate"`, 1),
			"v2":         v2Request("v2", ""),
			"v2-2k":      strings.Replace(v2Request("v2-2k", ""), "768P", "2K", 1),
			"fal-failed": falRequest("fal-failed", `{"fail":"500"}`),
			"v1-failed":  v1Request("v1-failed", `{"fail":"1027"}`),
			"v2-lost":    v2Request("v2-lost", `{"submit":"accept_then_500"}`, `,"timeout":"8h"`),
			"v1-lost":    v1Request("v1-lost", `{"submit":"accept_then_500"}`, `,"on_in_doubt":"fail"`),
			"refused":    v1Request("refused", `{"submit":"refuse_2013"}`),
		}
		var ids []string
		for id, body := range requests {
			ids = append(ids, id)
			w.Publish(video, marked(id, body))
		}
		slices.Sort(ids)
		for _, id := range ids {
			w.AwaitEnd("demo", id)
		}
		checkMoney(t, w, ids)
		for id, want := range map[string]float64{
			"refused": 0, "fal": falUSD, "v1": 0.28, "v1-long": 0.56, "v2": 0.4,
			"v2-2k": 0.65, "v2-lost": 0.4, "v1-failed": 0, "fal-failed": 0,
		} {
			if c := w.Get("demo", id).Cost; c == nil || c.ActualUSD == nil || *c.ActualUSD != want {
				t.Errorf("%s cost %+v, want %v", id, c, want)
			}
		}
		if c := w.Get("demo", "v1-lost"); c.Cost.ActualUSD != nil || *c.Attempts[0].CostUSD != 0.28 {
			t.Errorf("written off: %+v of %+v", c.Attempts, c.Cost)
		}
	})
}

// TestEstimates: what a task may cost is written down when it is accepted, and one that would cost more than it may is
// refused.
func TestEstimates(t *testing.T) {
	sim.Run(t, sim.Options{}, func(t *testing.T, w *sim.World) {
		unknown := func(id, extra string) string {
			return strings.Replace(falRequest(id, "", extra), falVideo, "fal-ai/unheard-of/text-to-video", 1)
		}
		for _, row := range []struct {
			name, body string
			estimate   float64 // negative where there is none
			basis      string
			field      string
		}{
			{"by the table", v1Request("a", ""), 0.28, "https://platform.minimax.io/", ""},
			{
				"the request's own is smaller", v1Request("b", "", `,"estimated_cost_usd":0.1`), 0.28,
				"https://platform.minimax.io/", "",
			},
			{
				"the request's own is larger", v1Request("c", "", `,"estimated_cost_usd":0.9`), 0.9, "the request's own estimate",
				"",
			},
			{"just as much as it may", v1Request("d", "", `,"max_cost_usd":0.28`), 0.28, "https://platform.minimax.io/", ""},
			{"more than it may", v1Request("e", "", `,"max_cost_usd":0.27`), 0, "", "max_cost_usd"},
			{
				"more than it may, by its own", v1Request("f", "", `,"max_cost_usd":0.5,"estimated_cost_usd":0.6`), 0, "",
				"max_cost_usd",
			},
			{"nobody knows", unknown("g", ""), -1, "", ""},
			{
				"nobody knows but the request", unknown("h", `,"estimated_cost_usd":0.6,"max_cost_usd":0.6`), 0.6,
				"the request's own estimate", "",
			},
			{"nobody knows, and there is a limit", unknown("i", `,"max_cost_usd":5`), 0, "", "max_cost_usd"},
		} {
			var r events.TaskReply
			e := w.Ask(&r, events.VerbSubmit, row.body, "demo", "video")
			c := r.Task.Cost
			switch {
			case row.field != "":
				if e == nil || e.Field != row.field || e.Code != events.CodeInvalidRequest {
					t.Errorf("%s: got %v, want a complaint about %s", row.name, e, row.field)
				}
			case e != nil:
				t.Errorf("%s: %v", row.name, e)
			case row.estimate < 0:
				if c != nil {
					t.Errorf("%s: %+v", row.name, c)
				}
			case c == nil || c.EstimatedUSD == nil || *c.EstimatedUSD != row.estimate || !strings.Contains(c.Basis, row.basis):
				t.Errorf("%s: %+v, want %v by %s", row.name, c, row.estimate, row.basis)
			}
		}
		for _, id := range []string{"a", "b", "c", "d", "g", "h"} {
			w.AwaitEnd("demo", id)
		}
	})
}

// setCap sets a cap as any client may.
func setCap(t *testing.T, w *sim.World, s bucket.Scope, value string) {
	t.Helper()
	kv, err := w.JS.KeyValue(t.Context(), bucket.Caps)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.PutString(t.Context(), string(s), value); err != nil {
		t.Fatal(err)
	}
	w.Settle(2 * time.Second)
}

// early lets the day begin if it is about to end: a cap is one of a day.
func early(w *sim.World) {
	if left := time.Until(time.Now().UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)); left < 4*time.Hour {
		w.Settle(left + time.Minute)
	}
}

// TestCap: with a cap no more is paid for than it allows, what does not fit waits and says so, others go on, and a
// raised cap lets the rest through. What is refused gives its money to the next.
func TestCap(t *testing.T) {
	sim.Run(t, sim.Options{}, func(t *testing.T, w *sim.World) {
		early(w)
		if err := w.Stack.StartService(t.Context(), allinone.Submitter+"-2"); err != nil {
			t.Fatal(err)
		}
		jobs := func() int { return len(w.Stack.Ledger("minimax").Jobs()) }
		w.Publish(video, v1Request("before", ""))
		w.Settle(time.Second)
		setCap(t, w, bucket.ProjectScope("demo"), `{"daily_usd":1.5}`) // five clips, one of them paid for already
		w.Publish(video, v1Request("refused", `{"submit":"refuse_2013"}`))
		const many = 9
		for i := range many {
			w.Publish(video, v1Request(fmt.Sprint("t", i), "", `,"timeout":"40h"`))
		}
		w.Publish("reelay.request.other.video", v1Request("free", ""))
		w.Settle(10 * time.Minute)
		if n := jobs(); n != 6 {
			t.Errorf("%d clips were paid for, want 5 of the project with the cap and one of the other", n)
		}
		blocked := 0
		for i := range many {
			task := w.Get("demo", fmt.Sprint("t", i))
			if task.Status == events.StatusCompleted {
				continue
			}
			blocked++
			if task.Phase != events.PhaseWaiting || len(task.Attempts) != 0 {
				t.Errorf("%s is %s with %d attempts", task.ID, task.Phase, len(task.Attempts))
			}
			published := 0
			for _, e := range w.Story("demo", task.ID) {
				if e.Type == events.EventProgress &&
					strings.Contains(e.Message, "the budget of project demo is used up: 1.5 US dollars") {
					published++
				}
			}
			if published != 1 {
				t.Errorf("%s: published %d times that it is blocked", task.ID, published)
			}
			var r events.TaskReply
			if e := w.Ask(&r, events.VerbGet, "", "demo", task.ID); e != nil || r.Task.Blocked == nil ||
				r.Task.Blocked.Reason != events.BlockedCap || r.Task.Blocked.Until == nil || r.Task.ETA != nil {
				t.Errorf("%s: %v, blocked by %+v, ends at %v", task.ID, e, r.Task.Blocked, r.Task.ETA)
			}
		}
		if blocked != many-4 {
			t.Errorf("%d are blocked, want %d", blocked, many-4)
		}
		var q events.QueueReply
		if e := w.Ask(&q, events.VerbQueue, ""); e != nil || !slices.ContainsFunc(q.Lanes, func(l events.LaneQueue) bool {
			return len(l.Blocked) == 1 && l.Blocked[0].Reason == events.BlockedCap && l.Blocked[0].Project == "demo" &&
				strings.Contains(l.Blocked[0].Message, " tasks wait: the budget of project demo is used up: 1.5 US dollars")
		}) {
			t.Errorf("%v, the lanes are blocked by %+v", e, q.Lanes)
		}
		var r events.SpendReply
		if e := w.Ask(&r, events.VerbSpend, "", "demo"); e != nil || len(r.Caps) != 1 ||
			cents(r.Caps[0].ReservedUSD) != 1.4 || cents(r.Total.SpentUSD) != 1.4 {
			t.Errorf("spend answers %+v, %v", r, e)
		}
		setCap(t, w, bucket.ProjectScope("demo"), `{"daily_usd":100}`)
		for i := range many {
			w.AwaitEnd("demo", fmt.Sprint("t", i))
		}
		if n := jobs(); n != many+2 {
			t.Errorf("%d clips were paid for, want %d", n, many+2)
		}
	})
}

// TestDoubtStaysTaken: what may have been paid for is not given back to a cap, also while nobody counts the records
// into it.
func TestDoubtStaysReservedLong(t *testing.T) {
	long.Only(t)
	sim.Run(t, sim.Options{}, func(t *testing.T, w *sim.World) {
		early(w)
		setCap(t, w, bucket.ProjectScope("demo"), `{"daily_usd":0.3}`) // one clip
		if err := w.Stack.StopService(allinone.Status); err != nil {
			t.Fatal(err)
		}
		w.Publish(video, v1Request("a", `{"submit":"accept_then_500"}`))
		w.Settle(time.Second)
		w.Publish(video, v1Request("b", ""))
		w.Settle(5 * time.Minute)
		if n := len(w.Stack.Ledger("minimax").Jobs()); n != 1 {
			t.Errorf("%d clips were paid for, want 1", n)
		}
		if err := w.Stack.StartService(t.Context(), allinone.Status); err != nil {
			t.Fatal(err)
		}
		w.Settle(time.Second)
		if a, b := w.Get("demo", "a"), w.Get("demo", "b"); a.Attempt().Outcome != events.AttemptInDoubt ||
			b.Phase != events.PhaseWaiting {
			t.Errorf("a is %s, b is %s", a.Attempt().Outcome, b.Phase)
		}
		setCap(t, w, bucket.ProjectScope("demo"), `{"daily_usd":1}`)
		w.AwaitEnd("demo", "b")
	})
}

// TestCapUnderFaultsLong: two submitters under random faults, with crashes at any write, never pay for more than the cap of
// the day, and when all is quiet the cap is used as far as the records say, and no further.
func TestCapUnderFaultsLong(t *testing.T) {
	long.Only(t)
	prices, _ := emulatedPrices(t)
	for seed := range uint64(2) {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			chaos := sim.NewChaos(seed + 100)
			sim.Run(t, sim.Options{
				Quiet: true, WrapTransport: chaos.Transport, WrapConn: chaos.Conn, Faults: chaos.Plan,
				Pipeline: prices,
			},
				func(t *testing.T, w *sim.World) {
					early(w)
					const limit = 3.0
					for _, s := range []bucket.Scope{bucket.ProjectScope("demo"), bucket.AllScope} {
						setCap(t, w, s, fmt.Sprintf(`{"daily_usd":%v}`, limit))
					}
					if err := w.Stack.StartService(t.Context(), allinone.Submitter+"-2"); err != nil {
						t.Fatal(err)
					}
					var ids []string
					for i := range 14 {
						id := fmt.Sprintf("c%d", i)
						ids = append(ids, id)
						policy := chaos.Pick(`,"timeout":"3h"`, `,"timeout":"3h","on_in_doubt":"fail"`,
							`,"timeout":"3h","on_in_doubt":"resubmit","max_paid_attempts":2`)
						body := chaos.Pick(falRequest(id, "", policy), v1Request(id, "", policy), v2Request(id, "", policy),
							v1Request(id, `{"submit":"accept_then_500"}`, policy))
						w.Publish(video, marked(id, body))
						w.Settle(chaos.Between(0, 20*time.Second))
						if i%4 == 0 {
							name := chaos.Pick(allinone.Submitter, allinone.Submitter+"-2")
							chaos.Kill(name)
							w.Stack.CrashService(name)
							w.Settle(chaos.Between(0, 30*time.Second))
							if err := w.Stack.StartService(t.Context(), name); err != nil {
								t.Fatal(err)
							}
						}
					}
					w.Settle(10 * time.Minute)
					chaos.Heal()
					w.Settle(30 * time.Minute)
					paid := 0.0
					for _, p := range []string{"fal", "minimax"} {
						for _, j := range w.Stack.Ledger(p).Jobs() {
							paid += j.PriceUSD
						}
					}
					if cents(paid) > limit {
						t.Errorf("jobs of %v USD were bought, the cap is %v", cents(paid), limit)
					}
					if paid == 0 {
						t.Error("nothing was bought: the test shows nothing")
					}
					reserved := 0.0
					for _, id := range ids {
						for _, a := range w.Get("demo", id).Attempts {
							if a.Charge != events.ChargeNone {
								reserved += *a.CostUSD
							}
						}
					}
					var r events.SpendReply
					if e := w.Ask(&r, events.VerbSpend, ""); e != nil || len(r.Caps) != 2 {
						t.Fatalf("%+v, %v", r, e)
					}
					for _, c := range r.Caps {
						if cents(c.ReservedUSD) != cents(reserved) || c.ReservedUSD > limit {
							t.Errorf("%s: %v are reserved, the records say %v", c.Scope, c.ReservedUSD, cents(reserved))
						}
					}
					t.Logf("bought for %.2f, reserved %.2f of %.2f", paid, reserved, limit)
				})
		})
	}
}
