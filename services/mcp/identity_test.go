package mcp_test

import (
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// The same wish again is the same task, however a client says that it is the same.
func TestSameWish(t *testing.T) {
	run(t, job, func(e *fixture) {
		s := e.agent(studioToken, modern, nil)
		video := func(prompt, requestID, toolUse string) string {
			t.Helper()
			args := map[string]any{"prompt": prompt, "wait_seconds": 0}
			if requestID != "" {
				args["request_id"] = requestID
			}
			p := &sdk.CallToolParams{Name: "generate_video", Arguments: args}
			if toolUse != "" {
				p.Meta = sdk.Meta{"claudecode/toolUseId": toolUse}
			}
			out, failed := e.callWith(e.Context(), s, p)
			if failed {
				t.Fatal(out)
			}
			return out["task_id"].(string)
		}
		if id := video("one", "r1", "u0"); id != "r1" || video("one", "r1", "u9") != id {
			t.Errorf("by request_id: %s", id)
		}
		if id := video("two", "", "u1"); video("two", "", "u1") != id || video("two", "", "u2") == id {
			t.Errorf("by the client's id of the call: %s", id)
		}
		id := video("three", "", "")
		time.Sleep(4 * time.Minute)
		if again := video("three", "", ""); again != id {
			t.Errorf("four minutes later %s is %s", id, again)
		}
		if video("four", "", "") == id {
			t.Error("another wish is the same task")
		}
		e.ok(s, "cancel_task", map[string]any{"task_id": id})
		if got := e.ok(s, "get_task", map[string]any{"task_id": id, "wait_seconds": 50}); got["status"] != "cancelled" {
			t.Fatal(got)
		}
		second := video("three", "", "")
		if second == id {
			t.Error("the same wish after a cancel is the cancelled task")
		}
		time.Sleep(11 * time.Minute)
		if later := video("three", "", ""); later == id || later == second {
			t.Error("a wish of long ago is the same task")
		}
		out, failed := e.call(s, "generate_video", map[string]any{"prompt": "else", "request_id": "r1"})
		if !failed || out["error"].(map[string]any)["code"] != "CONFLICT" {
			t.Errorf("another wish under the same request_id: %v", out)
		}
	})
}

// What is wrong with a call is told so that it can be put right.
func TestInvalidArguments(t *testing.T) {
	run(t, job, func(e *fixture) {
		s := e.agent(studioToken, modern, nil)
		for _, row := range []struct {
			tool, field string
			args        map[string]any
		}{
			{"generate_video", "prompt", map[string]any{"prompt": ""}},
			{"generate_video", "request_id", map[string]any{"prompt": "a", "request_id": "a b"}},
			{"generate_video", "project_id", map[string]any{"prompt": "a", "project_id": "other"}},
			{"generate_video", "last_frame_url", map[string]any{"prompt": "a", "last_frame_url": "https://x.test"}},
			{"generate_image", "prompt", map[string]any{"prompt": ""}},
			{"text_to_audio", "text", map[string]any{"text": ""}},
			{"list_tasks", "project_id", map[string]any{"project_id": "a b"}},
		} {
			out, failed := e.call(s, row.tool, row.args)
			f, _ := out["error"].(map[string]any)
			if !failed || f["code"] != "INVALID_ARGUMENT" || f["field"] != row.field {
				t.Errorf("%s %v: %v", row.tool, row.args, out)
			}
		}
		if n := e.paid("fal"); n != 0 {
			t.Errorf("%d jobs were paid", n)
		}
	})
}
