package comfy_test

import (
	"fmt"
	"net/http"
	"strconv"
	"testing"

	"reelay/events"
	"reelay/internal/emulator"
	sandbox "reelay/internal/emulator/comfy"
	"reelay/internal/provider"
	"reelay/internal/provider/comfy"
	"reelay/internal/secret"
	"reelay/internal/test/provider"
)

const graph = `{"3":{"class_type":"KSampler","inputs":{"seed":7}},"9":{"class_type":"SaveVideo","inputs":{"video":["3",0]}},` +
	`"10":{"class_type":"PreviewImage","inputs":{}}}`

func TestConformance(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		kind     sandbox.Kind
		path     string
		features provider.Features
	}{
		{sandbox.Current, "/api/", provider.Features{Cancel: true, List: true, Position: true}},
		{sandbox.V2, "/api/v2", provider.Features{Cancel: true, List: true, Position: true, Progress: true, Repeatable: true}},
	} {
		t.Run(string(row.kind), func(t *testing.T) {
			t.Parallel()
			providertest.Run(t, providertest.Harness{
				Driver: func(baseURL string, key secret.Value) (providertest.Driver, error) {
					return comfy.New(comfy.Options{BaseURL: baseURL + row.path, Key: key})
				},
				Emulator: func(speed emulator.Speed) (http.Handler, *emulator.Ledger) {
					s := sandbox.New(sandbox.Options{Kind: row.kind, Speed: speed})
					return s, s.Ledger()
				},
				Free: true, Features: row.features,
				Samples:   []providertest.Sample{{Type: events.Video, Model: "wan-t2v", Input: graph}},
				UnknownID: "00000000-0000-4000-8000-000000000000", Fail: "OutOfMemoryError", FailKind: events.KindInternal,
				Refusal: func(text string) provider.Reply {
					return provider.Reply{Status: 400, Body: fmt.Appendf(nil, `{"error":{"type":"prompt_outputs_failed_validation","message":%s},"node_errors":{}}`,
						strconv.Quote(text))}
				},
				RefusalKind: events.KindInvalid,
			})
		})
	}
}
