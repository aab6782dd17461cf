package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"reelay/events"
)

// TestSubmitLines: each line is a request, a wrong one keeps none of the others, and the same file again is the same tasks.
func TestSubmitLines(t *testing.T) {
	b := newBench(t)
	b.answer(events.VerbSubmit, func(_ string, payload []byte) any {
		r, err := events.DecodeRequest(payload)
		if err != nil || r.Model == "dear" {
			return events.Error{Code: events.CodeUnsupported, Message: "too dear", Charge: events.ChargeNone}
		}
		return events.TaskReply{Task: with(aTask(), func(t *events.Task) { t.ID = r.ID })}
	})
	const want, other = `{"want":{"prompt":"a kite"}}`, `{"id":"t2","want":{"prompt":"风筝"}}`
	good := filepath.Join(t.TempDir(), "good.jsonl")
	if err := os.WriteFile(good, []byte(want+"\n\n"+other+"\n"+want), 0o600); err != nil {
		t.Fatal(err)
	}
	ids := func() []string {
		r := b.reelay("submit", "video", "--jsonl", good, "--project", "demo")
		r.check(t, 0, "t2\n", "3 accepted, 0 rejected")
		all := strings.Fields(r.stdout)
		slices.Sort(all)
		return all
	}
	first := ids()
	if len(slices.Compact(slices.Clone(first))) != 3 || !slices.Equal(first, ids()) {
		t.Errorf("ids %v, then others", first)
	}

	b.heard()
	lines := []string{want, `{"id":"t3","wants":{}}`, `no JSON`, `{"id":"t4","model":"dear","want":{"prompt":"a"}}`, other}
	e, stdout, stderr := testEnv()
	e.stdin = strings.NewReader(strings.Join(lines, "\n"))
	code := execute(t.Context(), e, []string{"submit", "video", "--jsonl", "-", "--json", "--server", b.url})
	r := result{code, stdout.String(), stderr.String()}
	r.check(t, 1, "", "2 accepted, 3 rejected")
	r.check(t, 1, "", "line 4: too dear")
	if n := len(b.heard()); n != 3 {
		t.Errorf("%d were handed in", n)
	}
	told := map[int]string{}
	for line := range strings.Lines(r.stdout) {
		var l lineResult
		if err := json.Unmarshal([]byte(line), &l); err != nil || (l.Task == nil) == (l.Error == nil) {
			t.Errorf("%v: %s", err, line)
		}
		told[l.Line] = l.ID
	}
	if len(told) != 5 || told[2] != "t3" || told[4] != "t4" || told[5] != "t2" {
		t.Errorf("told %v", told)
	}
	b.reelay("submit", "video", "--jsonl", good, "--prompt", "x").check(t, 2, "", "--prompt is for one request")
	b.reelay("submit", "video", "--jsonl", good+"x").check(t, 2, "", "--jsonl")
}
