package events_test

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"reelay/events"
)

// genValue draws a JSON value; numbers are spelt in ways that a float64 does not keep.
func genValue(depth int) *rapid.Generator[any] {
	leaf := rapid.OneOf(
		rapid.String().AsAny(), rapid.Bool().AsAny(), rapid.Just[any](nil),
		rapid.SampledFrom([]json.Number{
			"0", "-0", "1", "1.0", "1e0", "12345678901234567890", "0.1", "1E400",
			"-2.50",
		}).AsAny(),
	)
	if depth == 0 {
		return leaf
	}
	return rapid.OneOf(leaf, rapid.SliceOfN(genValue(depth-1), 0, 4).AsAny(),
		rapid.MapOfN(rapid.String(), genValue(depth-1), 0, 4).AsAny())
}

func genObject() *rapid.Generator[map[string]any] {
	return rapid.MapOfN(rapid.String(), genValue(2), 0, 5)
}

// spell writes v with any order of members and any white space.
func spell(t *rapid.T, b *strings.Builder, v any) {
	blank := func() { b.WriteString(rapid.StringMatching(`[ \t\r\n]{0,3}`).Draw(t, "blank")) }
	blank()
	switch v := v.(type) {
	case map[string]any:
		names := make([]string, 0, len(v))
		for name := range v {
			names = append(names, name)
		}
		b.WriteByte('{')
		for i, name := range rapid.Permutation(names).Draw(t, "order") {
			if i > 0 {
				b.WriteByte(',')
			}
			blank()
			b.Write(mustMarshal(t, name))
			blank()
			b.WriteByte(':')
			spell(t, b, v[name])
		}
		b.WriteByte('}')
	case []any:
		b.WriteByte('[')
		for i, member := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			spell(t, b, member)
		}
		b.WriteByte(']')
	default:
		b.Write(mustMarshal(t, v))
	}
	blank()
}

func digest(t rapid.TB, text string) string {
	t.Helper()
	d, err := events.Digest([]byte(text))
	if err != nil {
		t.Fatalf("%.200s: %v", text, err)
	}
	return d
}

func TestDigestIgnoresOrderAndWhiteSpace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := genValue(3).Draw(t, "value")
		var a, b strings.Builder
		spell(t, &a, v)
		spell(t, &b, v)
		if digest(t, a.String()) != digest(t, b.String()) {
			t.Fatalf("two spellings differ:\n%s\n%s", a.String(), b.String())
		}
	})
}

func TestDigestTellsValuesApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := genValue(2).Draw(t, "a"), genValue(2).Draw(t, "b")
		// Marshal writes members in order, so two texts are equal when the values are.
		same := string(mustMarshal(t, a)) == string(mustMarshal(t, b))
		if got := digest(t, string(mustMarshal(t, a))) == digest(t, string(mustMarshal(t, b))); got != same {
			t.Fatalf("same digest: %v, want %v, for %#v and %#v", got, same, a, b)
		}
	})
}

