package minimax_test

import (
	"net/http"
	"strconv"
	"testing"

	"reelay/events"
	"reelay/internal/emulator"
	sandbox "reelay/internal/emulator/minimax"
	"reelay/internal/provider"
	"reelay/internal/provider/minimax"
	"reelay/internal/secret"
	"reelay/internal/test/provider"
)

const (
	inputV1 = `{"prompt":"a kite over dunes [Pan left]","duration":6,"resolution":"768P"}`
	inputV2 = `{"content":[{"type":"text","text":"a boy plays by the sea"}],"resolution":"768P","duration":5,` +
		`"ratio":"16:9"}`
)

func newDriver(baseURL string, key secret.Value) (providertest.Driver, error) {
	return minimax.New(minimax.Options{BaseURL: baseURL, Key: key})
}

func newEmulator(speed emulator.Speed) (http.Handler, *emulator.Ledger) {
	s := sandbox.New(sandbox.Options{Speed: speed})
	return s, s.Ledger()
}

func TestConformanceV1(t *testing.T) {
	t.Parallel()
	providertest.Run(t, providertest.Harness{
		Driver: newDriver, Emulator: newEmulator,
		Features:  provider.Features{Webhook: true},
		Samples:   []providertest.Sample{{Type: events.Video, Model: "MiniMax-Hailuo-2.3", Input: inputV1}},
		UnknownID: "999999999999999", Fail: "1027", FailKind: events.KindModeration,
		Refusal: func(text string) provider.Reply {
			return provider.Reply{
				Status: 200,
				Body:   []byte(`{"task_id":"","base_resp":{"status_code":2013,"status_msg":` + strconv.Quote(text) + `}}`),
			}
		},
		RefusalKind: events.KindInvalid,
		Callback: func(id string) []byte {
			return []byte(`{"task_id":"` + id +
				`","status":"success","file_id":"7","base_resp":{"status_code":0,"status_msg":"success"}}`)
		},
	})
}

func TestConformanceV2(t *testing.T) {
	t.Parallel()
	providertest.Run(t, providertest.Harness{
		Driver: newDriver, Emulator: newEmulator,
		Features:  provider.Features{Cancel: true, List: true, Webhook: true},
		Samples:   []providertest.Sample{{Type: events.Video, Model: "MiniMax-H3", Input: inputV2}},
		UnknownID: "999999999999999", Fail: "1027", FailKind: events.KindModeration,
		Refusal: func(text string) provider.Reply {
			return provider.Reply{
				Status: 402, Body: []byte(`{"type":"error","error":{"type":"insufficient_balance_error","message":` +
					strconv.Quote(text+" (1008)") + `,"http_code":"402"},"request_id":"02ab"}`),
			}
		},
		RefusalKind: events.KindQuota,
		Callback: func(id string) []byte {
			return []byte(`{"task":{"id":"` + id + `","model":"MiniMax-H3","status":"succeeded"}}`)
		},
	})
}

// refusedV1 is a refusal in the envelope of V1.
func refusedV1(text string) provider.Reply {
	return provider.Reply{
		Status: 200,
		Body:   []byte(`{"data":null,"base_resp":{"status_code":2013,"status_msg":` + strconv.Quote(text) + `}}`),
	}
}

const (
	inputSpeech = `{"text":"good evening","voice_setting":{"voice_id":"English_expressive_narrator"}}`
	inputClone  = `{"file_id":176844028768320,"need_noise_reduction":true}`
)

func TestConformanceSpeech(t *testing.T) {
	t.Parallel()
	providertest.Run(t, providertest.Harness{
		Driver: newDriver, Emulator: newEmulator,
		Features:  provider.Features{},
		NoQueue:   true,
		Samples:   []providertest.Sample{{Type: events.Speech, Model: "speech-2.8-hd", Input: inputSpeech}},
		UnknownID: "999999999999999", Fail: "1027", FailKind: events.KindModeration,
		Refusal: refusedV1, RefusalKind: events.KindInvalid,
		Callback: func(id string) []byte {
			return []byte(`{"task_id":` + id + `,"status":"success","base_resp":{"status_code":0}}`)
		},
	})
}

func TestConformanceAnswered(t *testing.T) {
	t.Parallel()
	run := func(features provider.Features, samples ...providertest.Sample) {
		providertest.RunAnswered(t, providertest.Harness{
			Driver: newDriver, Emulator: newEmulator, Features: features, Samples: samples,
			Refusal: refusedV1, RefusalKind: events.KindInvalid,
		})
	}
	run(provider.Features{Synchronous: true},
		providertest.Sample{Type: events.Speech, Model: "t2a_v2/speech-2.8-hd", Input: inputSpeech},
		providertest.Sample{Type: events.Music, Model: "music-2.6", Input: `{"prompt":"a waltz","lyrics":"la la"}`},
		providertest.Sample{Type: events.Image, Model: "image-01", Input: `{"prompt":"a kite","n":3}`},
		providertest.Sample{
			Type: events.Voice, Model: "voice_design", Input: `{"prompt":"an old sailor","preview_text":"ahoy"}`,
		})
	run(provider.Features{Synchronous: true, Repeatable: true},
		providertest.Sample{Type: events.Voice, Model: "voice_clone", Input: inputClone},
		providertest.Sample{Type: events.Voice, Model: "get_voice", Input: `{"voice_type":"all"}`})
}
