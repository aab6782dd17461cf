package sim_test

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/internal/allinone"
	"reelay/internal/failpoint"
	"reelay/internal/test/long"
	"reelay/internal/test/sim"
)

// A death cuts one service off at a named point, for good: that write and all that follow are lost, until it is started
// again.
type death struct {
	service, point string
	outcome        failpoint.Outcome // of the write at the point itself
	dead, over     atomic.Bool
}

func (d *death) plan(service string) failpoint.Plan {
	if service != d.service {
		return nil
	}
	return func(point string) failpoint.Outcome {
		switch {
		case d.over.Load():
			return failpoint.Outcome{}
		case d.dead.Load():
			return failpoint.Outcome{Lose: true}
		case point != d.point:
			return failpoint.Outcome{}
		}
		d.dead.Store(true)
		return d.outcome
	}
}

// restart waits for the death, ends what is left of the service, lets time pass and starts the service again.
func (d *death) restart(w *sim.World, pause time.Duration) {
	w.T.Helper()
	for range 600 {
		if d.dead.Load() {
			break
		}
		time.Sleep(time.Second)
	}
	if !d.dead.Load() {
		w.T.Fatalf("%s has not reached %s", d.service, d.point)
	}
	w.Settle(time.Second) // as far as it gets without a write
	w.Stack.CrashService(d.service)
	w.Settle(pause)
	d.over.Store(true)
	if err := w.Stack.StartService(w.T.Context(), d.service); err != nil {
		w.T.Fatal(err)
	}
}

// TestExpiredWhileNobodyLooks: a heartbeat ends a waiting task, its event is lost, and the poller stays away for longer
// than a fired heartbeat is kept.
func TestExpiredWhileNobodyPolls(t *testing.T) {
	d := &death{service: allinone.Poller, point: "publish/failed", outcome: failpoint.Outcome{Lose: true}}
	sim.Run(t, sim.Options{Faults: d.plan}, func(t *testing.T, w *sim.World) {
		setLane(t, w, "fal", `{"paused":true}`) // so it waits, and the submitter leaves it alone
		w.Publish(video, falRequest("a", "", `,"timeout":"3m"`))
		for !d.dead.Load() {
			time.Sleep(time.Second)
		}
		if got := sim.Types(w.Story("demo", "a")); slices.Contains(got, events.EventFailed) {
			t.Fatalf("the event was not lost: %v", got)
		}
		d.restart(w, 20*time.Minute)
		w.Settle(10 * time.Minute)
		want := []events.EventType{events.EventQueued, events.EventFailed}
		if got := sim.Types(w.Story("demo", "a")); !slices.Equal(got, want) {
			t.Errorf("story %v, want %v", got, want)
		}
		if task := w.Get("demo", "a"); task.Unannounced || task.Error.Code != events.CodeDeadlineExceeded {
			t.Errorf("unannounced %v, %+v", task.Unannounced, task.Error)
		}
	})
}

