package mcp_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"reelay/internal/config"
	"reelay/internal/emulator"
)

// An agent learns what there is and what it costs before anything is made, and a quote is what the task then says.
func TestModelsAndQuote(t *testing.T) {
	runWith(t, job, config.MCP{ConfirmOver: 1}, func(e *fixture) {
		s := e.agent(readerToken, modern, nil)
		videos := e.ok(s, "list_models", map[string]any{"task_type": "video"})["models"].([]any)
		i := slices.IndexFunc(videos, func(m any) bool { return m.(map[string]any)["default"] == true })
		if len(videos) < 10 || i < 0 {
			t.Fatalf("%d models that make videos: %v", len(videos), videos)
		}
		model := videos[i].(map[string]any)
		if !strings.Contains(model["price"].(string), " US dollars a second") || len(model["durations"].([]any)) == 0 || model["options"] != nil {
			t.Errorf("%v", model)
		}
		one := e.ok(s, "list_models", map[string]any{"model": model["model"]})["models"].([]any)
		if len(one) != 1 || one[0].(map[string]any)["options"] == nil {
			t.Errorf("all of one model: %v", one)
		}
		wish := map[string]any{"prompt": "a kite", "duration": 5}
		q := e.ok(s, "quote", wish)
		out := e.ok(e.agent(studioToken, modern, nil), "generate_video", map[string]any{"prompt": "a kite", "duration": 5, "wait_seconds": 0})
		if q["estimated_cost_usd"] == nil || q["estimated_cost_usd"] != out["estimated_cost_usd"] || q["model"] != out["model"] ||
			q["needs_confirmation"] != false {
			t.Errorf("quoted %v, made %v", q, out)
		}
		wish["duration"] = 15
		if q := e.ok(s, "quote", wish); q["needs_confirmation"] != true || !strings.Contains(q["message"].(string), "approve") {
			t.Errorf("of a dear one: %v", q)
		}
		wish["duration"] = 2
		out, failed := e.call(s, "quote", wish)
		if f, _ := out["error"].(map[string]any); !failed || f["field"] != "duration" || f["allowed"] == nil {
			t.Errorf("of what no model makes: %v", out)
		}
	})
}

// A voice that is cloned can speak.
func TestVoiceClone(t *testing.T) {
	run(t, emulator.Speed{Queue: time.Second, Run: 5 * time.Second}, func(e *fixture) {
		s := e.agent(studioToken, modern, nil)
		out := e.ok(s, "voice_clone", map[string]any{"audio_url": "https://x.test/a.mp3", "wait_seconds": 50})
		made, _ := out["values"].(map[string]any)
		voice, _ := made["voice_id"].(string)
		if out["status"] != "completed" || voice == "" {
			t.Fatalf("%v", out)
		}
		out = e.ok(s, "text_to_audio", map[string]any{"text": "hello", "voice_id": voice, "wait_seconds": 50})
		if out["status"] != "completed" || len(out["outputs"].([]any)) != 1 {
			t.Errorf("speech by the voice: %v", out)
		}
		if input := string(e.stack.Ledger("fal").Jobs()[1].Input); !strings.Contains(input, voice) {
			t.Errorf("the provider was sent %s", input)
		}
	})
}

// Only who may resolve sees the tool for it, and a task that is in no doubt cannot be resolved.
func TestResolve(t *testing.T) {
	run(t, job, func(e *fixture) {
		studio, judge := e.agent(studioToken, modern, nil), e.agent(judgeToken, modern, nil)
		e.ok(studio, "generate_video", map[string]any{"prompt": "a kite", "request_id": "kite", "wait_seconds": 0})
		out, failed := e.call(judge, "resolve_task", map[string]any{"task_id": "kite", "action": "write_off"})
		if f, _ := out["error"].(map[string]any); !failed || f["code"] != "CONFLICT" {
			t.Errorf("of a task that waits: %v", out)
		}
		for tool, err := range studio.Tools(e.Context(), nil) {
			if err != nil || tool.Name == "resolve_task" {
				t.Errorf("who may not resolve has %v, %v", tool, err)
			}
		}
	})
}
