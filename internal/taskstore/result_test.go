package taskstore

import (
	"encoding/json"
	"slices"
	"testing"

	"reelay/events"
	"reelay/internal/provider"
)

// A link that only repeats the input is no output, unless the provider says more of it than the link.
func TestDropEchoes(t *testing.T) {
	input := json.RawMessage(`{"image_url":"https://a/in.png","list":[{"url":" https://a/in2.png"}],"prompt":"a kite"}`)
	for _, row := range []struct {
		name    string
		state   provider.State
		outputs []events.Output
		want    int
		notes   int
	}{
		{"an echo beside a file", provider.Succeeded, []events.Output{{URL: "https://a/o"}, {URL: "https://a/in.png"}}, 1, 0},
		{"nothing but echoes", provider.Succeeded, []events.Output{{URL: "https://a/in2.png"}}, 0, 1},
		{"a file of the same link", provider.Succeeded, []events.Output{{URL: "https://a/in.png", Size: 7}, {URL: "https://a/o"}}, 2, 0},
		{"no echo", provider.Succeeded, []events.Output{{URL: "https://a/o"}}, 1, 0},
		{"no end", provider.Running, []events.Output{{URL: "https://a/in.png"}}, 1, 0},
	} {
		snap := provider.Snapshot{State: row.state, Outputs: slices.Clone(row.outputs)}
		(&Store{}).dropEchoes(t.Context(), events.Task{Input: input}, &snap)
		if len(snap.Outputs) != row.want || len(snap.Notes) != row.notes {
			t.Errorf("%s: %v, notes %q, want %d and %d", row.name, snap.Outputs, snap.Notes, row.want, row.notes)
		}
	}
}

func TestDataBytes(t *testing.T) {
	for link, want := range map[string]string{
		"data:image/png;base64,AAEC":     "\x00\x01\x02",
		"DATA:image/png;base64,AAE=":     "\x00\x01",
		"data:image/png;base64,AAE":      "\x00\x01",
		"data:;base64,_-8":               "\xff\xef",
		"data:text/plain,a%20b":          "a b",
		"data:image/png;base64,no base!": "data:image/png;base64,no base!",
	} {
		if got := string(dataBytes(link)); got != want {
			t.Errorf("%s: %q, want %q", link, got, want)
		}
	}
}
