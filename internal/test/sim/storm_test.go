package sim_test

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/failpoint"
	"reelay/internal/test/sim"
)

// stormConn is a connection of a paid request whose script the emulator follows as long as there is a storm: its name is
// made unknown after that.
type stormConn struct {
	net.Conn
	until *time.Time
}

func (c stormConn) Write(p []byte) (int, error) {
	time.Sleep(200 * time.Millisecond) // an answer takes its time
	if c.until.IsZero() || time.Now().Before(*c.until) {
		return c.Conn.Write(p)
	}
	return c.Conn.Write(bytes.ReplaceAll(p, []byte(`"emulate":`), []byte(`"weather":`)))
}

// slowDisk is a journal whose writes take their time.
func slowDisk(point string) failpoint.Outcome {
	if strings.HasPrefix(point, "journal.") {
		return failpoint.Outcome{Pause: 20 * time.Millisecond}
	}
	return failpoint.Outcome{}
}

// TestRateLimitStorm: while a provider, or a gateway before it, answers every paid request with 429, tasks wait. After
// that all complete in the order in which they were asked for, but for those that are on their way together; nothing is in doubt, held, paused or paid for twice.
func TestRateLimitStorm(t *testing.T) {
	const storm, tasks = 150 * time.Second, 8
	for _, row := range []struct {
		name, lane, refusal string
		request             func(id, emulate string, fields ...string) string
	}{
		{"fal", "fal", "refuse_429", falRequest},
		{"a gateway before fal", "fal", "refuse_429_html", falRequest},
		{"MiniMax V1", "minimax", "refuse_1002", v1Request},
		{"a gateway before MiniMax V2", "minimax", "refuse_429_html", v2Request},
	} {
		t.Run(row.name, func(t *testing.T) {
			var until time.Time
			o := sim.Options{
				Quiet: true, WrapConn: func(c net.Conn) net.Conn { return stormConn{c, &until} },
				Faults: func(string) failpoint.Plan { return slowDisk },
			}
			sim.Run(t, o, func(t *testing.T, w *sim.World) {
				until = time.Now().Add(storm)
				for i := range tasks {
					w.Publish(video, row.request(fmt.Sprint("t", i), fmt.Sprintf(`{"submit":%q}`, row.refusal)))
					w.Settle(time.Second)
				}
				var last time.Time
				for i := range tasks {
					id := fmt.Sprint("t", i)
					task := w.AwaitEnd("demo", id)
					if task.Status != events.StatusCompleted || wasInDoubt(task) {
						t.Fatalf("%s is %s: %+v", id, task.Status, task.Transitions)
					}
					for _, a := range task.Attempts[:len(task.Attempts)-1] {
						if a.Charge != events.ChargeNone {
							t.Errorf("%s: a refused attempt holds money: %+v", id, a)
						}
					}
					if task.SubmittedAt.Before(last.Add(-time.Second)) {
						t.Errorf("%s was accepted %v before the one asked for before it", id, last.Sub(*task.SubmittedAt))
					}
					last = slices.MaxFunc([]time.Time{last, *task.SubmittedAt}, time.Time.Compare)
				}
				if late := last.Sub(until); late < 0 || late > 8*time.Minute {
					t.Errorf("the last one was accepted %v after the storm", late)
				}
				if jobs := w.Stack.Ledger(row.lane).Jobs(); len(jobs) != tasks {
					t.Errorf("%d jobs for %d tasks", len(jobs), tasks)
				}
				for _, e := range w.Story(events.LanesProject, row.lane) {
					t.Errorf("the lane was %s: %s", e.Type, e.Message)
				}
			})
		})
	}
}
