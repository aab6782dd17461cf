package sim_test

import (
	"strings"
	"testing"

	"reelay/events"
	"reelay/internal/config"
	"reelay/internal/test/sim"
)

// TestAccounts: a second account at a provider is a lane of its own, whose tasks are sent and polled by it, and a lost answer
// is found again. A request that names the provider goes to the account of its name.
func TestAccounts(t *testing.T) {
	second := []config.Lane{{Name: "fal-team2", Provider: "fal"}}
	doubtful(t, sim.Options{Lanes: second, Webhooks: true}, []fate{arrives, losesReply}, func(t *testing.T, w *sim.World) {
		for id, lane := range map[string]string{"first": "fal", "second": "fal-team2"} {
			w.Publish(video, strings.Replace(falRequest(id, ""), `"provider":"fal"`, `"provider":"`+lane+`"`, 1))
		}
		for id, lane := range map[string]string{"first": "fal", "second": "fal-team2"} {
			got := w.AwaitEnd("demo", id)
			if got.Status != events.StatusCompleted || got.Lane != lane || got.Provider != "fal" || len(got.Attempts) != 1 {
				t.Errorf("%s: %s on %s of %s after %d attempts, %+v", id, got.Status, got.Lane, got.Provider, len(got.Attempts), got.Error)
			}
			if named := got.Attempts[0].Callback; named != (lane == "fal") {
				t.Errorf("%s names a callback: %v", id, named)
			}
		}
	})
}
