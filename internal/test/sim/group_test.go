package sim_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/config"
	"reelay/internal/group"
	"reelay/internal/test/sim"
)

// TestGroup: tasks of a group are dealt to its lanes. What waits on a lane that is paused is sent by the other, once,
// and the record says which and why.
func TestGroup(t *testing.T) {
	const perLane = 2 // in flight, by the provider's own limit
	sim.Run(t, sim.Options{
		Lanes:  []config.Lane{{Name: "gpu1", Provider: "openai-videos"}, {Name: "gpu2", Provider: "openai-videos"}},
		Groups: []group.Group{{Name: "gpu", Members: []group.Member{{Lane: "gpu1", Weight: 1}, {Lane: "gpu2", Weight: 1}}}},
	}, func(t *testing.T, w *sim.World) {
		ask := func(id string) {
			w.Publish(video, `{"id":"`+id+`","provider":"gpu","want":{"prompt":"`+id+`"}}`)
			time.Sleep(5 * time.Second)
		}
		on := map[string]int{}
		for i := range 2 * perLane {
			ask(fmt.Sprint("first", i))
			got := w.Get("demo", fmt.Sprint("first", i))
			if on[got.Lane]++; got.Group != "gpu" || len(got.Attempts) != 1 || got.Attempts[0].Lane != got.Lane {
				t.Errorf("%s is on lane %s of group %q with %+v", got.ID, got.Lane, got.Group, got.Attempts)
			}
		}
		if on["gpu1"] != perLane || on["gpu2"] != perLane {
			t.Errorf("the lanes got %v, want %d each", on, perLane)
		}
		for i := range 2 {
			ask(fmt.Sprint("waits", i))
		}
		stopped := w.Get("demo", "waits0").Lane
		other := map[string]string{"gpu1": "gpu2", "gpu2": "gpu1"}[stopped]
		if p := w.Get("demo", "waits1"); p.Phase != events.PhaseWaiting || p.Lane != other {
			t.Errorf("waits1 is %s on %s, want it to wait on %s", p.Phase, p.Lane, other)
		}
		setLane(t, w, stopped, `{"paused":true,"reason":"a fan is broken","by":"ann"}`)
		time.Sleep(time.Second)
		ask("late")
		if got := w.Get("demo", "late"); got.Lane != other {
			t.Errorf("a task that came after the pause has lane %s", got.Lane)
		}
		for _, id := range []string{"waits0", "waits1", "late"} {
			got := w.AwaitEnd("demo", id)
			if got.Status != events.StatusCompleted || got.Lane != other || len(got.Attempts) != 1 {
				t.Errorf("%s: %s on lane %s after %d attempts: %+v", id, got.Status, got.Lane, len(got.Attempts), got.Error)
			}
			note := ""
			for _, tr := range got.Transitions {
				if tr.Name == "intend" {
					note = tr.Note
				}
			}
			if id == "waits0" && !(strings.Contains(note, "lane "+other+" of the group gpu") &&
				strings.Contains(note, "a fan is broken")) {
				t.Errorf("%s was sent by another lane for %q", id, note)
			}
		}
	})
}
