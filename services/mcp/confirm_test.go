package mcp_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"reelay/internal/config"
)

// overCent asks about whatever costs more than a cent, which every video does.
var overCent = config.MCP{ConfirmOver: 0.01}

// A client of either era that can ask a person does so before what costs much is made, and goes by the answer.
func TestConfirm(t *testing.T) {
	for _, version := range []string{modern, legacy} {
		t.Run(version, func(t *testing.T) {
			runWith(t, job, overCent, func(e *fixture) {
				var asked []string
				approve := true
				s := e.agent(studioToken, version, &sdk.ClientOptions{
					ElicitationHandler: func(_ context.Context, r *sdk.ElicitRequest) (*sdk.ElicitResult, error) {
						asked = append(asked, r.Params.Message)
						return &sdk.ElicitResult{Action: "accept", Content: map[string]any{"approve": approve}}, nil
					},
				})
				wish := map[string]any{"prompt": "a kite", "request_id": "kite", "wait_seconds": 0}
				out := e.ok(s, "generate_video", wish)
				usd, _ := out["estimated_cost_usd"].(float64)
				if out["task_id"] != "kite" || len(asked) != 1 || usd == 0 || !strings.Contains(asked[0], fmt.Sprintf("%.2f", usd)) {
					t.Errorf("asked %q, made %v", asked, out)
				}
				e.ok(s, "generate_video", wish)
				if len(asked) != 1 {
					t.Errorf("a retry asked again: %q", asked)
				}
				approve = false
				out, failed := e.call(s, "generate_video", map[string]any{"prompt": "another", "wait_seconds": 0})
				if f, _ := out["error"].(map[string]any); !failed || f["code"] != "DECLINED" || len(asked) != 2 {
					t.Errorf("declined: %v after %q", out, asked)
				}
				approve = true
				// The limit of the call itself counts too, and what is approved lifts it.
				if out := e.ok(s, "generate_video_from_image", map[string]any{
					"image_url": "https://x.test/a.png", "motion_prompt": "zoom", "return_queue_id": true,
				}); out["queued"] != true || len(asked) != 3 {
					t.Errorf("by the queue proposal's tool: %v after %q", out, asked)
				}
				if out := e.ok(s, "generate_video", map[string]any{"prompt": "b", "max_cost_usd": 0.001, "wait_seconds": 0}); len(asked) != 4 {
					t.Errorf("over max_cost_usd: %v", out)
				}
				time.Sleep(10 * time.Second)
				if n := e.paid("fal"); n != 3 {
					t.Errorf("%d jobs were paid", n)
				}
			})
		})
	}
}

// A client that cannot ask a person is told the cost, and repeats the call with it.
func TestConfirmInWords(t *testing.T) {
	runWith(t, job, overCent, func(e *fixture) {
		s := e.agent(studioToken, modern, nil)
		wish := map[string]any{"prompt": "a kite", "wait_seconds": 0}
		out, failed := e.call(s, "generate_video", wish)
		f, _ := out["error"].(map[string]any)
		usd, _ := f["estimated_cost_usd"].(float64)
		if !failed || f["code"] != "CONFIRM_COST" || f["field"] != "confirm_cost_usd" || usd <= 0.01 {
			t.Fatalf("without approval: %v", out)
		}
		wish["confirm_cost_usd"] = usd * 10
		if out, failed := e.call(s, "generate_video", wish); !failed {
			t.Errorf("with another cost than that of the quote: %v", out)
		}
		wish["confirm_cost_usd"] = usd
		if out := e.ok(s, "generate_video", wish); out["task_id"] == nil {
			t.Errorf("with the cost: %v", out)
		}
		time.Sleep(10 * time.Second)
		if n := e.paid("fal"); n != 1 {
			t.Errorf("%d jobs were paid", n)
		}
	})
}

// An approval is good for one task of one principal's one call, for a quarter of an hour.
func TestApprovalIsUsedOnce(t *testing.T) {
	const elicits = `{"elicitation":{"form":{}}}`
	runWith(t, job, overCent, func(e *fixture) {
		call := func(token, prompt, state string) fields {
			t.Helper()
			params := fields{"name": "generate_video", "arguments": fields{"prompt": prompt, "wait_seconds": 0}}
			if state != "" {
				params["requestState"] = state
				params["inputResponses"] = fields{"confirm_cost": fields{"action": "accept", "content": fields{"approve": true}}}
			}
			return e.post(token, "tools/call", params, elicits).Result
		}
		id := func(r fields) any {
			answer, _ := r["structuredContent"].(map[string]any)
			return answer["task_id"]
		}
		asked := call(studioToken, "a kite", "")
		state, _ := asked["requestState"].(string)
		if asked["resultType"] != "input_required" || state == "" || asked["structuredContent"] != nil {
			t.Fatalf("asked: %v", asked)
		}
		for name, r := range map[string]fields{
			"another call":      call(studioToken, "a house", state),
			"another principal": call(guestToken, "a kite", state),
			"a forged one":      call(studioToken, "a kite", "e30."+state),
			"an altered one":    call(studioToken, "a kite", "e30"+state[strings.Index(state, "."):]),
		} {
			if r["resultType"] != "input_required" {
				t.Errorf("the state of %s: %v", name, r)
			}
		}
		first := id(call(studioToken, "a kite", state))
		time.Sleep(14 * time.Minute) // a wish without an id of its own would be another one by now
		if again := id(call(studioToken, "a kite", state)); first == nil || again != first {
			t.Errorf("the approval of %v handed in again is %v", first, again)
		}
		time.Sleep(2 * time.Minute)
		if late := call(studioToken, "a kite", state); late["resultType"] != "input_required" {
			t.Errorf("an approval of sixteen minutes ago: %v", late)
		}
		if n := e.paid("fal"); n != 1 {
			t.Errorf("%d jobs were paid", n)
		}
	})
}
