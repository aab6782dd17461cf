package sim_test

import (
	"strings"
	"testing"

	"reelay/events"
	"reelay/internal/config"
	"reelay/internal/test/sim"
)

// TestAccounts: a second account at a provider is a lane of its own, whose tasks are sent by it and ended by its webhooks. A request that names the provider goes to the account of its name.
func TestAccounts(t *testing.T) {
	second := []config.Lane{{Name: "fal-team2", Provider: "fal"}}
	sim.Run(t, sim.Options{Lanes: second, Webhooks: true}, func(t *testing.T, w *sim.World) {
		for id, lane := range map[string]string{"first": "fal", "second": "fal-team2"} {
			w.Publish(video, strings.Replace(falRequest(id, ""), `"provider":"fal"`, `"provider":"`+lane+`"`, 1))
		}
		for id, lane := range map[string]string{"first": "fal", "second": "fal-team2"} {
			got := w.AwaitEnd("demo", id)
			if got.Status != events.StatusCompleted || got.Lane != lane || got.Provider != "fal" || len(got.Attempts) != 1 {
				t.Errorf("%s: %s on %s of %s after %d attempts, %+v", id, got.Status, got.Lane, got.Provider, len(got.Attempts), got.Error)
			}
			if last := got.Transitions[len(got.Transitions)-1]; !got.Attempts[0].Callback || last.By != "callback" {
				t.Errorf("%s was ended by %s, callback named: %v", id, last.By, got.Attempts[0].Callback)
			}
		}
	})
}
