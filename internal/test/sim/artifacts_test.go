package sim_test

import (
	"encoding/json"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/test/sim"
)

// TestStored: what a task has made is measured and stored after its end, told once, and handed out.
func TestStored(t *testing.T) {
	sim.Run(t, sim.Options{Artifacts: true, Quiet: true}, func(t *testing.T, w *sim.World) {
		for _, row := range []struct{ id, body string }{
			{"plain", `"keep":null`}, {"required", `"keep":"required"`},
		} {
			w.Publish(events.RequestSubject("demo", events.Video), `{"id":"`+row.id+`","provider":"fal","model":"fal-ai/kling-video/v3/pro/text-to-video",`+
				`"input":{"prompt":"a kite"},`+row.body+`}`)
		}
		w.Settle(10 * time.Minute)
		for _, id := range []string{"plain", "required"} {
			k := events.Key{Project: "demo", ID: id}
			story := w.Story("demo", id)
			last := story[len(story)-1]
			if last.Type != events.EventStored || last.Task == nil || !last.Task.Result.Outputs[0].IsStored() {
				t.Fatalf("%s: the story is %v", id, sim.Types(story))
			}
			if o := last.Task.Result.Outputs[0]; o.Width != 160 || o.Height != 90 || o.DurationS != 2 {
				t.Errorf("%s: the video has %dx%d for %v s", id, o.Width, o.Height, o.DurationS)
			}
			completed := story[len(story)-2]
			if completed.Type != events.EventCompleted || completed.Task.Result.Outputs[0].IsStored() != (id == "required") {
				t.Errorf("%s: the story is %v, completed with stored %v", id, sim.Types(story),
					completed.Task.Result.Outputs[0].IsStored())
			}
			msg, err := w.NC.Request(events.APISubject(events.VerbLinks, k.Project, k.ID), nil, 10*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			var links events.LinksReply
			if err := json.Unmarshal(msg.Data, &links); err != nil || len(links.Links) != 1 {
				t.Fatalf("%s: links %s, %v", id, msg.Data, err)
			}
		}
	})
}
