package submitter_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"reelay/events"
	"reelay/events/bucket"
)

// TestObjectsOfBuckets: a request that names an object of a bucket has a copy of it in its record, which the archiver has
// made. It waits while that is under way, but not for ever, and is rejected where the object may not or cannot be read. One
// that has become a task stays it when the object is gone.
func TestObjectsOfBuckets(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		png := append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, 100)...)
		name := events.CopyName("s3://box/ready.png", "1")
		file, err := w.client.PutInput(w.Context(), "p", name, "", bytes.NewReader(png))
		w.ok(err)
		var busy time.Time
		var gone atomic.Bool
		archiver := func(m *nats.Msg) {
			var r events.CopyRequest
			_ = json.Unmarshal(m.Data, &r) // another URL is refused
			answer := nats.NewMsg(m.Reply)
			switch {
			case strings.HasPrefix(r.URL, "azblob://box/never"), r.URL == "s3://box/ready.png" && time.Now().Before(busy):
				answer.Header.Set("Nats-Service-Error-Code", "503")
				answer.Data = []byte(`{"error":{"code":"unavailable","message":"7 bytes are being copied","retryable":true}}`)
			case r.URL == "s3://box/ready.png" && !gone.Load():
				answer.Data, _ = events.Marshal(file)
			default:
				answer.Header.Set("Nats-Service-Error-Code", "422")
				answer.Data = []byte(`{"error":{"code":"unknown_file","message":"its bucket is not allowed"}}`)
			}
			_ = m.RespondMsg(answer)
		}
		_, err = w.client.Conn().Subscribe(events.APISubject(events.VerbCopy, "p"), archiver)
		w.ok(err)
		w.put(bucket.Lanes, "acme", `{"paused":true}`)
		ready := w.publish("ready", `"input":{},"input_files":{"image":"s3://box/ready.png"}`)
		time.Sleep(20 * minute) // nobody takes requests in
		busy = time.Now().Add(minute)
		w.start()
		never := w.publish("never", `"input":{},"input_files":{"image":"azblob://box/never.png"}`)
		other := w.publish("other", `"input":{},"input_files":{"image":"s3://other/a b.png"}`)
		time.Sleep(minute / 2)
		w.wantRejected(other, "unknown_file", "input.image", "input.image: s3://other/a b.png: its bucket is not allowed")
		if _, _, err := w.client.Get(w.Context(), ready); err == nil {
			w.Error("a task without the copy")
		}
		time.Sleep(minute)
		want := `"image":{"$file":"` + name + `","sha256":"` + file.SHA256 + `"}`
		if got := w.record(ready); !strings.Contains(string(got.Input), want) {
			w.Errorf("the record has %s, want %s", got.Input, want)
		}
		gone.Store(true)
		w.publish("ready", `"input":{},"input_files":{"image":"s3://box/ready.png"}`)
		time.Sleep(20 * minute)
		w.wantRejected(never, "unavailable", "input.image",
			"input.image: azblob://box/never.png could not be copied: 7 bytes are being copied (unavailable)")
		if n := w.rejections(); n != 2 {
			w.Errorf("%d rejections, want 2", n)
		}
		if left, err := w.client.HasRequests(w.Context()); err != nil || left {
			w.Errorf("a request is left: %v", err)
		}
	})
}

// wantRejected: a request was rejected, with a reason.
func (w *world) wantRejected(k events.Key, code, field, message string) {
	w.Helper()
	s, err := w.client.JetStream().Stream(w.Context(), events.StreamEvents)
	w.ok(err)
	m, err := s.GetLastMsgForSubject(w.Context(), events.EventSubject(k, events.EventRejected))
	if err != nil {
		w.Errorf("%s is not rejected: %v", k, err)
		return
	}
	var e events.Event
	w.ok(json.Unmarshal(m.Data, &e))
	if e.Error == nil || e.Error.Code != code || e.Error.Field != field || e.Error.Message != message {
		w.Errorf("%s is rejected by %+v, want %s", k, e.Error, message)
	}
}
