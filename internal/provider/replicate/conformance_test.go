package replicate_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"reelay/events"
	"reelay/internal/emulator"
	sandbox "reelay/internal/emulator/replicate"
	"reelay/internal/provider"
	"reelay/internal/provider/replicate"
	"reelay/internal/secret"
	"reelay/internal/test/provider"
)

// version is that of a model.
var version = strings.Repeat("5c7d5dc6", 8)

func TestConformance(t *testing.T) {
	t.Parallel()
	providertest.Run(t, providertest.Harness{
		Driver: func(baseURL string, key secret.Value) (providertest.Driver, error) {
			return replicate.New(replicate.Options{BaseURL: baseURL, Key: key})
		},
		Emulator: func(speed emulator.Speed) (http.Handler, *emulator.Ledger) {
			s := sandbox.New(sandbox.Options{Speed: speed})
			return s, s.Ledger()
		},
		Features: provider.Features{Cancel: true, List: true, Webhook: true, Logs: true},
		Samples: []providertest.Sample{
			{Type: events.Video, Model: "bytedance/seedance-1-pro", Input: `{"prompt":"a kite over dunes","duration":5}`},
			{Type: events.Image, Model: "black-forest-labs/flux-schnell", Input: `{"prompt":"a kite","num_outputs":2}`},
			{Type: events.Audio, Model: "deployments/acme/speech-of-ours", Input: `{"text":"good evening"}`},
			{Type: events.Video, Model: "acme/wan:" + version, Input: `{"prompt":"a kite"}`},
			{Type: events.Video, Model: version, Input: `{"prompt":"a kite"}`},
		},
		UnknownID: "gm3qorzdhgbfurvjtvhg6dckhu", Fail: "E005", FailKind: events.KindModeration,
		Refusal: func(text string) provider.Reply {
			return provider.Reply{Status: 422, Body: fmt.Appendf(nil, `{"title":"Input validation failed","detail":%s,"status":422}`, strconv.Quote(text))}
		},
		RefusalKind: events.KindInvalid,
		Callback: func(id string) []byte {
			return fmt.Appendf(nil, `{"id":%s,"status":"succeeded","output":"https://replicate.delivery/x/out.mp4"}`, strconv.Quote(id))
		},
	})
}
