package mcp_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"reelay/events"
	"reelay/events/client"
	"reelay/internal/config"
	"reelay/internal/emulator"
	"reelay/internal/ffmpeg"
	"reelay/services/media"
)

// A copier stands for ffmpeg: it makes a copy of the first input.
type copier struct{}

func findCopier() (media.Worker, error) { return copier{}, nil }

func (copier) Do(_ context.Context, _ ffmpeg.Job, dir string, files []string, _ func(float64)) (ffmpeg.Made, error) {
	made := ffmpeg.Made{Name: "made.mp4", ContentType: "video/mp4"}
	content, err := os.ReadFile(filepath.Join(dir, files[0]))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, made.Name), content, 0o600)
	}
	return made, err
}

// A segment is a voice, speech by it, a video, and both in one file, approved and paid once.
func TestSegment(t *testing.T) {
	runWith(t, emulator.Speed{Queue: time.Second, Run: 5 * time.Second}, config.MCP{ConfirmOver: 0.5}, func(e *fixture) {
		s := e.agent(studioToken, modern, nil)
		wish := map[string]any{
			"prompt": "a kite over dunes", "narration": "There, a kite.", "voice_sample_url": "https://x.test/a.mp3",
			"request_id": "shot", "scene_id": "s1", "wait_seconds": 0,
		}
		if out, failed := e.call(s, "create_segment", wish); !failed || out["error"].(map[string]any)["code"] != "CONFIRM_COST" {
			t.Errorf("without approval: %v", out)
		}
		wish["confirm_cost_usd"] = 2.34
		out := e.ok(s, "create_segment", wish)
		if out["task_id"] != "shot" || out["status"] != "queued" || out["estimated_cost_usd"] == nil {
			t.Fatalf("%v", out)
		}
		e.ok(s, "create_segment", wish)
		out = e.ok(s, "get_task", map[string]any{"task_id": "shot", "wait_seconds": 50})
		if outputs, _ := out["outputs"].([]any); out["status"] != "completed" || len(outputs) != 1 {
			t.Errorf("the segment: %v", out)
		}
		for id, want := range map[string]string{"shot-voice": "voice", "shot-speech": "speech", "shot-video": "video"} {
			if out := e.ok(s, "get_task", map[string]any{"task_id": id}); out["status"] != "completed" || out["task_type"] != want || out["scene_id"] != "s1" {
				t.Errorf("%s: %v", id, out)
			}
		}
		if n := e.paid("fal"); n != 3 {
			t.Errorf("%d jobs were paid", n)
		}
		// The parts can be put together anew, by task or by file.
		out = e.ok(s, "mux_audio_video", map[string]any{"video": "shot-video", "audio": "demo.shot-speech/1", "fit": "mix", "wait_seconds": 50})
		if f, _ := out["outputs"].([]any)[0].(map[string]any); out["status"] != "completed" || f["url"] == "" {
			t.Errorf("mux: %v", out)
		}
		for _, video := range []string{"other.x/1", "shot-video/0", "a b", ""} {
			out, failed := e.call(s, "mux_audio_video", map[string]any{"video": video, "audio": "shot-speech"})
			if f, _ := out["error"].(map[string]any); !failed || f["field"] != "video" {
				t.Errorf("video %q: %v", video, out)
			}
		}
		// The end of a segment is the end of its parts.
		for k, v := range map[string]any{"request_id": "second", "voice_sample_url": "", "narration": "there", "confirm_cost_usd": 0.84} {
			wish[k] = v
		}
		if out, failed := e.call(s, "create_segment", wish); failed || out["estimated_cost_usd"] != 0.8405 {
			t.Fatal(out)
		}
		e.ok(s, "cancel_task", map[string]any{"task_id": "second"})
		time.Sleep(time.Minute)
		for _, id := range []string{"second", "second-speech", "second-video"} {
			if out := e.ok(s, "get_task", map[string]any{"task_id": id}); out["status"] != "cancelled" {
				t.Errorf("%s: %v", id, out)
			}
		}
		// So it is where the segment itself has ended before.
		wish["request_id"] = "third"
		e.ok(s, "create_segment", wish)
		nc, err := e.stack.Connect("person")
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		k := events.Key{Project: "demo", ID: "third"}
		if _, err := client.New(nc).Cancel(e.Context(), k, events.Cancel{}); err != nil {
			t.Fatal(err)
		}
		e.ok(s, "cancel_task", map[string]any{"task_id": "third"})
		if out := e.ok(s, "get_task", map[string]any{"task_id": "third-video", "wait_seconds": 50}); out["status"] != "cancelled" {
			t.Errorf("the video of a segment that had ended: %v", out)
		}
	})
}
