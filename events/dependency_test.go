package events_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"reelay/events"
)

func TestReferences(t *testing.T) {
	const input = ` { "image" : {"$from":"a"} , "list":[ 1.50,{ "$from" : "b", "output" : 2 },"x" ],
		"deep":{"k":{"$from":"c","field":"/data/0/url"}}, "text":"\"$from\" is text", "other":{"from":"d"} }`
	refs, err := events.References("input", json.RawMessage(input))
	if err != nil {
		t.Fatal(err)
	}
	want := []events.Reference{
		{From: "a", Path: "input.image"},
		{From: "b", Output: 2, Path: "input.list[1]"},
		{From: "c", Field: "/data/0/url", Path: "input.deep.k"},
	}
	if !slices.Equal(refs, want) {
		t.Errorf("references %+v, want %+v", refs, want)
	}
	got, err := events.ReplaceReferences("input", json.RawMessage(input),
		func(r events.Reference) (json.RawMessage, error) { return fmt.Appendf(nil, "%q", "of "+r.From), nil })
	const replaced = `{ "image" : "of a" , "list":[ 1.50,"of b","x" ],
		"deep":{"k":"of c"}, "text":"\"$from\" is text", "other":{"from":"d"} }`
	if err != nil || string(got) != replaced {
		t.Errorf("replaced: %s, %v\nwant %s", got, err, replaced)
	}
	if got, err := events.ReplaceReferences("input", json.RawMessage(`{"a": 1}`), nil); err != nil || string(got) != `{"a": 1}` {
		t.Errorf("without a reference: %s, %v", got, err)
	}
}

func TestBadReferences(t *testing.T) {
	for _, row := range []struct{ input, want string }{
		{`{"a":{"$from":7}}`, "input.a.$from: must be a string, not number"},
		{`{"a":{"$from":"x.y"}}`, "input.a.$from: must be a task id: 1 to 64 characters of A-Z a-z 0-9 _ -"},
		{`{"a":[{"$from":"b","path":"c"}]}`, "input.a[0].path: unknown field"},
		{`{"a":{"x":1,"$from":"b"}}`, "input.a.x: unknown field"},
		{`{"a":{"$from":"b","$from":"c"}}`, "input.a.$from: is given twice"},
		{`{"a":{"$from":"b","output":1,"field":"c"}}`, "input.a: has both output and field"},
		{`{"a":{"$from":"b","output":-1}}`, "input.a.output: -1 is not between 0 and 999"},
		{`{"a":{"$from":"b","output":"1"}}`, "input.a.output: must be a whole number, not string"},
		{`{"a":{"$from":"b","field":"` + strings.Repeat("f", 201) + `"}}`, "input.a.field: 201 bytes are over the limit of 200"},
		{`{"$from":"b"}`, "input: must not be a reference as a whole"},
		{
			strings.Repeat(`{"a":`, 66) + `{"$from":"b"}` + strings.Repeat("}", 66),
			"input" + strings.Repeat(".a", 61) + "*",
		},
		{
			`{"a":[` + strings.TrimSuffix(strings.Repeat(`{"$from":"b"},`, 257), ",") + `]}`,
			"input: has more than 256 references",
		},
		{`{"a":[{"$from":"b"}]`, "input: bad JSON: it ends too early"},
	} {
		_, err := events.References("input", json.RawMessage(row.input))
		wantFieldError(t, err, row.want)
	}
}

