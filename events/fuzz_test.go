package events_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"reelay/events"
)

// goldens returns the content of every golden file.
func goldens(f *testing.F) map[string][]byte {
	f.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "v1", "*.json"))
	if err != nil || len(files) == 0 {
		f.Fatalf("%d goldens, %v", len(files), err)
	}
	all := map[string][]byte{}
	for _, file := range files {
		if all[filepath.Base(file)], err = os.ReadFile(file); err != nil {
			f.Fatal(err)
		}
	}
	return all
}

// A request is what a stranger publishes. It is read or refused by a bounded error, and what was read is written and
// read again as the same request.
func FuzzDecodeRequest(f *testing.F) {
	f.Add(goldens(f)["request.json"])
	f.Add(goldens(f)["request_want.json"])
	for _, seed := range []string{
		request(), request(`"timeout":"1h30m"`, `"metadata":{"a":"b"}`), request(`"priority":1.5`), `{"provider":"fal"`, `[]`,
		``, request(`"input":{}`), request("\"scene_id\":\"\\u2028\xff\""),
		`{"provider":"p","model":"m","input":{"a":1E400,"a":-0}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := events.DecodeRequest(data)
		if err != nil {
			wantBounded(t, "request", err)
			return
		}
		first := mustMarshal(t, r)
		if len(first) > events.MaxRequestBytes { // escapes can make it longer than what was read
			return
		}
		again, err := events.DecodeRequest(first)
		if err != nil {
			t.Fatalf("what was read is refused: %v\n%s", err, first)
		}
		if second := mustMarshal(t, again); !bytes.Equal(first, second) {
			t.Fatalf("written as\n%s\nthen as\n%s", first, second)
		}
		a, err := r.Digest(events.Video)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := again.Digest(events.Video); err != nil || a != b {
			t.Fatalf("digest %s, then %s, %v", a, b, err)
		}
	})
}

// A subject that a parser accepts is exactly the one that its builder makes: no two subjects name one task.
func FuzzParseSubjects(f *testing.F) {
	k := events.Key{Project: "demo", ID: "shot-042"}
	for _, seed := range []string{
		"", ".", "..", k.String(), "reelay.request.demo.video", events.CommandSubject(k, events.CommandCancel),
		events.RecordSubject(k), events.HeartbeatSubject(k), events.PollSubject("fal", k), events.CallbackSubject("fal", k),
		events.EventSubject(k, events.EventCompleted), "reelay.event.demo.*.>", "reelay.poll.fal.demo",
		"reelay.command.demo.shot 042.cancel",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, subject string) {
		for _, form := range forms() {
			p, err := form.parse(subject)
			if err != nil {
				continue
			}
			if back := form.build(p); back != subject {
				t.Errorf("%s: %q is read as %+v, which is %q", form.name, subject, p, back)
			}
		}
	})
}

// Whatever stands in the event stream, reading it does not panic, and what was read is written and read again as the
// same event.
func FuzzDecodeEvent(f *testing.F) {
	for _, file := range goldens(f) {
		var g eventGolden
		if err := json.Unmarshal(file, &g); err != nil {
			f.Fatal(err)
		}
		f.Add(g.Header[events.HeaderType], []byte(g.Payload))
	}
	f.Add("", []byte(`{"type":"queued","time":"9999-12-31T23:59:59.999999999+23:59","task":{"input":null,"metadata":{}}}`))
	f.Add("reelay.task.queued.v2", []byte(`{}`))
	f.Fuzz(func(t *testing.T, ceType string, data []byte) {
		e, err := events.DecodeEvent(ceType, data)
		if err != nil {
			return
		}
		if ceType != "" && e.Header()[events.HeaderType] != ceType {
			t.Fatalf("read under %q as an event of %q", ceType, e.Header()[events.HeaderType])
		}
		first := mustMarshal(t, e)
		again, err := events.DecodeEvent(ceType, first)
		if err != nil {
			t.Fatalf("what was read is refused: %v\n%s", err, first)
		}
		if second := mustMarshal(t, again); !bytes.Equal(first, second) {
			t.Fatalf("written as\n%s\nthen as\n%s", first, second)
		}
	})
}
