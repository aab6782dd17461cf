package sim_test

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"strings"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/test/sim"
)

// frame is a small picture that every model takes, another for each number.
func frame(t *testing.T, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 301+n, 301))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// putFrame hands a picture in as the operator does with `nats object put`.
func putFrame(t *testing.T, w *sim.World, name string, n int) {
	t.Helper()
	store, err := w.JS.ObjectStore(t.Context(), events.InputBucket)
	if err == nil {
		_, err = store.PutBytes(t.Context(), events.InputObject("demo", name), frame(t, n))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// withFrame is the input of a model with a picture as its first frame.
func withFrame(model, name, script string) string {
	file := fmt.Sprintf(`{"$file":%q}`, name)
	switch model {
	case "MiniMax-H3":
		return `"provider":"minimax","model":"MiniMax-H3","input":{"content":[{"type":"text","text":"p"},{"type":"image_url",` +
			`"role":"first_frame","image_url":{"url":` + file + `}}],"resolution":"768P","duration":5,"emulate":` + script + `}`
	case "MiniMax-Hailuo-2.3":
		return `"provider":"minimax","model":"MiniMax-Hailuo-2.3","input":{"prompt":"p","first_frame_image":` + file +
			`,"emulate":` + script + `}`
	}
	return `"provider":"fal","model":"` + falVideo + `","input":{"prompt":"p","image_url":` + file + `,"emulate":` + script + `}`
}

// TestFiles: each provider is given the files that requests name, once for each account, and a request whose answer was
// lost is found by what was sent. It is paid for once.
func TestFiles(t *testing.T) {
	sim.Run(t, sim.Options{Quiet: true}, func(t *testing.T, w *sim.World) {
		putFrame(t, w, "a.png", 0)
		requests := map[string]string{
			"fal": withFrame("fal", "a.png", `{}`), "fal-lost": withFrame("fal", "a.png", `{"submit":"accept_then_reset"}`),
			"v2": withFrame("MiniMax-H3", "a.png", `{}`), "v1": withFrame("MiniMax-Hailuo-2.3", "a.png", `{}`),
			"want": `"model":"kling-v3","want":{"prompt":"p","image":"a.png"}`,
		}
		for id, body := range requests {
			w.Publish(video, `{"id":"`+id+`",`+body+`}`)
		}
		for id := range requests {
			task := w.AwaitEnd("demo", id)
			if task.Status != events.StatusCompleted || len(task.Attempts) != 1 {
				t.Errorf("%s: %s after %d attempts, %v", id, task.Status, len(task.Attempts), task.Error)
				continue
			}
			sent := fmt.Sprintf("%s", task.Attempts[0].Files)
			wants := map[string]string{"v1": "map[]", "v2": "mm_file://"}[id]
			if wants == "" {
				wants = "/storage/files/"
			}
			if !strings.Contains(string(task.Input), `"sha256":"`) || !strings.Contains(sent, wants) {
				t.Errorf("%s: its input is %s, sent was %s", id, task.Input, sent)
			}
		}
		// By the API: the same request is the same task, an unknown file is said at once.
		var reply events.TaskReply
		if e := w.Ask(&reply, events.VerbSubmit, `{"id":"v1",`+requests["v1"]+`}`, "demo", "video"); e != nil || reply.Task.ID != "v1" {
			t.Errorf("asked for again: %v, %+v", reply.Task.ID, e)
		}
		e := w.Ask(&reply, events.VerbSubmit, `{"want":{"image":"b.png"}}`, "demo", "video")
		if e == nil || e.Code != events.CodeUnknownFile || e.Field != "want.image" {
			t.Errorf("an unknown file: %+v", e)
		}
		putFrame(t, w, "a.png", 1)
		e = w.Ask(&reply, events.VerbSubmit, `{"id":"v1",`+requests["v1"]+`}`, "demo", "video")
		if e == nil || e.Code != events.CodeIdempotencyConflict {
			t.Errorf("another file of the name: %+v", e)
		}
		for provider, jobs := range map[string]int{"fal": 3, "minimax": 2} {
			l := w.Stack.Ledger(provider)
			if len(l.Jobs()) != jobs || len(l.Uploads()) != 1 {
				t.Errorf("%s: %d jobs, want %d; %d uploads, want 1", provider, len(l.Jobs()), jobs, len(l.Uploads()))
			}
		}
	})
}

// TestFileGone: a task whose file is another one by the time it may be sent, or is gone, fails and costs nothing. What the
// provider has already is not needed here any more.
func TestFileGone(t *testing.T) {
	sim.Run(t, sim.Options{Quiet: true}, func(t *testing.T, w *sim.World) {
		for i, name := range []string{"kept.png", "other.png", "gone.png"} {
			putFrame(t, w, name, i)
		}
		w.Publish(video, `{"id":"first",`+withFrame("fal", "kept.png", `{}`)+`}`)
		w.AwaitEnd("demo", "first")
		later := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
		for _, name := range []string{"kept", "other", "gone"} {
			w.Publish(video, `{"id":"`+name+`","not_before":"`+later+`",`+withFrame("fal", name+".png", `{}`)+`}`)
		}
		w.Settle(time.Minute)
		store, err := w.JS.ObjectStore(t.Context(), events.InputBucket)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"kept.png", "gone.png"} {
			if err := store.Delete(t.Context(), events.InputObject("demo", name)); err != nil {
				t.Fatal(err)
			}
		}
		putFrame(t, w, "other.png", 9)
		// The same request is still the same task.
		w.Publish(video, `{"id":"gone","not_before":"`+later+`",`+withFrame("fal", "gone.png", `{}`)+`}`)
		for id, code := range map[string]string{"kept": "", "other": events.CodeUnsuitableFile, "gone": events.CodeUnknownFile} {
			task := w.AwaitEnd("demo", id)
			switch {
			case code == "" && task.Status != events.StatusCompleted:
				t.Errorf("%s: %s, %v", id, task.Status, task.Error)
			case code != "" && (task.Error == nil || task.Error.Code != code || task.Error.Charge != events.ChargeNone):
				t.Errorf("%s: %s, %+v, want %s", id, task.Status, task.Error, code)
			}
			for _, e := range w.Story("demo", id) {
				if e.Type == events.EventRejected {
					t.Errorf("%s: rejected as %s", id, e.Error.Message)
				}
			}
		}
		if jobs := w.Stack.Ledger("fal").Jobs(); len(jobs) != 2 {
			t.Errorf("%d jobs were paid for, want 2", len(jobs))
		}
	})
}
