package sim_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/config"
	"reelay/internal/provider/registry"
	"reelay/internal/test/sim"
)

// comfyRequest asks a ComfyUI for a video by a graph with a prompt.
func comfyRequest(id, prompt, emulate string) string {
	return fmt.Sprintf(`{"id":%q,"provider":"comfy","model":"wan-t2v","input":{"6":{"class_type":"CLIPTextEncode","inputs":{"text":%q}},`+
		`"9":{"class_type":"SaveVideo","inputs":{}},"emulate":%s}}`, id, prompt, orEmpty(emulate))
}

// TestComfy: a graph is made and costs nothing, what its nodes have saved is kept, and what is lost on the way to a server of
// one's own, or with it, is settled without a person.
func TestComfy(t *testing.T) {
	sim.Run(t, sim.Options{}, func(t *testing.T, w *sim.World) {
		w.Publish(video, comfyRequest("made", "p", ""))
		if got := w.AwaitEnd("demo", "made"); got.Status != events.StatusCompleted || len(got.Result.Outputs) != 1 ||
			*got.Cost.ActualUSD != 0 || got.ProviderID != w.Stack.Ledger("comfy").Jobs()[0].ID {
			t.Errorf("made: %s %+v %+v %+v", got.Status, got.Result, got.Cost, got.Error)
		}
		w.Publish(video, comfyRequest("unanswered", "p", `{"submit":"accept_then_hang"}`))
		if got := w.AwaitEnd("demo", "unanswered"); got.Status != events.StatusCompleted || len(got.Attempts) != 1 || !byList(got) {
			t.Errorf("unanswered: %s after %d attempts, %+v", got.Status, len(got.Attempts), got.Error)
		}
		w.Publish(video, comfyRequest("lost", "p", `{"polls":"not_found"}`))
		if got := w.AwaitEnd("demo", "lost"); got.Error == nil || got.Error.Code != events.CodeTaskLost ||
			got.Error.Charge != events.ChargeNone {
			t.Errorf("lost: %s %+v", got.Status, got.Error)
		}
		w.Publish(video, comfyRequest("cancelled", "p", `{"stall":"queued"}`))
		w.Await("demo", "cancelled", isOut)
		var reply events.TaskReply
		if e := w.Ask(&reply, events.VerbCancel, "", "demo", "cancelled"); e != nil {
			t.Fatal(e)
		}
		if got := w.AwaitEnd("demo", "cancelled"); got.Status != events.StatusCancelled {
			t.Errorf("cancelled: %s %+v", got.Status, got.Error)
		}
	})
	doubtful(t, sim.Options{}, []fate{neverArrives}, func(t *testing.T, w *sim.World) {
		begin := time.Now()
		w.Publish(video, comfyRequest("unheard", "p", ""))
		got := w.AwaitEnd("demo", "unheard")
		if got.Status != events.StatusCompleted || len(got.Attempts) != 2 || len(w.Stack.Ledger("comfy").Jobs()) != 1 {
			t.Errorf("unheard: %s after %d attempts: %+v", got.Status, len(got.Attempts), got.Error)
		}
		if took := time.Since(begin); took > 30*time.Minute {
			t.Errorf("unheard: %v", took)
		}
	})
}

// TestComfyV2: a lost answer is found in the list of the core, and a request that never arrived is sent again under its key,
// under which nothing could be begun twice.
func TestComfyV2(t *testing.T) {
	lane := []config.Lane{{Name: "v2", Provider: "comfy", URL: "http://" + registry.Find("comfy").Emulator + "/api/v2"}}
	request := func(id string) string {
		return strings.Replace(comfyRequest(id, id, ""), `"provider":"comfy"`, `"provider":"v2"`, 1)
	}
	doubtful(t, sim.Options{Lanes: lane}, []fate{losesReply, neverArrives}, func(t *testing.T, w *sim.World) {
		w.Publish(video, request("lost"))
		if got := w.AwaitEnd("demo", "lost"); got.Status != events.StatusCompleted || len(got.Attempts) != 1 || !byList(got) ||
			len(got.Result.Outputs) != 1 {
			t.Errorf("lost: %s after %d attempts, %+v %+v", got.Status, len(got.Attempts), got.Result, got.Error)
		}
		w.Publish(video, request("unheard"))
		if got := w.AwaitEnd("demo", "unheard"); got.Status != events.StatusCompleted || len(got.Attempts) != 2 {
			t.Errorf("unheard: %s after %d attempts: %+v", got.Status, len(got.Attempts), got.Error)
		}
		if jobs := w.Stack.Ledger("comfy").Jobs(); len(jobs) != 2 {
			t.Errorf("%d jobs for two tasks", len(jobs))
		}
	})
}