func TestDigest(t *testing.T) {
	// A digest is stored and compared over years and builds: its form is pinned by numbers computed apart, with
	// printf '%s' <canonical> | sha256sum.
	for text, want := range map[string]string{
		`{}`:                                  "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
		` { "b" : [1.0,"<&>"], "a" : null } `: "3a5e07228ee26c3f3ac406d028096654f8984590af13d6a7a071710d6b88e29c",
	} {
		if got := digest(t, text); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	for _, row := range []struct {
		a, b string
		same bool
	}{
		{`{"a":1,"b":2}`, `{ "b":2, "a":1 }`, true},
		{`{"a":"A"}`, `{"a":"\u0041"}`, true},
		{`{"a":"<"}`, `{"a":"\u003c"}`, true},
		{`{"a":1}`, `{"a":1.0}`, false},
		{`{"a":1}`, `{"a":1e0}`, false},
		{`{"a":12345678901234567890}`, `{"a":12345678901234567891}`, false},
		{`{"a":0}`, `{"a":-0}`, false},
		{`{"a":1}`, `{"a":"1"}`, false},
		{`{"a":null}`, `{}`, false},
		{`[1,2]`, `[2,1]`, false},
		{`{"a":"x"}`, `{"a":"x "}`, false},
	} {
		if got := digest(t, row.a) == digest(t, row.b); got != row.same {
			t.Errorf("%s and %s: same digest %v, want %v", row.a, row.b, got, row.same)
		}
	}
	for _, row := range []struct{ name, text, want string }{
		{"nothing", ``, "EOF"},
		{"cut off", `{"a":`, "unexpected EOF"},
		{"text behind", `{} {}`, "text after the JSON value"},
		{"a brace behind", `{}}`, "text after the JSON value"},
		{"no JSON", `x`, "invalid character 'x' looking for beginning of value"},
	} {
		if d, err := events.Digest([]byte(row.text)); err == nil || err.Error() != row.want {
			t.Errorf("%s: digest %s, error %v, want %q", row.name, d, err, row.want)
		}
	}
}

func TestRequestDigest(t *testing.T) {
	of := func(r events.Request, tt events.TaskType) string {
		t.Helper()
		d, err := r.Digest(tt)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	base := of(fullRequest(), events.Video)
	if of(fullRequest(), events.Image) == base {
		t.Error("the task type does not count")
	}
	// A change of any field but the id is another request.
	changes := map[string]func(*events.Request){
		"ID":              func(r *events.Request) { r.ID = "another" },
		"Provider":        func(r *events.Request) { r.Provider = "minimax" },
		"Model":           func(r *events.Request) { r.Model += "x" },
		"Input":           func(r *events.Request) { r.Input = json.RawMessage(`{"prompt":"a fish"}`) },
		"Want":            func(r *events.Request) { r.Want = &events.Want{Seed: new(int64(0))} },
		"InputFiles":      func(r *events.Request) { r.InputFiles["image_url"] = "other.png" },
		"Lenient":         func(r *events.Request) { r.Lenient = true },
		"SceneID":         func(r *events.Request) { r.SceneID = "" },
		"BatchID":         func(r *events.Request) { r.BatchID = "" },
		"BatchSize":       func(r *events.Request) { r.BatchSize++ },
		"Priority":        func(r *events.Request) { r.Priority++ },
		"Timeout":         func(r *events.Request) { r.Timeout += events.Duration(time.Nanosecond) },
		"StartTimeout":    func(r *events.Request) { r.StartTimeout = 0 },
		"OnInDoubt":       func(r *events.Request) { r.OnInDoubt = events.InDoubtFail },
		"MaxPaidAttempts": func(r *events.Request) { r.MaxPaidAttempts++ },
		"EstimatedUSD":    func(r *events.Request) { r.EstimatedUSD += 0.01 },
		"MaxCostUSD":      func(r *events.Request) { r.MaxCostUSD += 0.01 },
		"Keep":            func(r *events.Request) { r.Keep = "" },
		"Notify":          func(r *events.Request) { r.Notify = "" },
		"Metadata":        func(r *events.Request) { r.Metadata["take"] = "4" },
		"After":           func(r *events.Request) { r.After = r.After[1:] },
		"OnDependency":    func(r *events.Request) { r.OnDependency = "" },
		"RetryOf":         func(r *events.Request) { r.RetryOf = "another" },
		"PayAgain":        func(r *events.Request) { r.PayAgain = true },
		"Replace":         func(r *events.Request) { r.Replace = map[string]string{"a": "b"} },
		"NotBefore":       func(r *events.Request) { r.NotBefore = nil },
	}
	if fields := reflect.TypeFor[events.Request]().NumField(); fields != len(changes) {
		t.Errorf("%d fields, %d changes", fields, len(changes))
	}
	for name, change := range changes {
		r := fullRequest()
		change(&r)
		if same := of(r, events.Video) == base; same != (name == "ID") {
			t.Errorf("%s changed: same digest %v", name, same)
		}
	}
	// So is a change of any field of a want.
	digests := map[string]string{of(wantRequest(), events.Video): "the whole"}
	fields := reflect.TypeFor[events.Want]()
	for i := range fields.NumField() {
		r := wantRequest()
		reflect.ValueOf(r.Want).Elem().Field(i).SetZero()
		d, name := of(r, events.Video), fields.Field(i).Name
		if other, same := digests[d]; same {
			t.Errorf("without %s of want the digest is that of %s", name, other)
		}
		digests[d] = "without " + name
	}

	spelt, err := events.DecodeRequest(
		[]byte(` {"timeout":"1800s", "model":"m", "input":{"b":1, "a":2}, "provider":"fal","id":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	again, err := events.DecodeRequest([]byte(`{"provider":"fal","model":"m","timeout":"30m","input":{"a":2,"b":1}}`))
	if err != nil {
		t.Fatal(err)
	}
	if of(spelt, events.Video) != of(again, events.Video) {
		t.Error("the same request, written in two ways, has two digests")
	}

	bad := fullRequest()
	bad.MaxCostUSD = math.NaN()
	if _, err := bad.Digest(events.Video); err == nil {
		t.Error("NaN has a digest")
	}
	bad = fullRequest()
	bad.Input = json.RawMessage(`{`)
	if _, err := bad.Digest(events.Video); err == nil {
		t.Error("an input that is no JSON has a digest")
	}
}
