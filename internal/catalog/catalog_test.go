package catalog_test

import (
	"encoding/json"
	"errors"
	"testing"

	"reelay/events"
	"reelay/internal/catalog"
	"reelay/internal/forecast"
	"reelay/internal/group"
	"reelay/internal/provider"
	"reelay/internal/want"
)

// nothing has learned nothing.
type nothing struct{}

func (nothing) Forecast(events.Task) *forecast.Forecast { return &forecast.Forecast{} }

// A wish that tells an emulator what to do can be quoted in the sandbox, and nowhere else.
func TestQuoteOfScript(t *testing.T) {
	planner, err := want.NewPlanner()
	if err != nil {
		t.Fatal(err)
	}
	for _, emulated := range []bool{true, false} {
		c := catalog.Catalog{
			Wants: planner, Forecasts: nothing{},
			Lanes: []provider.Lane{{Name: "fal", Provider: "fal", Emulated: emulated}},
		}
		q, err := c.Quote(t.Context(), events.QuoteRequest{TaskType: events.Video, Request: events.Request{Want: &events.Want{
			Prompt: "a kite", Options: json.RawMessage(`{"emulate":{"run_ms":1}}`),
		}}})
		var refused *events.Error
		if emulated && (err != nil || string(q.Input) != `{"emulate":{"run_ms":1},"prompt":"a kite"}`) ||
			!emulated && (!errors.As(err, &refused) || refused.Field != "want.options.emulate") {
			t.Errorf("emulated %t: %s %v", emulated, q.Input, err)
		}
	}
}

// A group of lanes is a name of its provider, as it is in a request.
func TestQuoteOfGroup(t *testing.T) {
	c := catalog.Catalog{
		Forecasts: nothing{},
		Lanes:     []provider.Lane{{Name: "gpu1", Provider: "comfy", Free: true}},
		Groups:    []group.Group{{Name: "gpu", Members: []group.Member{{Lane: "gpu1", Weight: 1}}}},
	}
	q, err := c.Quote(t.Context(), events.QuoteRequest{TaskType: events.Video, Request: events.Request{
		Provider: "gpu", Model: "m", Input: json.RawMessage(`{}`),
	}})
	if err != nil || q.Provider != "comfy" || q.Cost == nil {
		t.Errorf("%+v, %v", q, err)
	}
}
