package sim_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/allinone"
	"reelay/internal/emulator"
	"reelay/internal/ffmpeg"
	"reelay/internal/test/sim"
	"reelay/services/media"
)

// A copier makes a copy of the first input, in ten seconds.
type copier struct{}

func (c *copier) Do(ctx context.Context, _ ffmpeg.Job, dir string, files []string, progress func(float64)) (ffmpeg.Made, error) {
	select {
	case <-ctx.Done():
		return ffmpeg.Made{}, context.Cause(ctx)
	case <-time.After(5 * time.Second):
	}
	progress(50)
	time.Sleep(5 * time.Second)
	made := ffmpeg.Made{Name: "made.mp4", ContentType: "video/mp4", DurationS: 2}
	content, err := os.ReadFile(filepath.Join(dir, files[0]))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, made.Name), content, 0o600)
	}
	return made, err
}

func (c *copier) find() (media.Worker, error) { return c, nil }

// soon has the emulators make things in seconds.
var soon = emulator.Speed{Queue: time.Second, Run: 5 * time.Second}

// segment publishes a chain from its end: a video and speech under it, and the end of a second segment that takes up
// what the first has made.
func segment(w *sim.World, n int) {
	w.Publish(video, fmt.Sprintf(`{"id":"both%d","provider":"local","model":"ffmpeg/concat","input":{"videos":[{"$from":"m%[1]d"},{"$from":"m%[1]d"}]}}`, n))
	w.Publish(video, fmt.Sprintf(`{"id":"m%d","provider":"local","model":"ffmpeg/mux","input":{"video":{"$from":"v%[1]d"},"audio":{"$from":"s%[1]d"}}}`, n))
	w.Publish(video, falRequest(fmt.Sprint("v", n), ""))
	w.Publish(events.RequestSubject("demo", events.Speech),
		fmt.Sprintf(`{"id":"s%d","provider":"minimax","model":"speech-02-hd","want":{"text":"hello","voice":"male-qn-qingse"}}`, n))
}

// TestWorkFaults: chains of tasks over two providers and the work that is done here, while the media service and then
// the submitter die at every write of that: everything is made once, stored, and told once.
func TestWorkFaults(t *testing.T) {
	for _, service := range []string{allinone.Media, allinone.Submitter} {
		t.Run(service, func(t *testing.T) {
			k, c := newKiller(service), &copier{}
			n := len(k.aims)
			o := sim.Options{Artifacts: true, Quiet: true, Faults: k.plan, FindWorker: c.find, Speed: soon}
			sim.Run(t, o, func(t *testing.T, w *sim.World) {
				for i := range n {
					segment(w, i)
					for range 6 {
						w.Settle(15 * time.Second)
						k.restart(w)
					}
				}
				w.Settle(5 * time.Minute)
				k.check(t)
				_, _, body := emulator.Media("video")
				for i := range n {
					for _, id := range []string{fmt.Sprint("m", i), fmt.Sprint("both", i)} {
						checkWork(t, w.AwaitEnd("demo", id), w.Story("demo", id), body)
					}
				}
			})
		})
	}
}

// checkWork checks a task that has made a copy.
func checkWork(t *testing.T, task events.Task, story []events.Event, body []byte) {
	t.Helper()
	if task.Status != events.StatusCompleted || task.Cost.ActualUSD != nil && *task.Cost.ActualUSD != 0 {
		t.Errorf("%s is %s, %v, cost %+v", task.ID, task.Status, task.Error, task.Cost)
		return
	}
	o := task.Result.Outputs[0]
	got, err := os.ReadFile(strings.TrimPrefix(o.StoredURL, "file://"))
	if err != nil || !bytes.Equal(got, body) || o.Object != "" || o.DurationS != 2 {
		t.Errorf("%s: %d bytes are stored, %v: %+v", task.ID, len(got), err, o)
	}
	if last := story[len(story)-1]; last.Type != events.EventStored {
		t.Errorf("%s: the story is %v", task.ID, sim.Types(story))
	}
}

// A hanger is at it, and gets nowhere, until it is stopped.
type hanger struct{ stopped atomic.Int32 }

func (h *hanger) Do(ctx context.Context, _ ffmpeg.Job, _ string, _ []string, _ func(float64)) (ffmpeg.Made, error) {
	<-ctx.Done()
	h.stopped.Add(1)
	return ffmpeg.Made{}, context.Cause(ctx)
}

