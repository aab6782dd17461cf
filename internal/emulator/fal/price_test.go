package fal

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"reelay/internal/emulator"
)

func TestPrices(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		model, input string
		usd          float64
	}{
		{model, `{}`, 0.84},
		{model, `{"generate_audio":true}`, 0.84},
		{model, `{"generate_audio":false}`, 0.56},
		{model, `{"generate_audio":"no"}`, 0.84},
		{model, `{"duration":"10"}`, 1.68},
		{model, `{"duration":"8s"}`, 1.344},
		{model, `{"duration":3}`, 0.504},
		{model, `{"duration":"auto"}`, 0.84},
		{model, `{"duration":-3}`, 0.84},
		{model, `{"duration":1e9}`, 0.84},
		{model, `{"duration":{}}`, 0.84},
		{"fal-ai/veo3.1", `{}`, 3.2},
		{"fal-ai/veo3.1/fast", `{"duration":"4s","generate_audio":false}`, 0.4},
		{"someone/some-video", `{"duration":3,"generate_audio":false}`, 0.21},
		{"fal-ai/flux/schnell", `{"num_images":3}`, 0.009},
		{"fal-ai/flux/schnell", `{"num_images":-3}`, 0.003},
		{"fal-ai/nano-banana-2", `{"num_images":3}`, 0.075},
		{"fal-ai/elevenlabs/tts/eleven-v3", `{"text":"äöü"}`, 0.00015},
	} {
		if got := priceUSD(emulator.Job{Model: row.model, Input: json.RawMessage(row.input)}); got != row.usd {
			t.Errorf("%s %s: %v, want %v", row.model, row.input, got, row.usd)
		}
	}
	s := New(Options{})
	w := do(t, s, "GET", "/v1/models/pricing?endpoint_id="+model+",fal-ai/flux/dev", "")
	want := `{"prices":[{"endpoint_id":"` + model + `","unit_price":0.168,"unit":"second","currency":"USD"},` +
		`{"endpoint_id":"fal-ai/flux/dev","unit_price":0.025,"unit":"megapixel","currency":"USD"}],"next_cursor":null,` +
		`"has_more":false}` + "\n"
	if w.Code != 200 || w.Body.String() != want {
		t.Errorf("%d %s\nwant %s", w.Code, w.Body, want)
	}
}

// What is billed is what fal says it bills, when the job has ended and not before.
func TestBilled(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, emulate string
		cancel        bool
		usd           float64
		units         string
	}{
		{"success", `{}`, false, 0.84, "5"},
		{"the input was wrong", `{"fail":"422"}`, false, 0, "0"},
		{"found after the work", `{"fail":"content_policy_violation"}`, false, 0.84, "5"},
		{"nothing made after the work", `{"fail":"no_media_generated"}`, false, 0.84, "5"},
		{"the model broke", `{"fail":"internal_server_error"}`, false, 0, "0"},
		{"fal broke", `{"fail":"runner_disconnected"}`, false, 0, ""},
		{"cancelled", `{}`, true, 0, ""},
		{"cancel ignored", `{"cancel":"ignored"}`, true, 0.84, "5"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := New(Options{Speed: emulator.Speed{Run: time.Minute}})
			id := submitted(t, s, `{"emulate":`+row.emulate+`}`)
			if row.cancel {
				do(t, s, "PUT", "/fal-ai/kling-video/requests/"+id+"/cancel", "")
			}
			time.Sleep(time.Minute - 1)
			if got := s.Ledger().BilledUSD(); got != 0 && !row.cancel {
				t.Errorf("%s: billed %v before the end", row.name, got)
			}
			time.Sleep(time.Nanosecond)
			units := do(t, s, "GET", "/fal-ai/kling-video/requests/"+id, "").Header().Get("X-Fal-Billable-Units")
			if got := s.Ledger().BilledUSD(); got != row.usd || units != row.units {
				t.Errorf("%s: billed %v, units %q, want %v, %q", row.name, got, units, row.usd, row.units)
			}
		})
	}
}

func TestLinksAndResultsExpire(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Speed: emulator.Speed{Run: time.Minute}, LinkLife: time.Hour})
		forGood := New(Options{Ledger: s.Ledger()})
		kept := submitted(t, s, `{}`)
		unstored := submitted(t, s, `{}`, "X-Fal-Store-IO", "0")
		for _, row := range []struct {
			after                 time.Duration // since the row before
			link, other, unstored int
		}{
			{time.Minute, 200, 200, 200},
			{time.Hour - 1, 200, 200, 200},
			{1, 404, 200, 404},
			{DefaultResultLife - time.Hour - 1, 404, 200, 404},
			{1, 404, 404, 404},
		} {
			time.Sleep(row.after)
			at := "/fal-ai/kling-video/requests/"
			got := [3]int{
				do(t, s, "GET", "/media/"+kept+".mp4", "").Code, do(t, s, "GET", at+kept, "").Code,
				do(t, s, "GET", at+unstored+"/status", "").Code,
			}
			if want := [3]int{row.link, row.other, row.unstored}; got != want {
				t.Errorf("%v later: %v, want %v", row.after, got, want)
			}
		}
		if w := do(t, forGood, "GET", "/media/"+kept+".mp4", ""); w.Code != 200 {
			t.Errorf("a link that works for ever: %d", w.Code)
		}
	})
}
