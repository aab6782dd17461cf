package mcp_test

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"reelay/internal/emulator"
)

// What is stored has a link that lasts for a week, and that whoever has it can read without any key.
func TestLastingLinks(t *testing.T) {
	run(t, emulator.Speed{Queue: time.Second, Run: 5 * time.Second}, func(e *fixture) {
		s := e.agent(studioToken, modern, nil)
		e.ok(s, "generate_video", map[string]any{"prompt": "a kite", "request_id": "kite", "wait_seconds": 0})
		done := e.ok(s, "get_task", map[string]any{"task_id": "kite", "wait_seconds": 50})
		if o, _ := done["outputs"].([]any)[0].(map[string]any); o["stored"] != true || o["expires_at"] == nil {
			t.Errorf("the link of a video that has just been made does not last: %v", o)
		}
		time.Sleep(time.Minute)
		f := e.ok(s, "retrieve_video_file", map[string]any{"file_id": "kite/1"})
		link, _ := f["url"].(string)
		expires, err := time.Parse(time.RFC3339, f["expires_at"].(string))
		if left := time.Until(expires); err != nil || f["stored"] != true || left < 6*24*time.Hour || left > 8*24*time.Hour {
			t.Errorf("%v", f)
		}
		for _, out := range []any{
			e.ok(s, "get_task", map[string]any{"task_id": "kite"})["outputs"].([]any)[0],
			map[string]any(must(e.read(s, "media://kite/1"))),
		} {
			if again, _ := out.(map[string]any)["url"].(string); beforeQuery(again) != beforeQuery(link) {
				t.Errorf("%v is not the file at %s", out, link)
			}
		}
		client := &http.Client{Transport: &http.Transport{DialContext: e.network.Dial, DisableKeepAlives: true}}
		res, err := client.Get(link)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if body, err := io.ReadAll(res.Body); err != nil || res.StatusCode != 200 || len(body) != int(f["size"].(float64)) {
			t.Errorf("%d with %d bytes, %v", res.StatusCode, len(body), err)
		}
		if f["save_to"] != nil || f["saved_to"] != nil {
			t.Errorf("saved on another's machine: %v", f)
		}
	})
}

func beforeQuery(link string) string {
	before, _, _ := strings.Cut(link, "?")
	return before
}

func must(f fields, _ int, err error) fields {
	if err != nil {
		panic(err)
	}
	return f
}

// An agent sees a small picture that it has had made, at once.
func TestThumbnail(t *testing.T) {
	run(t, emulator.Speed{Queue: time.Second, Run: 5 * time.Second}, func(e *fixture) {
		s := e.agent(studioToken, modern, nil)
		for _, call := range []struct {
			tool string
			args map[string]any
		}{
			{"generate_image", map[string]any{"prompt": "a kite", "request_id": "kite", "wait_seconds": 50}},
			{"get_task", map[string]any{"task_id": "kite"}},
		} {
			tool, args := call.tool, call.args
			r, err := s.CallTool(e.Context(), &sdk.CallToolParams{Name: tool, Arguments: args})
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(r.Content, func(c sdk.Content) bool { _, ok := c.(*sdk.ImageContent); return ok })
			if i < 0 {
				t.Errorf("%s: no picture in %v", tool, r.StructuredContent)
			} else if p := r.Content[i].(*sdk.ImageContent); len(p.Data) == 0 || len(p.Data) > 100<<10 || p.MIMEType != "image/png" {
				t.Errorf("%s: %d bytes of %s", tool, len(p.Data), p.MIMEType)
			}
		}
	})
}

// An agent sees a picture of a video that it waited for, and never the video itself. Where there is no ffmpeg it is told.
func TestThumbnailOfVideo(t *testing.T) {
	run(t, emulator.Speed{Queue: time.Second, Run: 5 * time.Second}, func(e *fixture) {
		s := e.agent(studioToken, modern, nil)
		see := func(tool string, args map[string]any) (pictures []*sdk.ImageContent, words string) {
			t.Helper()
			r, err := s.CallTool(e.Context(), &sdk.CallToolParams{Name: tool, Arguments: args})
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range r.Content {
				switch c := c.(type) {
				case *sdk.ImageContent:
					pictures = append(pictures, c)
				case *sdk.TextContent:
					words += c.Text
				case *sdk.ResourceLink:
				default:
					t.Errorf("%s: a %T is in the answer", tool, c)
				}
			}
			return pictures, words
		}
		e.blind.Store(true)
		wish := map[string]any{"prompt": "a kite", "request_id": "kite", "wait_seconds": 50}
		if p, words := see("generate_video", wish); len(p) != 0 || !strings.Contains(words, "apt-get install ffmpeg") {
			t.Errorf("without ffmpeg: %d pictures, %s", len(p), words)
		}
		e.blind.Store(false)
		if p, words := see("get_task", map[string]any{"task_id": "kite", "wait_seconds": 0}); len(p) != 0 || strings.Contains(words, "ffmpeg") {
			t.Errorf("without a wait: %d pictures, %s", len(p), words)
		}
		for _, seconds := range []int{20, 0} { // then it is kept
			p, _ := see("get_task", map[string]any{"task_id": "kite", "wait_seconds": seconds})
			if len(p) != 1 || p[0].MIMEType != "image/jpeg" || !strings.HasSuffix(string(p[0].Data), "video true") {
				t.Errorf("with a wait of %d s: %v", seconds, p)
			}
		}
	})
}
