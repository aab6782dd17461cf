package replicate

import (
	"encoding/json"
	"testing"

	"reelay/events"
	"reelay/internal/provider/jsonapi"
)

// TestMatches: a listed prediction is ours by the callback that it names, else by its input.
func TestMatches(t *testing.T) {
	input := `{"prompt":"a kite"}`
	digest, err := events.Digest([]byte(input))
	if err != nil {
		t.Fatal(err)
	}
	task := &events.Task{
		Project: "demo", ID: "a", InputDigest: digest, Attempts: []events.Attempt{{N: 2, Callback: true}},
	}
	const at = "https://r.test/cb/replicate/k/"
	for _, row := range []struct {
		name, item  string
		fits, exact bool
	}{
		{"its callback", `{"webhook":"` + at + `demo.a.2.29000000/mac"}`, true, true},
		{"of another attempt", `{"webhook":"` + at + `demo.a.1.29000000/mac","input":` + input + `}`, false, false},
		{"of another task", `{"webhook":"` + at + `demo.b.2.29000000/mac","input":` + input + `}`, false, false},
		{"a list without callbacks", `{"input":` + input + `}`, true, true},
		{"of another input", `{"input":{"prompt":"a boat"}}`, false, false},
		{"whose input is gone", `{"input":{},"data_removed":true}`, true, false},
	} {
		var item jsonapi.Object
		if err := json.Unmarshal([]byte(row.item), &item); err != nil {
			t.Fatal(err)
		}
		if fits, exact := matches(task, item); fits != row.fits || exact != row.exact {
			t.Errorf("%s: fits %v, exact %v, want %v, %v", row.name, fits, exact, row.fits, row.exact)
		}
	}
}