func TestDependencies(t *testing.T) {
	var many []string
	for i := range events.MaxDependencies {
		many = append(many, fmt.Sprintf("t%d", i))
	}
	quoted := func(ids []string) string { return `"` + strings.Join(ids, `","`) + `"` }
	ref := func(id string) string {
		return `{"provider":"fal","model":"m","id":"me","input":{"a":{"$from":"` + id + `"}}`
	}
	for _, row := range []struct {
		data, err string
		want      []string
	}{
		{request(), "", nil},
		{request(`"after":[]`), "", nil},
		{request(`"after":["b","a","b"]`), "", []string{"b", "a"}},
		{ref("c") + `,"after":["b","a"]}`, "", []string{"b", "a", "c"}},
		{ref("b") + `,"after":["b","a"]}`, "", []string{"b", "a"}},
		{ref("t0") + `,"after":[` + quoted(many) + `]}`, "", many},
		{ref("c") + `,"after":[` + quoted(many) + `]}`, "input.a: more than 64 tasks to depend on", nil},
		{request(`"after":[` + quoted(append(many, "more")) + `]`), "after: more than 64 tasks to depend on", nil},
		{request(`"after":["a.b"]`), "after: must be task ids: 1 to 64 characters of A-Z a-z 0-9 _ -", nil},
		{request(`"after":"a"`), "after: must be a list of strings, not string", nil},
		{request(`"after":["a",1]`), "after: must be a list of strings, but holds another value: number", nil},
		{request(`"id":"me"`, `"after":["me"]`), "after: names the task itself", nil},
		{ref("me") + `}`, "input.a: names the task itself", nil},
		{request(`"on_dependency":"skip"`), `on_dependency: "skip" is not fail or ignore`, nil},
		{request(`"not_before":"tomorrow"`), `not_before: must be a time such as "2026-01-31T12:00:00Z"*`, nil},
		{request(`"not_before":"2026-01-31T12:00:00+02:00"`), "", nil},
	} {
		r, err := events.DecodeRequest([]byte(row.data))
		wantFieldError(t, err, row.err)
		if row.err != "" {
			continue
		}
		if got, err := r.Dependencies(); err != nil || !slices.Equal(got, row.want) {
			t.Errorf("%s: depends on %v, %v, want %v", row.data, got, err, row.want)
		}
	}
}

// A request as it was before there were dependencies has the digest that it had: it stays the same task.
func TestDigestWithoutDependencies(t *testing.T) {
	r := events.Request{Provider: "fal", Model: "m", Input: json.RawMessage(`{}`)}
	got, err := r.Digest(events.Video)
	if want := "137c8332d4cf7f0cf7d638804aee946d62cfc4835b6fea37a60ee07e49e24e86"; err != nil || got != want {
		t.Errorf("digest %s, %v, want %s", got, err, want)
	}
	r.After = []string{"a"}
	if other, err := r.Digest(events.Video); err != nil || other == got {
		t.Errorf("digest %s, %v: it does not tell what the task waits for", other, err)
	}
}

// Inputs as large and as deep as a request can bring are walked in no time.
func TestReferencesOfHostileInputs(t *testing.T) {
	deep := strings.Repeat("[", 9_000) + `{"$from":"a"}` + strings.Repeat("]", 9_000)
	wide := bytes.Repeat([]byte(`{"a":"$from"},`), 60_000)
	begun := time.Now()
	_, err := events.References("input", json.RawMessage(deep))
	wantFieldError(t, err, "input[0]*")
	if refs, err := events.References("input", append(append([]byte("["), wide...), []byte("0]")...)); err != nil || refs != nil {
		t.Errorf("%v, %v: text is no reference", refs, err)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

func FuzzReferences(f *testing.F) {
	for _, seed := range []string{
		`{"a":{"$from":"b"}}`, `{"a":[{"$from":"b","output":1},{"$from":"c","field":"/x/0"}]}`, `{"$from":{"$from":"a"}}`,
		`{"a":"\"$from\""}`, ` [ {"$from" :"a" } , 1e5 ] `,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, input string) {
		if !json.Valid([]byte(input)) {
			return
		}
		n := 0
		got, err := events.ReplaceReferences("input", json.RawMessage(input),
			func(events.Reference) (json.RawMessage, error) { n++; return json.RawMessage("0"), nil })
		switch {
		case err != nil:
			wantBounded(t, "references", err)
		case !json.Valid(got):
			t.Errorf("%q became %q, which is no JSON", input, got)
		case n == 0 && !bytes.Equal(got, bytes.TrimSpace([]byte(input))):
			t.Errorf("%q has no reference and became %q", input, got)
		}
	})
}
