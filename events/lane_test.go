package events_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"reelay/events"
)

func TestDecodeLaneLimits(t *testing.T) {
	many := make([]string, events.MaxLaneKeys+1)
	for i := range many {
		many[i] = fmt.Sprintf(`"p%d":{}`, i)
	}
	rows := []struct {
		name, value string
		field       string // of the error; "" if there is none
	}{
		{"nothing", `{}`, ""},
		{"all", `{"models":{"*":{"requests":20,"window":"90s","in_flight":3,"spacing":"1s"}},` +
			`"projects":{"demo":{"weight":3,"requests":2,"in_flight":1}},"by":"ann"}`, ""},
		{"the most", `{"models":{"m":{"requests":1000000,"window":"24h","in_flight":1000000,"spacing":"1h"}},` +
			`"projects":{"p":{"weight":1000}}}`, ""},
		{"no JSON", `20`, "limits"},
		{"a typing error", `{"models":{"*":{"request":20}}}`, "limits"},
		{"a bare number of seconds", `{"models":{"*":{"window":60}}}`, "limits"},
		{"no model", `{"models":{"":{}}}`, "models"},
		{"a long model", `{"models":{"` + strings.Repeat("m", events.MaxModelBytes+1) + `":{}}}`, "models"},
		{"requests", `{"models":{"*":{"requests":-1}}}`, "models.*.requests"},
		{"too many requests", `{"models":{"*":{"requests":1000001}}}`, "models.*.requests"},
		{"window", `{"models":{"*":{"window":"-1s"}}}`, "models.*.window"},
		{"a long window", `{"models":{"*":{"window":"25h"}}}`, "models.*.window"},
		{"in flight", `{"models":{"*":{"in_flight":-1}}}`, "models.*.in_flight"},
		{"spacing", `{"models":{"*":{"spacing":"2h"}}}`, "models.*.spacing"},
		{"no project", `{"projects":{"a.b":{}}}`, "projects"},
		{"weight", `{"projects":{"p":{"weight":1001}}}`, "projects.p.weight"},
		{"requests of a project", `{"projects":{"p":{"requests":-1}}}`, "projects.p.requests"},
		{"in flight of a project", `{"projects":{"p":{"in_flight":-1}}}`, "projects.p.in_flight"},
		{"too many projects", `{"projects":{` + strings.Join(many, ",") + `}}`, "limits"},
	}
	for _, row := range rows {
		_, err := events.DecodeLaneLimits([]byte(row.value))
		var fe *events.FieldError
		if row.field == "" && err != nil || row.field != "" && (!errors.As(err, &fe) || fe.Field != row.field) {
			t.Errorf("%s: %v, want an error of field %q", row.name, err, row.field)
		}
	}
}

func TestFamily(t *testing.T) {
	defaults := map[string]events.ModelLimits{events.AnyModel: {Requests: 20}, "MiniMax-H3": {Requests: 300}}
	l := events.LaneLimits{Models: map[string]events.ModelLimits{"MiniMax-H3": {Requests: 5}, "MiniMax-H3-Max": {}}}.Over(
		defaults)
	for model, want := range map[string]string{
		"MiniMax-Hailuo-2.3": events.AnyModel, "MiniMax-H3": "MiniMax-H3", "MiniMax-H3-Pro": "MiniMax-H3",
		"MiniMax-H3-Max": "MiniMax-H3-Max", "": events.AnyModel, "*": events.AnyModel,
	} {
		if got := l.LimitGroup(model); got != want {
			t.Errorf("%q belongs to %q, want %q", model, got, want)
		}
	}
	if l.Models["MiniMax-H3"].Requests != 5 || l.Models[events.AnyModel].Requests != 20 ||
		defaults["MiniMax-H3"].Requests != 300 {
		t.Errorf("over the defaults %v: %v", defaults, l.Models)
	}
	if _, ok := (events.LaneLimits{}).Over(nil).Models[events.AnyModel]; !ok {
		t.Error("without defaults no family is there")
	}
	if w := (events.ModelLimits{}).EachWindow(); w != time.Minute {
		t.Errorf("a window is %v", w)
	}
}

// FuzzLaneLimits: what can be read is valid, and the same when it is written and read again.
func FuzzLaneLimits(f *testing.F) {
	f.Add([]byte(`{"models":{"*":{"requests":20,"window":"90s","in_flight":3,"spacing":"1s"}},` +
		`"projects":{"demo":{"weight":3}}}`))
	f.Add([]byte(`{"polls":{"spacing":"30s","per_second":5}}`))
	f.Add([]byte(`{"models":null,"at":"2026-01-02T03:04:05Z"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := events.DecodeLaneLimits(data)
		var fe *events.FieldError
		if err != nil {
			if !errors.As(err, &fe) {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		written, err := events.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		again, err := events.DecodeLaneLimits(written)
		if err != nil {
			t.Fatalf("%s: %v", written, err)
		}
		if rewritten, err := events.Marshal(again); err != nil || !reflect.DeepEqual(rewritten, written) {
			t.Fatalf("%s, %v after %s", rewritten, err, written)
		}
	})
}
