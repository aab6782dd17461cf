package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"reelay/events"
)

func TestInput(t *testing.T) {
	const h3, hailuo = "MiniMax-H3", "MiniMax-Hailuo-02"
	for _, row := range []struct{ name, model, prompt, file, want, wrong string }{
		{"fal prompt", "fal-ai/wan", `a "kite" <&>`, "", `{"prompt":"a \"kite\" <&>"}`, ""},
		{"minimax v1 prompt", hailuo, "a kite", "", `{"prompt":"a kite"}`, ""},
		{
			"minimax v2 prompt", h3, "a kite", "",
			`{"content":[{"type":"text","text":"a kite"}],"duration":5,"ratio":"16:9","resolution":"768P"}`, "",
		},
		{
			"file as it is", "m", "", `{"seed": 12345678901234567890.0001, "b":[ 1 ], "a":"<"}`,
			`{"seed": 12345678901234567890.0001, "b":[ 1 ], "a":"<"}`, "",
		},
		{
			"prompt added", "m", "a kite", `{"seed":12345678901234567890}`, `{"prompt":"a kite","seed":12345678901234567890}`,
			"",
		},
		{"prompt twice", "m", "a kite", `{"prompt":"a dog"}`, "", "--prompt: the input has a prompt"},
		{
			"v2 content added", h3, "a kite", `{"duration":10}`, `{"content":[{"type":"text","text":"a kite"}],"duration":10}`,
			"",
		},
		{
			"v2 text before image", h3, "a kite", `{"content":[{"type":"image_url","n":12345678901234567890}]}`,
			`{"content":[{"type":"text","text":"a kite"},{"type":"image_url","n":12345678901234567890}]}`, "",
		},
		{"v2 text twice", h3, "a kite", `{"content":[{"type":"text","text":"a dog"}]}`, "", "--prompt: the input has a text"},
		{"v2 content no list", h3, "a kite", `{"content":"a dog"}`, "", "--prompt: the input's content"},
		{"neither", "m", "", "", "", "--prompt or --input is needed"},
		{"a list", "m", "", `[1]`, "", "not a JSON object"},
		{"null", "m", "", `null`, "", "not a JSON object"},
		{"no JSON", "m", "", `{`, "", "not a JSON object"},
		{
			"too large", "m", "", `{"a":"` + strings.Repeat("x", events.MaxRequestBytes) + `"}`, "",
			"has more than 983040 bytes",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := requestFlags{Provider: "p", Model: row.model, Prompt: row.prompt}
			if row.file != "" {
				f.Input = "-"
			}
			got, _, err := f.inputOrWant(strings.NewReader(row.file))
			if row.wrong != "" {
				var usage *usageError
				if !errors.As(err, &usage) || !strings.Contains(err.Error(), row.wrong) {
					t.Fatalf("got %v, want a usage error with %q", err, row.wrong)
				}
				return
			}
			if err != nil || string(got) != row.want {
				t.Errorf("got  %s, %v\nwant %s", got, err, row.want)
			}
		})
	}
}

