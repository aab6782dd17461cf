package mcp_test

import (
	"context"
	"strings"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"reelay/internal/emulator"
)

// A client that gives up on a call after 60 s gets the result of a job of six minutes, and never loses its id.
func TestSixMinutesInEightCalls(t *testing.T) {
	for _, version := range []string{modern, legacy} {
		t.Run(version, func(t *testing.T) {
			run(t, job, func(e *fixture) {
				s := e.agent(studioToken, version, nil)
				timely := func(tool string, args map[string]any) fields {
					t.Helper()
					ctx, cancel := context.WithTimeout(e.Context(), time.Minute)
					defer cancel()
					out, failed := e.callWith(ctx, s, &sdk.CallToolParams{Name: tool, Arguments: args})
					if failed {
						t.Fatalf("%s: %v", tool, out)
					}
					return out
				}
				out := timely("generate_video", map[string]any{"prompt": "a kite", "wait_seconds": 50})
				calls := 1
				for ; out["status"] != "completed" && calls < 20; calls++ {
					if out["poll_after_s"].(float64) <= 0 || !strings.HasSuffix(out["message"].(string), ".") {
						t.Errorf("an answer does not say when to ask again, or not in a sentence: %v", out)
					}
					out = timely("get_task", map[string]any{"task_id": out["task_id"], "wait_seconds": 50})
				}
				if calls > 8 || out["status"] != "completed" {
					t.Errorf("%d calls, then %v", calls, out)
				}
				if outputs := out["outputs"].([]any); len(outputs) != 1 {
					t.Errorf("outputs %v", outputs)
				}
				if n := e.paid("fal"); n != 1 {
					t.Errorf("%d jobs were paid", n)
				}
			})
		})
	}
}

// The tools of the queue proposal and of MiniMax's guide answer in their shapes.
func TestOriginShapes(t *testing.T) {
	run(t, job, func(e *fixture) {
		s := e.agent(studioToken, modern, nil)
		begun := time.Now()
		out := e.ok(s, "generate_video_from_image", map[string]any{
			"image_url": "https://example.test/a.png", "motion_prompt": "zoom in slowly", "return_queue_id": true,
		})
		id, _ := out["queue_id"].(string)
		if out["success"] != true || out["queued"] != true || id == "" || out["estimated_cost"] != 0.84 || len(out) != 5 {
			t.Errorf("return_queue_id: %v", out)
		}
		if time.Since(begun) > time.Second {
			t.Errorf("return_queue_id took %v", time.Since(begun))
		}
		// Its own defaults may be said, and are the same wish; what is said else is meant.
		out = e.ok(s, "generate_video_from_image", map[string]any{
			"image_url": "https://example.test/a.png", "motion_prompt": "zoom in slowly", "duration": 5, "aspect_ratio": "16:9",
			"scene_id": "other", "use_queue": true, "return_queue_id": true, "project_id": "film",
		})
		if out["queued"] != true || out["estimated_cost"] != 0.84 {
			t.Errorf("with the proposal's own defaults: %v", out)
		}
		for field, args := range map[string]map[string]any{
			"aspect_ratio": {"image_url": "https://example.test/a.png", "motion_prompt": "zoom", "aspect_ratio": "9:16"},
			"duration":     {"image_url": "https://example.test/a.png", "motion_prompt": "zoom", "duration": 99},
			"image_url":    {"image_url": "s3://bucket/a.png", "motion_prompt": "zoom"},
		} {
			out, failed := e.call(s, "generate_video_from_image", args)
			f, _ := out["error"].(map[string]any)
			if m, _ := out["message"].(string); !failed || f["field"] != field || !strings.HasPrefix(m, field) {
				t.Errorf("%s: %v", field, out)
			}
		}
		time.Sleep(10 * time.Second)
		out = e.ok(s, "get_queue_status", map[string]any{"task_id": id})
		task, _ := out["task"].(map[string]any)
		if out["success"] != true || task["id"] != id || task["status"] != "queued" || task["queue_position"] == nil ||
			task["model"] != "fal-ai/kling-video/v3/pro/image-to-video" || task["request_id"] == nil {
			t.Errorf("status of one: %v", out)
		}
		if m := task["message"].(string); !strings.HasPrefix(m, "Queued by fal at position ") {
			t.Errorf("message %q", m)
		}
		out = e.ok(s, "get_queue_status", map[string]any{"status_filter": []string{"queued"}})
		by, _ := out["by_status"].(map[string]any)
		if out["total_tasks"] != 1.0 || out["active_count"] != 1.0 || len(by["queued"].([]any)) != 1 {
			t.Errorf("status of all: %v", out)
		}
		out, failed := e.call(s, "get_queue_status", map[string]any{"task_id": "nobody"})
		if !failed || out["success"] != false || out["error"].(map[string]any)["code"] != "NOT_FOUND" {
			t.Errorf("status of none: %v", out)
		}

		query := func(id, status string) fields {
			t.Helper()
			out := e.ok(s, "query_video_generation", map[string]any{"task_id": id})
			if out["status"] != status || out["task_id"] != id {
				t.Errorf("query: %v, want %s", out, status)
			}
			return out
		}
		query(id, "submitted")
		time.Sleep(2 * time.Minute)
		query(id, "processing")
		time.Sleep(5 * time.Minute)
		out = e.ok(s, "get_queue_status", map[string]any{"task_id": id})
		task, _ = out["task"].(map[string]any)
		if result, _ := task["result"].(map[string]any); result["video"] == nil || task["completed_at"] == nil {
			t.Errorf("status of a finished one: %v", out)
		}
		if out := query(id, "completed"); out["file_id"] != id+"/1" || out["duration_s"].(float64) < 360 {
			t.Errorf("a finished one: %v", out)
		}
		for _, id := range []string{"", "invalid_task_12345", "other.x", "a.b.c"} {
			if m, _ := query(id, "failed")["error"].(string); !strings.HasPrefix(m, "Invalid") {
				t.Errorf("error of %q: %q", id, m)
			}
		}
		// Without the pipeline nobody knows, which is no end of the video.
		if err := e.stack.StopService("status"); err != nil {
			t.Fatal(err)
		}
		out, failed = e.call(s, "query_video_generation", map[string]any{"task_id": id})
		if !failed || out["status"] == "failed" || out["error"] == "" {
			t.Errorf("query without an answer: %v", out)
		}
	})
}

