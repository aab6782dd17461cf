package sim_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/allinone"
	"reelay/internal/emulator"
	"reelay/internal/failpoint"
	"reelay/internal/test/sim"
)

var artifactTasks = flag.Int("sim.artifacts", 40, "how many results TestArtifactFaults has stored")

// killer lets a service die at one write after the other.
type killer struct {
	service string

	mu      sync.Mutex
	aims    []aimed
	dead    bool
	reached map[string]bool
}

// newKiller returns one that aims at each of a service's deaths, before and after the write.
func newKiller(service string) *killer {
	k := &killer{service: service, reached: map[string]bool{}}
	for _, point := range deaths()[service] {
		k.aims = append(k.aims, aimed{point, failpoint.Outcome{Lose: true}}, aimed{point, failpoint.Outcome{LoseAnswer: true}})
	}
	return k
}

// check fails the test unless every death has happened, and the tables have every failpoint that was reached.
func (k *killer) check(t *testing.T) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.aims) > 0 {
		t.Errorf("%d deaths have not happened: %v", len(k.aims), k.aims)
	}
	if more := unlisted(k.reached); len(more) > 0 {
		t.Errorf("failpoints of %s that no table has: %q", k.service, more)
	}
}

type aimed struct {
	point   string
	outcome failpoint.Outcome
}

func (k *killer) plan(service string) failpoint.Plan {
	if service != k.service {
		return nil
	}
	return func(point string) failpoint.Outcome {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.reached[point] = true
		switch {
		case k.dead:
			return failpoint.Outcome{Lose: true}
		case len(k.aims) == 0 || k.aims[0].point != point:
			return failpoint.Outcome{}
		}
		k.dead = true
		outcome := k.aims[0].outcome
		k.aims = k.aims[1:]
		return outcome
	}
}

// restart starts a service that has died.
func (k *killer) restart(w *sim.World) {
	k.mu.Lock()
	dead := k.dead
	k.mu.Unlock()
	if !dead {
		return
	}
	w.Stack.CrashService(k.service)
	w.Settle(5 * time.Second)
	k.mu.Lock()
	k.dead = false
	k.mu.Unlock()
	if err := w.Stack.StartService(w.T.Context(), k.service); err != nil {
		w.T.Fatal(err)
	}
}

// mediaTap counts the bytes of media that come, and cuts the media off for a while.
type mediaTap struct {
	next  http.RoundTripper
	bytes atomic.Int64
	away  atomic.Bool
}

func (m *mediaTap) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.Contains(r.URL.Path, "/media/") {
		return m.next.RoundTrip(r)
	}
	if m.away.Load() {
		return nil, errors.New("no route to host")
	}
	res, err := m.next.RoundTrip(r)
	if err == nil {
		res.Body = &tapped{res.Body, &m.bytes}
	}
	return res, err
}

type tapped struct {
	io.ReadCloser
	bytes *atomic.Int64
}

func (t *tapped) Read(p []byte) (int, error) {
	n, err := t.ReadCloser.Read(p)
	t.bytes.Add(int64(n))
	return n, err
}

// TestArtifactFaults: links that die six minutes after the end and cannot be had again, a fifth of the downloads broken,
// the media away for five minutes, and an archiver that dies at every write: every file is stored, with the right bytes,
// told once, and little is fetched twice.
func TestArtifactFaults(t *testing.T) {
	k, tap := newKiller(allinone.Archiver), &mediaTap{}
	aims := len(k.aims)
	o := sim.Options{
		Artifacts: true, Quiet: true, Faults: k.plan, Speed: emulator.Speed{Queue: time.Second, Run: 5 * time.Second},
		WrapTransport: func(next http.RoundTripper) http.RoundTripper { tap.next = next; return tap },
	}
	faults := []string{"cut", "html", "redirect", "refuse_503", "type", "stall", "short", "cut", "refuse_403", "cut"}
	sim.Run(t, o, func(t *testing.T, w *sim.World) {
		for i := range *artifactTasks {
			script := `{"link_life_ms":360000}`
			if i%5 == 0 {
				script = fmt.Sprintf(`{"link_life_ms":360000,"link":%q,"link_faults":%d}`, faults[i/5%len(faults)], 1+i/5%2)
			}
			keep := ""
			if i%3 == 0 || i == *artifactTasks/2 {
				keep = `,"keep":"required"`
			}
			w.Publish(video, fmt.Sprintf(`{"id":"t%d","provider":"fal","model":"fal-ai/kling-video/v3/pro/text-to-video",`+
				`"input":{"prompt":"a kite %d","emulate":%s}%s}`, i, i, script, keep))
			w.Settle(10 * time.Second)
			k.restart(w)
			if i == *artifactTasks/2 {
				tap.away.Store(true)
				for range 15 { // it may die in this time too
					w.Settle(20 * time.Second)
					k.restart(w)
				}
				if o := w.Get("demo", fmt.Sprintf("t%d", i)).Result.Outputs[0]; o.Stored != nil || o.StoreError == nil {
					t.Errorf("while the media are away: stored %v, %v", o.Stored, o.StoreError)
				}
				tap.away.Store(false)
			}
		}
		for range 20 {
			w.Settle(time.Minute)
			k.restart(w)
		}
		k.check(t)
		kept := int64(0)
		_, _, body := emulator.Media("video")
		for i := range *artifactTasks {
			id := fmt.Sprintf("t%d", i)
			task := w.Get("demo", id)
			if o := task.Result.Outputs[0]; task.Status != events.StatusCompleted || !o.IsStored() || o.StoreError != nil {
				t.Errorf("%s is %s, stored %v: %v", id, task.Status, task.Result.Outputs[0].Stored, task.Result.Outputs[0].StoreError)
				continue
			}
			path := strings.TrimPrefix(task.Result.Outputs[0].StoredURL, "file://")
			if got, err := os.ReadFile(filepath.FromSlash(path)); err != nil || !bytes.Equal(got, body) {
				t.Errorf("%s: %d bytes are stored, %v", id, len(got), err)
			}
			kept += int64(len(body))
			n := 0
			for _, e := range w.Story("demo", id) {
				if e.Type == events.EventStored {
					n++
				}
			}
			if n != 1 {
				t.Errorf("%s: %d events say that it is stored", id, n)
			}
		}
		ratio := float64(tap.bytes.Load()) / float64(kept)
		t.Logf("%d results, %d bytes fetched for each byte kept: %.3f, %d deaths", *artifactTasks, tap.bytes.Load(), ratio, aims)
		if ratio > 1.3 {
			t.Errorf("%.3f bytes were fetched for each that was kept", ratio)
		}
	})
}