// TestWantFlags: what is said by the flags of a want stands in the request, and never beside an input.
func TestWantFlags(t *testing.T) {
	all := wantFlags{
		NegativePrompt: "n", Image: "https://m.example/a", LastFrame: "https://m.example/b",
		Reference: []string{"https://m.example/c"}, Duration: 5, AspectRatio: "16:9", Resolution: "720p", Seed: new(int64(0)),
		Audio: new(false), Text: "t", Voice: "v", Options: `{"x":1}`, Lenient: true,
	}
	r, _, err := requestFlags{Prompt: "p", Project: "demo", ID: "t1", wantFlags: all}.build(nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := events.Marshal(r)
	const want = `{"id":"t1","want":{"prompt":"p","negative_prompt":"n","image":"https://m.example/a","last_frame":` +
		`"https://m.example/b","references":["https://m.example/c"],"duration":5,"aspect_ratio":"16:9","resolution":"720p",` +
		`"seed":0,"audio":false,"text":"t","voice":"v","options":{"x":1}},"lenient":true}`
	if err != nil || string(got) != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
	for _, row := range []struct {
		flags requestFlags
		wrong string
	}{
		{requestFlags{Input: "-", Provider: "p", Model: "m", wantFlags: wantFlags{Audio: new(true)}}, "--audio: is not for --input"},
		{requestFlags{Input: "-", Provider: "p", Model: "m", wantFlags: wantFlags{Lenient: true}}, "--lenient: is not for --input"},
		{requestFlags{wantFlags: wantFlags{Options: "[]"}}, "--options: not a JSON object"},
		{requestFlags{Prompt: "p", wantFlags: wantFlags{Duration: -1}}, "want.duration: -1 is not between"},
		{requestFlags{Input: "-", Model: "m"}, "provider: is missing"},
	} {
		row.flags.Project = "demo"
		_, _, err := row.flags.build(strings.NewReader("{}"))
		var usage *usageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), row.wrong) {
			t.Errorf("%+v: %v, want %q", row.flags, err, row.wrong)
		}
	}
	// A prompt for a model of a provider is that provider's input, whatever the model.
	if r, _, err := (requestFlags{Prompt: "p", Project: "demo", Provider: "p", Model: "m"}).build(nil); err != nil || r.Want != nil {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestBuild(t *testing.T) {
	file := filepath.Join(t.TempDir(), "in.json")
	if err := os.WriteFile(file, []byte(`{"seed":12345678901234567890}`), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := requestFlags{
		TaskType: "video", Provider: "fal", Model: "m", Input: file, Project: "demo", ID: "t1", SceneID: "s", Priority: -3,
		Timeout: time.Hour, StartTimeout: time.Minute, OnInDoubt: "fail", MaxPaidAttempts: 2,
		Metadata: map[string]string{"k": "v=1;2"}, After: []string{"a", "b"}, OnDependency: "ignore",
		NotBefore: "2026-03-01T20:00:00Z",
	}
	r, _, err := flags.build(nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := events.Marshal(r)
	want := `{"id":"t1","provider":"fal","model":"m","input":{"seed":12345678901234567890},"scene_id":"s","priority":-3,` +
		`"after":["a","b"],"on_dependency":"ignore","not_before":"2026-03-01T20:00:00Z","timeout":"1h0m0s","start_timeout":"1m0s","on_in_doubt":"fail","max_paid_attempts":2,"metadata":{"k":"v=1;2"}}`
	if err != nil || string(got) != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
	ids := map[string]bool{}
	for range 100 {
		flags.ID = ""
		r, _, err := flags.build(nil)
		if err != nil || !events.ValidToken(r.ID) || ids[r.ID] {
			t.Fatalf("id %q, %v", r.ID, err)
		}
		ids[r.ID] = true
	}
}

func TestParseNotBefore(t *testing.T) {
	for _, row := range []struct {
		in   string
		want time.Time
	}{
		{"2h", start.Add(2 * time.Hour)},
		{"2026-01-01T00:00:00Z", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)},
		{"-2h", time.Time{}},
		{"tomorrow", time.Time{}},
	} {
		got, err := parseNotBefore(row.in, start)
		var usage *usageError
		if row.want.IsZero() != errors.As(err, &usage) || err == nil && !got.Equal(row.want) {
			t.Errorf("%s: got %v, %v", row.in, got, err)
		}
	}
	if got, err := parseNotBefore("", start); got != nil || err != nil {
		t.Errorf("none: %v, %v", got, err)
	}
}

func TestParseSince(t *testing.T) {
	for _, row := range []struct {
		in   string
		want time.Time
	}{
		{"2h", start.Add(-2 * time.Hour)},
		{"2026-01-01T00:00:00Z", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)},
		{"-2h", time.Time{}},
		{"yesterday", time.Time{}},
	} {
		got, err := parseSince(row.in, start)
		var usage *usageError
		if row.want.IsZero() != errors.As(err, &usage) || !got.Equal(row.want) {
			t.Errorf("%s: got %v, %v", row.in, got, err)
		}
	}
}
