package openai_test

import (
	"net/http"
	"strconv"
	"testing"

	"reelay/events"
	"reelay/internal/emulator"
	sandbox "reelay/internal/emulator/openai"
	"reelay/internal/provider"
	"reelay/internal/provider/openai"
	"reelay/internal/secret"
	"reelay/internal/test/provider"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	h := providertest.Harness{
		Driver: func(baseURL string, key secret.Value) (providertest.Driver, error) {
			return openai.New(openai.Options{BaseURL: baseURL, Key: key})
		},
		Emulator: func(speed emulator.Speed) (http.Handler, *emulator.Ledger) {
			s := sandbox.New(sandbox.Options{Speed: speed})
			return s, s.Ledger()
		},
		Free:     true,
		Features: provider.Features{Cancel: true, List: true, Progress: true},
		Samples: []providertest.Sample{{
			Type: events.Video, Model: "Wan-AI/Wan2.2-T2V-A14B-Diffusers",
			Input: `{"prompt":"a kite over dunes","size":"1280x720","seconds":"5"}`,
		}},
		UnknownID: "video_gen_0", Fail: "moderation_blocked", FailKind: events.KindModeration,
		Refusal: func(text string) provider.Reply {
			return provider.Reply{Status: 400, Body: []byte(`{"detail":` + strconv.Quote(text) + `}`)}
		},
		RefusalKind: events.KindInvalid,
	}
	providertest.Run(t, h)
	h.Features = provider.Features{Synchronous: true}
	h.Samples = []providertest.Sample{
		{Type: events.Image, Model: "images/Qwen/Qwen-Image", Input: `{"prompt":"a kite","n":2}`},
		{Type: events.Image, Model: "images/default", Input: `{"prompt":"a kite","response_format":"url"}`},
		{Type: events.Speech, Model: "speech/Qwen/Qwen3-TTS", Input: `{"input":"good evening","voice":"vivian"}`},
	}
	providertest.RunAnswered(t, h)
}
