package minimax_test

import (
	"maps"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"reelay/internal/emulator/minimax"
)

func TestPricesOfV2(t *testing.T) {
	t.Parallel()
	image := `{"type":"image_url","image_url":{"url":"https://a/b.png"},"role":"reference_image"}`
	video := `{"type":"video_url","video_url":{"url":"https://a/b.mp4"},"role":"reference_video"}`
	body := func(model, resolution string, seconds string, media ...string) string {
		return `{"model":"` + model + `","resolution":"` + resolution + `","duration":` + seconds +
			`,"ratio":"16:9","content":[` +
			strings.Join(append([]string{`{"type":"text","text":"a boy"}`}, media...), ",") + `]}`
	}
	many := func(n int) []string { return strings.Split(strings.Repeat(image+"\n", n-1)+image, "\n") }
	for _, row := range []struct {
		name, body string
		usd        float64
		usage      map[string]int
	}{
		{"text", body("MiniMax-H3", "768P", "5"), 0.4, map[string]int{"total_seconds": 5, "output_seconds": 5}},
		{"2K", body("MiniMax-H3", "2K", "15"), 1.95, map[string]int{"total_seconds": 15, "output_seconds": 15}},
		{
			"free images", body("MiniMax-H3", "768P", "5", many(5)...), 0.4,
			map[string]int{"total_seconds": 5, "output_seconds": 5, "input_image_count": 5},
		},
		{
			"images", body("MiniMax-H3", "768P", "5", many(7)...), 0.48,
			map[string]int{"total_seconds": 5, "output_seconds": 5, "input_image_count": 7},
		},
		{
			"a clip", body("MiniMax-H3", "768P", "5", video), 0.8,
			map[string]int{"total_seconds": 10, "output_seconds": 5, "input_seconds": 5},
		},
		{
			"the fast one", body("MiniMax-H3-Max", "480P", "6", video, image, image, image), 0.6505,
			map[string]int{"total_seconds": 11, "output_seconds": 6, "input_seconds": 5, "input_image_count": 3},
		},
	} {
		s := minimax.New(minimax.Options{})
		id := createV2(t, s, row.body)
		j, _ := s.Ledger().Job(id)
		if usage := queryV2(t, s, id).Task.Usage; j.PriceUSD != row.usd || !maps.Equal(usage, row.usage) {
			t.Errorf("%s: %v for %v, want %v for %v", row.name, j.PriceUSD, usage, row.usd, row.usage)
		}
	}
}

// Only what has succeeded is charged for, and stays so when its record is deleted or too old.
func TestBilled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := minimax.New(paced())
		billed := func(when string, want float64) {
			t.Helper()
			if got := s.Ledger().BilledUSD(); got != want {
				t.Errorf("%s: %v, want %v", when, got, want)
			}
		}
		createV1(t, s, goodV1)
		createV1(t, s, with(`"emulate":{"fail":"1027"}`, goodV1))
		createV1(t, s, with(`"emulate":{"stall":"running"}`, goodV1))
		done := createV2(t, s, goodV2)
		cancelled := createV2(t, s, goodV2)
		call(t, s, "k", http.MethodDelete, "/v2/video_generation/"+cancelled, "")
		time.Sleep(28*time.Second - 1)
		billed("before the end", 0)
		time.Sleep(time.Nanosecond)
		billed("at the end", 0.68)
		if a := call(t, s, "k", http.MethodDelete, "/v2/video_generation/"+done, ""); a.Action != "deleted" {
			t.Fatalf("delete: %s", a.Body)
		}
		billed("deleted", 0.68)
		time.Sleep(30 * 24 * time.Hour)
		billed("a month later", 0.68)
	})
}
