package fal_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"reelay/events"
	"reelay/internal/emulator"
	emufal "reelay/internal/emulator/fal"
	"reelay/internal/provider"
	"reelay/internal/provider/fal"
	"reelay/internal/secret"
	"reelay/internal/test/provider"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	providertest.Run(t, providertest.Harness{
		Driver: func(baseURL string, key secret.Value) (providertest.Driver, error) {
			return fal.New(fal.Options{BaseURL: baseURL, Key: key})
		},
		Emulator: func(speed emulator.Speed) (http.Handler, *emulator.Ledger) {
			s := emufal.New(emufal.Options{Speed: speed})
			return s, s.Ledger()
		},
		Features: provider.Features{Cancel: true, List: true, Webhook: true, Progress: true, Position: true, Logs: true},
		Samples: []providertest.Sample{
			{Type: events.Video, Model: "fal-ai/kling-video/v3/pro/text-to-video", Input: `{"prompt":"a reel of film"}`},
			{Type: events.Image, Model: "fal-ai/flux/schnell", Input: `{"prompt":"a reel of film","num_images":3}`},
			{Type: events.Audio, Model: "workflows/someone/soundscape", Input: `{"prompt":"a projector"}`},
			{Type: events.Speech, Model: "fal-ai/minimax/speech-2.8-hd", Input: `{"prompt":"lights, please"}`},
		},
		UnknownID: "019e1951-c778-7120-9c82-16efcf40ec82",
		Fail:      "content_policy_violation",
		FailKind:  events.KindModeration,
		Refusal: func(text string) provider.Reply {
			body, _ := json.Marshal(map[string]string{"detail": text})
			return provider.Reply{Status: http.StatusBadRequest, Body: body}
		},
		RefusalKind: events.KindInvalid,
		Callback: func(id string) []byte {
			return []byte(`{"error": null, "gateway_request_id": "g", "payload": {"video": {"url": ` +
				`"https://v3.fal.media/o.mp4"}}, "request_id": "` + id + `", "status": "OK"}`)
		},
	})
}
