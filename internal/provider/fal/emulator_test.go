package fal_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"reelay/events"
	"reelay/internal/emulator"
	emufal "reelay/internal/emulator/fal"
	"reelay/internal/provider"
	"reelay/internal/provider/fal"
	"reelay/internal/secret"
)

// inProcess answers a request by a handler, without a socket, so that a bubble's time stands still meanwhile.
type inProcess struct{ h http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	in := r.Clone(r.Context())
	in.Host = r.URL.Host
	if in.Body == nil {
		in.Body = http.NoBody
	}
	p.h.ServeHTTP(w, in)
	return w.Result(), nil
}

func submit(t *testing.T, d *fal.Driver, h http.Handler, task events.Task, input string) provider.Answer {
	t.Helper()
	r, err := d.Render(task, []byte(input), "")
	if err != nil {
		t.Fatal(err)
	}
	req := httptest.NewRequest(http.MethodPost, r.URL, bytes.NewReader(r.Body))
	req.Header = r.Header
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return d.Classify(task.Model, nil, provider.Reply{Status: w.Code, Header: w.Header(), Body: w.Body.Bytes()})
}

// One task from the queue to its result, polled each second of its life.
func TestAWholeLife(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := emufal.New(emufal.Options{Speed: emulator.Speed{Queue: 10 * time.Second, Run: 20 * time.Second, Position: 4}})
		d, err := fal.New(fal.Options{BaseURL: "https://queue.example.test", Key: secret.New("k"), Transport: inProcess{h}})
		if err != nil {
			t.Fatal(err)
		}
		a := submit(t, d, h, events.Task{Model: "fal-ai/veo3.1"}, `{"prompt":"p"}`)
		last, lastProgress, lines := 4, 0.0, 0
		for second := range 32 {
			s, err := d.Poll(t.Context(), a.Ref)
			if err != nil {
				t.Fatalf("second %d: %v", second, err)
			}
			want := provider.Queued
			switch {
			case second >= 30:
				want = provider.Succeeded
			case second >= 10:
				want = provider.Running
			}
			if s.State != want {
				t.Fatalf("second %d: %s, want %s", second, s.State, want)
			}
			if s.State == provider.Queued {
				if s.Position == nil || *s.Position > last {
					t.Errorf("second %d: position %v after %d", second, s.Position, last)
				}
				last = *s.Position
			}
			if s.State == provider.Running {
				if s.Progress == nil || *s.Progress < lastProgress || len(s.Logs) < lines {
					t.Errorf("second %d: progress %v after %v, %d lines after %d", second, s.Progress, lastProgress, len(s.Logs),
						lines)
				}
				lastProgress, lines = *s.Progress, len(s.Logs)
			}
			time.Sleep(time.Second)
		}
		if last != 0 || lastProgress < 90 {
			t.Errorf("the last position was %d, the last progress %v, want 0 and over 90", last, lastProgress)
		}
	})
}

// A start deadline is kept by fal itself, and ends the task there.
func TestStartTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := emufal.New(emufal.Options{Speed: emulator.Speed{Queue: time.Hour, Run: time.Minute}})
		d, err := fal.New(fal.Options{BaseURL: "https://queue.example.test", Key: secret.New("k"), Transport: inProcess{h}})
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		start := now.Add(90 * time.Second)
		a := submit(t, d, h, events.Task{Model: "fal-ai/veo3.1", CreatedAt: now, StartDeadline: &start}, `{}`)
		time.Sleep(89 * time.Second)
		if s, err := d.Poll(t.Context(), a.Ref); err != nil || s.State != provider.Queued {
			t.Errorf("before the deadline: %s, %v, want queued", s.State, err)
		}
		time.Sleep(2 * time.Second)
		s, err := d.Poll(t.Context(), a.Ref)
		if err != nil || s.State != provider.Failed || s.Err.Kind != events.KindDeadline ||
			s.Err.Charge != events.ChargeNone {
			t.Errorf("after the deadline: %s, %v, %v, want failed by a deadline and free", s.State, s.Err, err)
		}
	})
}

func TestEveryScriptedFailure(t *testing.T) {
	t.Parallel()
	h := emufal.New(emufal.Options{})
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	d, err := fal.New(fal.Options{BaseURL: server.URL, Key: secret.New("k")})
	if err != nil {
		t.Fatal(err)
	}
	for fail, want := range map[string]events.Kind{
		"400": events.KindInvalid, "422": events.KindInvalid, "500": events.KindInternal, "502": events.KindInternal,
		"503": events.KindInternal, "504": events.KindDeadline, "startup_timeout": events.KindDeadline,
		"content_policy_violation": events.KindModeration, "image_too_small": events.KindInvalid,
		"runner_disconnected": events.KindInternal, "client_cancelled": "", "499": "",
	} {
		a := submit(t, d, h, events.Task{Model: "fal-ai/flux/dev"}, `{"emulate":{"fail":"`+fail+`"}}`)
		s, err := d.Poll(t.Context(), a.Ref)
		switch {
		case err != nil:
			t.Errorf("%s: %v", fail, err)
		case want == "" && s.State != provider.Cancelled:
			t.Errorf("%s: %s, want cancelled", fail, s.State)
		case want != "" && (s.State != provider.Failed || s.Err.Kind != want):
			t.Errorf("%s: %s, %v, want failed with kind %s", fail, s.State, s.Err, want)
		}
	}
}

// A request may fall back to the queue; that is no news of its end.
func TestRegress(t *testing.T) {
	t.Parallel()
	h := emufal.New(emufal.Options{})
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	d, err := fal.New(fal.Options{BaseURL: server.URL, Key: secret.New("k")})
	if err != nil {
		t.Fatal(err)
	}
	a := submit(t, d, h, events.Task{Model: "fal-ai/flux/dev"},
		`{"emulate":{"stall":"running","polls":"regress","poll_faults":1}}`)
	for i, want := range []provider.State{provider.Queued, provider.Running} {
		if s, err := d.Poll(t.Context(), a.Ref); err != nil || s.State != want {
			t.Errorf("poll %d: %s, %v, want %s", i, s.State, err, want)
		}
	}
}