// use_queue=false waits as long as a call may; the task is told with it.
func TestWaitsToTheBound(t *testing.T) {
	run(t, emulator.Speed{Queue: 10 * time.Second, Run: 20 * time.Second}, func(e *fixture) {
		s := e.agent(studioToken, modern, nil)
		args := map[string]any{"image_url": "https://example.test/a.png", "motion_prompt": "zoom", "request_id": "r1"}
		if out := e.ok(s, "generate_video_from_image", args); out["queued"] != true || out["queue_id"] != "r1" {
			t.Errorf("after the usual wait: %v", out)
		}
		args["use_queue"] = false
		out := e.ok(s, "generate_video_from_image", args)
		if out["queued"] != nil || out["status"] != "completed" {
			t.Errorf("after the longest wait: %v", out)
		}
	})
}

// Progress comes to whoever asks for it, grows, and says where the task is.
func TestProgress(t *testing.T) {
	for _, version := range []string{modern, legacy} {
		t.Run(version, func(t *testing.T) {
			run(t, emulator.Speed{Queue: 8 * time.Second, Run: 24 * time.Second, Position: 3}, func(e *fixture) {
				heard := make(chan *sdk.ProgressNotificationParams, 100)
				s := e.agent(studioToken, version, &sdk.ClientOptions{
					ProgressNotificationHandler: func(_ context.Context, r *sdk.ProgressNotificationClientRequest) { heard <- r.Params },
				})
				out, failed := e.callWith(e.Context(), s, &sdk.CallToolParams{
					Name: "generate_video", Arguments: map[string]any{"prompt": "a kite", "wait_seconds": 50},
					Meta: sdk.Meta{"progressToken": "p1"},
				})
				if failed || out["status"] != "completed" {
					t.Fatal(out)
				}
				last, words := 0.0, ""
				n := len(heard)
				for range n {
					p := <-heard
					if p.Progress <= last {
						t.Errorf("progress went from %v to %v", last, p.Progress)
					}
					last, words = p.Progress, words+p.Message
				}
				if n < 5 || n > 40 || !strings.Contains(words, "Queued") || !strings.Contains(words, "Being made by fal") {
					t.Errorf("%d notifications: %s", n, words)
				}
			})
		})
	}
}