func (h *hanger) find() (media.Worker, error) { return h, nil }

// TestWorkStops: what is cancelled or too late ends, costs nothing and is worked on no longer, although it has got no
// further; an input that nobody has ends its task.
func TestWorkStops(t *testing.T) {
	h := &hanger{}
	sim.Run(t, sim.Options{Artifacts: true, Quiet: true, FindWorker: h.find, Speed: soon}, func(t *testing.T, w *sim.World) {
		stopped := func(what string, want int32) {
			t.Helper()
			w.Settle(3 * time.Second) // the record is asked every two
			if got := h.stopped.Load(); got != want {
				t.Errorf("%s: %d pieces of work were stopped, want %d", what, got, want)
			}
		}
		w.Publish(video, falRequest("v", ""))
		source := w.AwaitEnd("demo", "v").Result.Outputs[0].URL
		mux := func(id, link, more string) {
			w.Publish(video, fmt.Sprintf(`{"id":%q,"provider":"local","model":"ffmpeg/thumbnail","input":{"video":%q}%s}`, id, link, more))
		}
		w.Publish(events.RequestSubject("demo", events.Image),
			`{"id":"typed","provider":"local","model":"ffmpeg/mux","input":{"video":"https://a.test/v","audio":"https://a.test/a"}}`)
		w.Publish(video, `{"id":"two","provider":"local","model":"ffmpeg/mux","input":{"video":"`+source+`","audio":"`+source+`"}}`)
		stopped("at it", 0)
		w.Ask(&events.TaskReply{}, events.VerbCancel, `{}`, "demo", "two")
		stopped("cancelled", 1)
		w.Publish(video, `{"id":"late","provider":"local","model":"ffmpeg/mux","input":{"video":"`+source+`","audio":"`+source+`"},"timeout":"2s"}`)
		w.Publish(video, `{"id":"gone","provider":"local","model":"ffmpeg/mux","input":{"video":"`+source+`","audio":"http://127.0.0.1:7101/nothing/here.mp3"}}`)
		w.Publish(video, `{"id":"inside","provider":"local","model":"ffmpeg/mux","input":{"video":"`+source+`","audio":"http://169.254.169.254/x"}}`)
		mux("picture", source, "")
		for id, want := range map[string]string{
			"two": "cancelled ", "late": "failed " + events.CodeDeadlineExceeded, "gone": "failed input_unavailable",
			"inside": "failed input_unavailable",
		} {
			task := w.AwaitEnd("demo", id)
			code := ""
			if task.Error != nil {
				code = task.Error.Code
			}
			if got := string(task.Status) + " " + code; got != want || task.Error != nil && task.Error.Charge != events.ChargeNone {
				t.Errorf("%s: %s, %+v, want %s", id, got, task.Error, want)
			}
		}
		stopped("too late", 2)
		for _, id := range []string{"typed", "picture"} {
			if story := w.Story("demo", id); story[0].Type != events.EventRejected || story[0].Error.Field != "task_type" {
				t.Errorf("%s: %+v", id, story[0])
			}
		}
	})
}

// TestWithoutWorker: while nobody can do the work its tasks wait, and say why.
func TestWithoutWorker(t *testing.T) {
	c, there := &copier{}, atomic.Bool{}
	find := func() (media.Worker, error) {
		if there.Load() {
			return c, nil
		}
		return nil, errors.New("no ffmpeg")
	}
	sim.Run(t, sim.Options{Artifacts: true, Quiet: true, FindWorker: find, Speed: soon}, func(t *testing.T, w *sim.World) {
		segment(w, 1)
		w.Settle(2 * time.Minute)
		got := w.Get("demo", "m1")
		if got.Phase != events.PhaseWaiting || len(got.Attempts) > 0 || got.Blocked == nil ||
			got.Blocked.Reason != events.BlockedUnreachable || !strings.Contains(got.Blocked.Message, "ffmpeg") {
			t.Errorf("it is %s after %d attempts, blocked by %+v", got.Phase, len(got.Attempts), got.Blocked)
		}
		there.Store(true)
		if got := w.AwaitEnd("demo", "both1"); got.Status != events.StatusCompleted {
			t.Errorf("it is %s: %+v", got.Status, got.Error)
		}
	})
}
