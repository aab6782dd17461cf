package submitter_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/provider"
)

// askFor publishes a request of the project demo.
func (w *world) askFor(id, model string) events.Key {
	w.Helper()
	_, err := w.client.JetStream().Publish(w.Context(), events.RequestSubject("demo", events.Music),
		fmt.Appendf(nil, `{"id":%q,"provider":"acme","model":%q,"input":{"id":%q}}`, id, model, id))
	w.ok(err)
	return events.Key{Project: "demo", ID: id}
}

// get returns a record.
func (w *world) get(k events.Key) events.Task {
	w.Helper()
	t, err := w.store.Get(w.Context(), k)
	w.ok(err)
	return t
}

// longSong is a result whose file and whose text are both too large for a record.
func longSong() *provider.Snapshot {
	file := bytes.Repeat([]byte("la"), 300<<10)
	return &provider.Snapshot{
		State:   provider.Succeeded,
		Outputs: []events.Output{{URL: "data:audio/mpeg;base64," + base64.StdEncoding.EncodeToString(file)}},
		Raw:     json.RawMessage(`{"lyrics":"` + strings.Repeat("la", 20<<10) + `"}`),
	}
}

// wantSong checks that a task has ended with what longSong is, in the object store.
func (w *world) wantSong(k events.Key) {
	w.Helper()
	t := w.get(k)
	if t.Status != events.StatusCompleted || t.Result == nil || len(t.Result.Outputs) != 1 || t.Result.RawRef == "" {
		w.Fatalf("%s: %s, result %+v, error %v", k, t.Status, t.Result, t.Error)
	}
	o := t.Result.Outputs[0]
	content, err := w.client.GetObject(w.Context(), o.Object)
	if err != nil || len(content) != 600<<10 || o.Size != 600<<10 || o.URL != "" {
		w.Errorf("%s: %d bytes are stored as %s (%d), %v", k, len(content), o.Object, o.Size, err)
	}
	if raw, err := w.client.GetObject(w.Context(), t.Result.RawRef); err != nil || !json.Valid(raw) {
		w.Errorf("%s: raw result of %d bytes, %v", k, len(raw), err)
	}
}

// TestAnsweredWithResults: an answer that is the result ends its task. It takes minutes, in which others are sent.
func TestAnsweredWithResults(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.provider.result, w.provider.delay = longSong(), 3*minute
		begin := time.Now()
		var keys []events.Key
		for i := range 10 {
			keys = append(keys, w.askFor(fmt.Sprintf("song-%d", i), "song"))
		}
		r := w.start()
		time.Sleep(minute)
		if taken := w.provider.taken(); len(taken) != 10 || taken[9].at.Sub(begin) > minute/2 {
			w.Fatalf("%d of 10 were sent in a minute", len(taken))
		}
		time.Sleep(3 * minute)
		for _, k := range keys {
			w.wantSong(k)
		}
		if pending := r.journal.Pending(); len(pending) > 0 {
			w.Errorf("%d are pending in the journal", len(pending))
		}
		if n := w.get(keys[0]).Attempts[0]; n.SharedID {
			w.Error("an alarm, and nobody asks by an id that was made of the answer")
		}
		if w.get(keys[0]).OnInDoubt != events.InDoubtFail {
			w.Error("a person would be asked about what nobody can find out")
		}
	})
}

// TestAnswerOutlivesItsProcess: a result that was answered before the broker went away and the process died is recorded
// by the next one on the same disk, and nothing is sent again.
func TestAnswerOutlivesItsProcess(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		var away atomic.Bool
		w.provider.result = longSong()
		w.lose = func(point string) bool { return away.Load() && (strings.HasPrefix(point, "put/") || point == "object") }
		k := w.askFor("song-1", "song")
		r := w.start()
		r.onGate(func() { away.Store(true) })
		time.Sleep(minute / 2)
		if phase := w.get(k).Phase; phase != events.PhaseSubmitting {
			w.Fatalf("phase %s, want submitting: nothing can be written", phase)
		}
		r.crash()
		away.Store(false)
		r.restart()
		time.Sleep(minute)
		w.wantSong(k)
		if n := len(w.provider.taken()); n != 1 {
			w.Errorf("sent %d times", n)
		}
	})
}

// TestLostResult: an answer that is lost leaves its task in doubt; what becomes of that by default depends on whether
// the provider may be asked again.
func TestLostResult(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.provider.result = longSong()
		w.dial = func() (net.Conn, error) {
			c, err := w.provider.dial()
			return deaf{c}, err
		}
		song, voice := w.askFor("song-1", "song"), w.askFor("voice-1", "voice")
		w.start()
		time.Sleep(6 * minute)
		for k, want := range map[events.Key]events.InDoubtPolicy{song: events.InDoubtFail, voice: events.InDoubtResubmit} {
			t := w.get(k)
			if t.Phase != events.PhaseInDoubt || t.OnInDoubt != want || t.Attempt().Charge != events.ChargePossible ||
				(t.MaxPaidAttempts > 1) != (want == events.InDoubtResubmit) {
				w.Errorf("%s: %s, policy %s, attempts %d, charge %s", k, t.Phase, t.OnInDoubt, t.MaxPaidAttempts,
					t.Attempt().Charge)
			}
		}
	})
}

// deaf hears nothing of an answer.
type deaf struct{ net.Conn }

func (d deaf) Read([]byte) (int, error) {
	time.Sleep(minute) // the request leaves meanwhile
	return 0, net.ErrClosed
}