// A task goes on when its agent goes away, and ends when the agent says so.
func TestCancel(t *testing.T) {
	run(t, job, func(e *fixture) {
		s := e.agent(studioToken, modern, nil)
		ctx, cancel := context.WithTimeout(e.Context(), 5*time.Second)
		defer cancel()
		_, err := s.CallTool(ctx, &sdk.CallToolParams{
			Name: "generate_video", Arguments: map[string]any{"prompt": "a kite", "request_id": "kite"},
		})
		if err == nil {
			t.Fatal("the call did not end with its context")
		}
		time.Sleep(time.Minute)
		if out := e.ok(s, "get_task", map[string]any{"task_id": "kite"}); out["status"] != "in_progress" && out["status"] != "queued" {
			t.Errorf("after its agent had gone: %v", out)
		}
		out := e.ok(s, "cancel_task", map[string]any{"task_id": "kite"})
		if !strings.Contains(out["message"].(string), "may have cost money") {
			t.Errorf("a cancel of what was paid for does not say so: %v", out)
		}
		if out := e.ok(s, "get_task", map[string]any{"task_id": "kite", "wait_seconds": 50}); out["status"] != "cancelled" {
			t.Errorf("after the cancel: %v", out)
		}
	})
}

// A file is found by our id of it and by the provider's, and a wish over its max_cost_usd buys nothing.
func TestFiles(t *testing.T) {
	run(t, emulator.Speed{Queue: time.Second, Run: 5 * time.Second}, func(e *fixture) {
		s := e.agent(studioToken, modern, nil)
		out := e.ok(s, "generate_video", map[string]any{
			"prompt": "a kite", "model": "MiniMax-Hailuo-2.3", "request_id": "kite", "wait_seconds": 50,
		})
		theirs, _ := out["file_id"].(string)
		if out["provider"] != "minimax" || theirs == "" || strings.Contains(theirs, "/") {
			t.Fatalf("file_id %q of %v", theirs, out)
		}
		for _, id := range []string{theirs, "kite/1", "demo.kite/1"} {
			f := e.ok(s, "retrieve_video_file", map[string]any{"file_id": id})
			if f["file_id"] != "kite/1" || f["url"] == nil || f["expires_at"] == nil {
				t.Errorf("%s: %v", id, f)
			}
		}
		guest := e.agent(guestToken, modern, nil)
		for _, id := range []string{theirs, "demo.kite/1", "kite/1", "", "/", "kite/0"} {
			f, failed := e.call(guest, "retrieve_video_file", map[string]any{"file_id": id})
			if !failed || f["error"].(map[string]any)["code"] != "NOT_FOUND" {
				t.Errorf("%s of another: %v", id, f)
			}
		}
		out, failed := e.call(s, "generate_video", map[string]any{"prompt": "a kite", "max_cost_usd": 0.01})
		if !failed || e.paid("fal") != 0 {
			t.Errorf("over max_cost_usd: %v", out)
		}
	})
}

// Each tool makes its kind of media by the default model, and a wish that a model cannot fulfil names what it can.
func TestKinds(t *testing.T) {
	run(t, emulator.Speed{Queue: time.Second, Run: 5 * time.Second}, func(e *fixture) {
		s := e.agent(studioToken, modern, nil)
		for tool, args := range map[string]map[string]any{
			"generate_video": {"prompt": "a kite", "duration": 5, "aspect_ratio": "16:9"},
			"generate_image": {"prompt": "a kite"},
			"text_to_audio":  {"text": "a kite"},
		} {
			args["wait_seconds"] = 50
			out := e.ok(s, tool, args)
			if outputs, _ := out["outputs"].([]any); out["status"] != "completed" || len(outputs) == 0 {
				t.Errorf("%s: %v", tool, out)
			}
		}
		paid := e.paid("fal")
		out, failed := e.call(s, "generate_video", map[string]any{"prompt": "a kite", "model": "MiniMax-Hailuo-2.3", "duration": 7})
		f, _ := out["error"].(map[string]any)
		if allowed, _ := f["allowed"].([]any); !failed || f["field"] != "duration" || len(allowed) != 2 {
			t.Errorf("seven seconds of a model that makes six or ten: %v", out)
		}
		if e.paid("fal") != paid || e.paid("minimax") != 0 {
			t.Error("it was paid")
		}
	})
}

// The id of a task is told even where nobody has taken it in yet.
func TestIDIsNotLost(t *testing.T) {
	run(t, emulator.Speed{Queue: time.Second, Run: 5 * time.Second}, func(e *fixture) {
		s := e.agent(studioToken, modern, nil)
		if err := e.stack.StopService("submitter"); err != nil {
			t.Fatal(err)
		}
		out, failed := e.call(s, "generate_video", map[string]any{"prompt": "a kite"})
		id, _ := out["task_id"].(string)
		if !failed || id == "" || out["error"].(map[string]any)["retryable"] != true {
			t.Fatalf("without a submitter: %v", out)
		}
		if err := e.stack.StartService(e.Context(), "submitter"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if out := e.ok(s, "get_task", map[string]any{"task_id": id, "wait_seconds": 50}); out["status"] != "completed" {
			t.Errorf("a minute later: %v", out)
		}
	})
}