// TestSubmitterDies at each step between the journal's first line and the record of the answer: nobody's hand is
// needed, it is paid for once, and what provably did not leave is sent again.
func TestSubmitterDies(t *testing.T) {
	lose, loseAnswer := failpoint.Outcome{Lose: true}, failpoint.Outcome{LoseAnswer: true}
	rows := []struct {
		name, point string
		outcome     failpoint.Outcome
		attempts    int // how many the record has in the end
		jobs        int // paid for at the moment of the death
		inDoubt     bool
	}{
		{"before the journal", "journal.begin", lose, 1, 0, false},
		{"between journal and intent", "put/submitting", lose, 1, 0, false},
		{"before the intent is acknowledged", "put/submitting", loseAnswer, 2, 0, false},
		{"between intent and gate", "journal.gate", lose, 2, 0, false},
		{"between gate and answer", "journal.answer", lose, 1, 1, true},
		{"between answer and record", "put/provider_queued", lose, 1, 1, false},
		{"before the record is acknowledged", "put/provider_queued", loseAnswer, 1, 1, false},
		{"before the journal knows of the record", "journal.done", lose, 1, 1, false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			d := &death{service: allinone.Submitter, point: row.point, outcome: row.outcome}
			sim.Run(t, sim.Options{Faults: d.plan}, func(t *testing.T, w *sim.World) {
				w.Publish(video, falRequest("a", "", `,"timeout":"20m"`))
				d.restart(w, 10*time.Second)
				if n := len(w.Stack.Ledger("fal").Jobs()); n != row.jobs {
					t.Errorf("paid for %d times at its death, want %d", n, row.jobs)
				}
				task := w.AwaitEnd("demo", "a")
				if task.Status != events.StatusCompleted {
					t.Errorf("ended as %s: %+v", task.Status, task.Error)
				}
				if len(task.Attempts) != row.attempts || wasInDoubt(task) != row.inDoubt {
					t.Errorf("in doubt %v, attempts %+v", wasInDoubt(task), task.Attempts)
				}
				if row.attempts == 2 &&
					(task.Attempts[0].Outcome != events.AttemptReleased || task.Attempts[0].Charge != events.ChargeNone) {
					t.Errorf("the first attempt, which provably did not leave, is %+v", task.Attempts[0])
				}
				if n := len(w.Stack.Ledger("fal").Jobs()); n != 1 {
					t.Errorf("paid for %d times", n)
				}
				if took := task.CompletedAt.Sub(task.CreatedAt); took > 8*time.Minute {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// TestLostOnce: one write is lost, or its answer, and the service lives on: what asked for it is not done before it is
// stored, nothing is sent without the answer to its intent, and the task is paid for once and soon over.
func TestLostOnce(t *testing.T) {
	lose, loseAnswer := failpoint.Outcome{Lose: true}, failpoint.Outcome{LoseAnswer: true}
	rows := []struct {
		name, service, point string
		outcome              failpoint.Outcome
		attempts             int
	}{
		{"the record of a request", allinone.Submitter, "put/waiting", lose, 1},
		{"an intent", allinone.Submitter, "put/submitting", lose, 1},
		{"the answer to an intent", allinone.Submitter, "put/submitting", loseAnswer, 2},
		{"what a poll has seen", allinone.Poller, "put/done", lose, 1},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			var lost atomic.Bool
			faults := func(service string) failpoint.Plan {
				return func(point string) failpoint.Outcome {
					if service != row.service || point != row.point || lost.Swap(true) {
						return failpoint.Outcome{}
					}
					return row.outcome
				}
			}
			sim.Run(t, sim.Options{Faults: faults}, func(t *testing.T, w *sim.World) {
				w.Publish(video, falRequest("a", `{"queue_ms":1000,"run_ms":20000}`))
				w.Settle(2 * time.Minute)
				task := w.Get("demo", "a")
				if !lost.Load() || task.Status != events.StatusCompleted || len(task.Attempts) != row.attempts {
					t.Errorf("lost %v, ended as %s after %+v", lost.Load(), task.Status, task.Attempts)
				}
				if n := len(w.Stack.Ledger("fal").Jobs()); n != 1 {
					t.Errorf("paid for %d times", n)
				}
			})
		})
	}
}

// TestOrphanStaysInTheJournalLong: the answer to a paid request outlives a broker that has lost the task, start after
// start, until a broker knows it again.
func TestOrphanStaysInTheJournalLong(t *testing.T) {
	long.Only(t)
	d := &death{service: allinone.Submitter, point: "put/provider_queued", outcome: failpoint.Outcome{Lose: true}}
	sim.Run(t, sim.Options{Faults: d.plan}, func(t *testing.T, w *sim.World) {
		restart := func() {
			t.Helper()
			if err := w.Stack.StopService(allinone.Submitter); err != nil {
				t.Fatal(err)
			}
			if err := w.Stack.StartService(t.Context(), allinone.Submitter); err != nil {
				t.Fatal(err)
			}
			w.Settle(time.Second)
		}
		records, err := w.JS.Stream(t.Context(), events.StreamTasks)
		if err != nil {
			t.Fatal(err)
		}
		const subject = "$KV.reelay_tasks.demo.a"
		w.Publish(video, falRequest("a", "", `,"timeout":"6h"`))
		for !d.dead.Load() {
			time.Sleep(time.Second)
		}
		kept, err := records.GetLastMsgForSubject(t.Context(), subject)
		if err != nil {
			t.Fatal(err)
		}
		if err := records.Purge(t.Context(), jetstream.WithPurgeSubject(subject)); err != nil {
			t.Fatal(err)
		}
		d.restart(w, 10*time.Second)
		for range 3 {
			w.Settle(time.Hour)
			restart()
		}
		if n := len(w.Tasks()); n != 0 {
			t.Fatalf("the broker knows %d tasks", n)
		}
		header := nats.Header{}
		for _, k := range []string{"Nats-Schedule", "Nats-Schedule-Target", "Nats-Schedule-TTL"} {
			if v := kept.Header.Get(k); v != "" {
				header.Set(k, v)
			}
		}
		if _, err := w.JS.PublishMsg(t.Context(), &nats.Msg{Subject: subject, Data: kept.Data, Header: header}); err != nil {
			t.Fatal(err)
		}
		restart()
		task := w.AwaitEnd("demo", "a")
		jobs := w.Stack.Ledger("fal").Jobs()
		if task.Status != events.StatusCompleted || len(jobs) != 1 || task.ProviderID != jobs[0].ID {
			t.Errorf("ended as %s with %q and %d jobs: %+v", task.Status, task.ProviderID, len(jobs), task.Error)
		}
		if wasInDoubt(task) || byList(task) {
			t.Errorf("the journal has forgotten the answer, the list has brought it:\n%s", evidence(task))
		}
	})
}

// TestStormBuysLittle: a provider accepts every request and breaks every connection. Three of those in a row stop the
// lane, save for what is out already; then each minute tries one.
func TestStormBuysLittle(t *testing.T) {
	sim.Run(t, sim.Options{}, func(t *testing.T, w *sim.World) {
		const (
			tasks    = 20
			row      = 3 // submits in doubt
			inFlight = 4
		)
		for i := range tasks {
			w.Publish(video, falRequest(fmt.Sprint("t", i), `{"submit":"accept_then_reset"}`, `,"timeout":"6h"`))
		}
		w.Settle(30 * time.Second)
		first := len(w.Stack.Ledger("fal").Jobs())
		if first < row || first > row+inFlight-1 {
			t.Errorf("%d were bought at once", first)
		}
		for minute := range 5 {
			w.Settle(time.Minute)
			if n := len(w.Stack.Ledger("fal").Jobs()); n != first+minute+1 {
				t.Errorf("%d were bought in the %d minutes after the first %d", n-first, minute+1, first)
			}
		}
		waiting := 0
		for _, task := range w.Tasks() {
			if task.Phase == events.PhaseWaiting {
				waiting++
			}
		}
		if waiting != tasks-first-5 {
			t.Errorf("%d of %d are waiting, %d were sent", waiting, tasks, first+5)
		}
	})
}
