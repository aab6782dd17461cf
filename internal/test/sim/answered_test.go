package sim_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/test/sim"
)

// asked is a request to MiniMax with an input's members and a script.
func asked(id, model, members, emulate string, extra ...string) string {
	return fmt.Sprintf(`{"id":%q,"provider":"minimax","model":%q,"input":{%s,"emulate":%s}%s}`, id, model, members,
		orEmpty(emulate), strings.Join(extra, ""))
}

const (
	speechMembers = `"text":"good evening","voice_setting":{"voice_id":"English_expressive_narrator"}`
	cloneMembers  = `"file_id":176844028768320`
)

// TestAnsweredWithTheResult: what is answered with its result ends at once; what of it is lost is told as what it is.
func TestAnsweredWithTheResult(t *testing.T) {
	const lost = `{"submit":"accept_then_reset"}`
	for name, row := range map[string]struct {
		taskType events.TaskType
		body     string
		status   events.Status
		charge   events.Charge
		attempts int
		outputs  int
		values   int
		usd      float64 // what the record says that it cost, where that is known
		least    time.Duration
	}{
		"a song": {
			events.Music, asked("a", "music-2.6", `"prompt":"a waltz"`, `{"run_ms":180000}`), events.StatusCompleted, "", 1, 1, 0,
			0.15, 3 * time.Minute,
		},
		"speech": {
			events.Speech, asked("a", "t2a_v2/speech-2.8-hd", speechMembers, ""), events.StatusCompleted, "", 1, 1, 0, 0.0012, 0,
		},
		"speech with a task": {
			events.Speech, asked("a", "speech-2.8-hd", speechMembers, ""), events.StatusCompleted, "", 1, 2, 0, 0.0012, 0,
		},
		"pictures": {
			events.Image, asked("a", "image-01", `"prompt":"a kite","n":3`, ""), events.StatusCompleted, "", 1, 3, 0, 0.0105, 0,
		},
		"a voice": {
			events.Voice, asked("a", "voice_clone", cloneMembers, ""), events.StatusCompleted, "", 1, 0, 1, 1.5, 0,
		},
		"a song whose output was refused": {
			events.Music, asked("a", "music-2.6", `"prompt":"a waltz"`, `{"fail":"1027"}`), events.StatusFailed,
			events.ChargePossible, 1, 0, 0, 0, 0,
		},
		"a song that was refused": {
			events.Music, asked("a", "music-2.6", `"prompt":"#1026"`, ""), events.StatusFailed, events.ChargeNone, 1, 0, 0, 0, 0,
		},
		"a lost answer": {
			events.Music, asked("a", "music-2.6", `"prompt":"a waltz"`, lost), events.StatusFailed, events.ChargePossible, 1, 0, 0,
			0, 10 * time.Minute,
		},
		"a lost answer that may be asked for again": {
			events.Voice, asked("a", "voice_clone", cloneMembers, lost), events.StatusCompleted, "", 2, 0, 1, 0, 10 * time.Minute,
		},
	} {
		t.Run(name, func(t *testing.T) {
			sim.Run(t, sim.Options{}, func(t *testing.T, w *sim.World) {
				begin := time.Now()
				w.Publish(events.RequestSubject("demo", row.taskType), row.body)
				task := w.AwaitEnd("demo", "a")
				if task.Status != row.status || len(task.Attempts) != row.attempts || time.Since(begin) < row.least {
					t.Fatalf("%s after %v and %d attempts: %+v", task.Status, time.Since(begin), len(task.Attempts), task.Error)
				}
				if task.Error != nil && task.Error.Charge != row.charge {
					t.Errorf("charge %s, want %s", task.Error.Charge, row.charge)
				}
				if r := task.Result; row.status == events.StatusCompleted &&
					(len(r.Outputs) != row.outputs || len(r.Values) != row.values) {
					t.Errorf("outputs %v, values %v", r.Outputs, r.Values)
				}
				if row.usd > 0 && (task.Cost.ActualUSD == nil || *task.Cost.ActualUSD != row.usd) {
					t.Errorf("cost %+v, want %v", task.Cost, row.usd)
				}
				paid := 1
				if row.charge == events.ChargeNone {
					paid = 0
				}
				if jobs := w.Stack.Ledger("minimax").Jobs(); len(jobs) != paid {
					t.Errorf("it was paid for %d times", len(jobs))
				}
				story := sim.Types(w.Story("demo", "a"))
				if slices.Index(story, events.EventSubmitted) > slices.Index(story, events.EventCompleted) &&
					row.status == events.StatusCompleted {
					t.Errorf("story %v", story)
				}
			})
		})
	}
}

// TestLostResultHeld: who wants to decide about a lost answer is asked.
func TestLostResultHeld(t *testing.T) {
	sim.Run(t, sim.Options{}, func(t *testing.T, w *sim.World) {
		w.Publish(events.RequestSubject("demo", events.Music),
			asked("a", "music-2.6", `"prompt":"a waltz"`, `{"submit":"accept_then_reset"}`, `,"on_in_doubt":"hold"`))
		w.Await("demo", "a", isParked)
		var reply events.TaskReply
		if e := w.Ask(&reply, events.VerbResolve, `{"action":"adopt","provider_id":"7"}`, "demo", "a"); e == nil ||
			e.Code != events.CodeInvalidRequest {
			t.Errorf("an answer that nobody can ask for was adopted: %+v", e)
		}
		if e := w.Ask(&reply, events.VerbResolve, `{"action":"write_off"}`, "demo", "a"); e != nil {
			t.Fatal(e)
		}
		if task := w.AwaitEnd("demo", "a"); task.Error.Charge != events.ChargePossible {
			t.Errorf("ended as %s: %+v", task.Status, task.Error)
		}
	})
}
