package forecast_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"reelay/events"
	"reelay/internal/forecast"
)

func TestSize(t *testing.T) {
	rows := []struct {
		of    events.TaskType
		input string
		want  string
	}{
		{events.Video, `{"prompt":"a kite"}`, ""},
		{events.Video, `{"prompt":"a kite","duration":6,"resolution":"768P"}`, "s6-p768"},
		{events.Video, `{"duration":"5"}`, "s6"},
		{events.Video, `{"duration":"8s","resolution":"1080p"}`, "s8-p1080"},
		{events.Video, `{"duration":"auto"}`, ""},
		{events.Video, `{"duration":-5}`, ""},
		{events.Video, `{"duration":3600,"resolution":"2K"}`, "smore-p1080"},
		{events.Video, `{"resolution":"4k","num_frames":97}`, "s6-pmore"},
		{events.Image, `{"image_size":{"width":1024,"height":768},"num_images":4,"num_inference_steps":28}`, "p1080-i40-n4"},
		{events.Image, `{"image_size":"square_hd","n":1}`, "n1"},
		{events.Image, `{"image_size":{"width":-1,"height":-1}}`, ""},
		{events.Speech, `{"text":"hello"}`, "t200"},
		{events.Audio, `{"prompt":"` + strings.Repeat("la ", 400) + `"}`, "t5000"},
		{events.Video, `{"duration":{"s":5},"resolution":[1],"num_images":true,"n":null}`, ""},
		{events.Video, `[]`, ""},
		{events.Video, ``, ""},
	}
	for _, row := range rows {
		if got := forecast.ClassOf(events.Task{TaskType: row.of, Input: []byte(row.input)}).Size; got != row.want {
			t.Errorf("%s %s: %q, want %q", row.of, row.input, got, row.want)
		}
	}
}

func TestKeys(t *testing.T) {
	rows := []struct {
		class forecast.Class
		want  string
	}{
		{class, "minimax.video minimax.video.MiniMax-Hailuo-2=2E3 minimax.video.MiniMax-Hailuo-2=2E3.s6-p768"},
		{
			forecast.Class{Provider: "fal", TaskType: events.Image, Model: "fal-ai/flux/schnell"},
			"fal.image fal.image.fal-ai/flux/schnell",
		},
		{
			forecast.Class{Provider: "fal", TaskType: events.Image, Model: "a.*>\n", Size: "n1"},
			"fal.image fal.image.a=2E=2A=3E=0A fal.image.a=2E=2A=3E=0A.n1",
		},
		{forecast.Class{Provider: "fal", TaskType: events.Image}, "fal.image"},
	}
	for _, row := range rows {
		if got := strings.Join(row.class.Keys(), " "); got != row.want {
			t.Errorf("%+v: %s, want %s", row.class, got, row.want)
		}
	}
}

// TestKeysAreKeys: whatever a model is called, its keys are ones of a KV bucket, and two models share none.
func TestKeysAreKeys(t *testing.T) {
	valid := regexp.MustCompile(`^[-/_=.a-zA-Z0-9]+$`)
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringN(1, 80, events.MaxModelBytes)
		a := forecast.Class{Provider: "fal", TaskType: events.Video, Model: name.Draw(t, "a"), Size: "s6"}
		b := a
		b.Model = name.Draw(t, "b")
		for _, key := range a.Keys() {
			if !valid.MatchString(key) || strings.Contains(key, "..") || strings.HasSuffix(key, ".") || len(key) > 1000 {
				t.Fatalf("%q is no key", key)
			}
		}
		if a.Model != b.Model && slices.Equal(a.Keys(), b.Keys()) {
			t.Fatalf("%q and %q share their keys", a.Model, b.Model)
		}
	})
}
