package archiver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"reelay/events"
	"reelay/internal/artifact"
	"reelay/internal/bus"
	"reelay/internal/emulator"
	"reelay/internal/media"
	"reelay/internal/provider"
	"reelay/internal/secret"
	"reelay/internal/test/broker"
)

// mp4 begins as a video does.
var mp4 = append([]byte("\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp41"), bytes.Repeat([]byte{7}, 19976)...)

// links are what the links of a test server answer, by their paths.
var links = map[string]http.HandlerFunc{
	"whole": func(w http.ResponseWriter, _ *http.Request) { send(w, 200, "video/mp4", string(mp4)) },
	"html": func(w http.ResponseWriter, _ *http.Request) {
		send(w, 200, "text/html", "<!doctype html><html><body>This link has expired</body></html>")
	},
	"json": func(w http.ResponseWriter, _ *http.Request) {
		send(w, 200, "application/json", `{"error":{"message":"gone"}}`)
	},
	"lie": func(w http.ResponseWriter, _ *http.Request) {
		send(w, 200, "video/mp4", `{"error":{"message":"gone"}}`)
	},
	"xml": func(w http.ResponseWriter, _ *http.Request) {
		send(w, 200, "application/xml", "<?xml version=\"1.0\"?><Error/>")
	},
	"empty": func(w http.ResponseWriter, _ *http.Request) { send(w, 200, "video/mp4", "") },
	"webp": func(w http.ResponseWriter, _ *http.Request) {
		send(w, 200, "video/mp4", "RIFF\x24\x00\x00\x00WEBPVP8 ")
	},
	"half":    func(w http.ResponseWriter, _ *http.Request) { send(w, 200, "video/mp4", string(mp4[:8000])) },
	"gone":    func(w http.ResponseWriter, _ *http.Request) { send(w, 404, "text/plain", "gone") },
	"expired": func(w http.ResponseWriter, _ *http.Request) { send(w, 403, "text/plain", "expired") },
	"down":    func(w http.ResponseWriter, _ *http.Request) { send(w, 503, "text/plain", "later") },
	"redirect": func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://169.254.169.254/", http.StatusFound)
	},
	"bomb": func(w http.ResponseWriter, r *http.Request) {
		emulator.ServeLink(w, r, "video", emulator.Script{Link: "bomb"}, 0)
	},
	"cut": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(mp4)))
		_, _ = w.Write(mp4[:8000]) // the rest never comes
	},
	"stall": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(mp4)))
		_, _ = w.Write(mp4[:8000])
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	},
}

func send(w http.ResponseWriter, status int, kind, body string) {
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body) // the client may be gone
}

// kindsWorld is an archiver with a broker, a directory as its store, and a provider whose fresh link is fresh.
type kindsWorld struct {
	s     *Service
	url   string
	log   bytes.Buffer
	fresh string
}

func newKinds(t *testing.T) *kindsWorld {
	t.Helper()
	w := &kindsWorld{}
	web := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		links[strings.TrimSuffix(r.URL.Path[1:], ".mp4")](out, r)
	}))
	t.Cleanup(web.Close)
	w.url = web.URL + "/"
	dir, err := artifact.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	fetcher := media.NewFetcher(media.Loopback(), 1<<30)
	fetcher.Tries, fetcher.Pause = 2, time.Millisecond
	log := slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{Level: slog.LevelError}))
	w.s, err = New(Options{
		Bus: broker.Start(t).Open(bus.Options{}), Store: artifact.New("kind://store", dir), Inputs: &shelf{}, SpoolDir: t.TempDir(),
		Keys: []secret.Value{secret.New("k")}, Fetcher: fetcher, Log: log, Registerer: prometheus.NewRegistry(),
		Lanes: []provider.Lane{{Name: "acme", Driver: asked{w: w}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// asked is a driver that is only asked for the link of a result.
type asked struct {
	provider.Driver
	w *kindsWorld
}

func (a asked) Poll(context.Context, json.RawMessage) (provider.Snapshot, error) {
	if a.w.fresh == "" {
		return provider.Snapshot{}, errors.New("the provider has forgotten it")
	}
	return provider.Snapshot{State: provider.Succeeded, Outputs: []events.Output{{URL: a.w.url + a.w.fresh + ".mp4"}}}, nil
}

// settled tries to store what a link leads to, of a result that has been known for some time.
func (w *kindsWorld) settled(t *testing.T, link string, known time.Duration) (events.Output, error) {
	t.Helper()
	task := events.Task{
		ID: link, Project: "demo", TaskType: events.Video, Lane: "acme", CreatedAt: now().Add(-known), ProviderRef: json.RawMessage(`"1"`),
		Result: &events.Result{Outputs: []events.Output{{URL: w.url + link + ".mp4", ContentType: "video/mp4", Size: int64(len(mp4))}}},
	}
	all, err := w.s.settleAll(t.Context(), task, []int{0})
	return all[0], err
}

// TestNeverASuccess: whatever a link answers in place of the file is tried again at first. In the end it is given up with its
// reason, and an alarm; nothing of it is in the store but what came of another kind, as evidence.
func TestNeverASuccess(t *testing.T) {
	for _, row := range []struct{ link, code, reason string }{
		{"html", codeNotMedia, "text/html"},
		{"json", codeNotMedia, "application/json"},
		{"lie", codeNotMedia, "application/json"},
		{"xml", codeNotMedia, "xml"},
		{"empty", codeNotMedia, "empty"},
		{"webp", codeOther, "image/webp"},
		{"half", codeFetch, "8000 of 20000 bytes"},
		{"cut", codeFetch, "8000 of 20000 bytes"},
		{"stall", codeFetch, "no bytes came"},
		{"gone", codeRefused, "HTTP 404"},
		{"expired", codeRefused, "HTTP 403"},
		{"down", codeFetch, "HTTP 503"},
		{"redirect", codeUnsafe, ""},
		{"bomb", codeTooLarge, "expand"},
	} {
		t.Run(row.link, func(t *testing.T) {
			t.Parallel()
			w := newKinds(t)
			if row.link == "stall" {
				w.s.o.Fetcher.Stall = 100 * time.Millisecond
			}
			o, err := w.settled(t, row.link, time.Second)
			if row.code == codeTooLarge { // which is final at once
				w.log.Reset()
			} else if err == nil || o.Stored != nil || o.StoreError == nil || o.StoreError.Code != row.code || w.log.Len() > 0 {
				t.Errorf("at first: stored %v, %+v, %v; alarms %s", o.Stored, o.StoreError, err, &w.log)
			}
			for range otherTries {
				if o, err = w.settled(t, row.link, maxAge); err == nil {
					break
				}
			}
			if err != nil || o.Stored == nil || *o.Stored || o.StoreError == nil {
				t.Fatalf("in the end: stored %v, %+v, %v", o.Stored, o.StoreError, err)
			}
			if e := o.StoreError; e.Code != row.code || e.Charge != events.ChargeConfirmed || !strings.Contains(e.Message, row.reason) {
				t.Errorf("given up for %+v, want %s: %s", e, row.code, row.reason)
			}
			if !strings.Contains(w.log.String(), "level=ERROR") || strings.Contains(w.log.String(), w.url) {
				t.Errorf("the alarm: %s", &w.log)
			}
			var kept []string
			if err := w.s.o.Store.List(t.Context(), "", func(f artifact.File) error {
				kept = append(kept, w.s.o.Store.URL(f.Name))
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if evidence := row.code == codeOther; evidence != (len(kept) == 1) || evidence && kept[0] != o.StoredURL {
				t.Errorf("the store has %q, the record names %q", kept, o.StoredURL)
			}
		})
	}
}

// TestAskedAnew: a link that is refused is asked for again before it counts.
func TestAskedAnew(t *testing.T) {
	for _, link := range []string{"expired", "gone", "html", "empty"} {
		w := newKinds(t)
		w.fresh = "whole"
		o, err := w.settled(t, link, time.Second)
		if err != nil || !o.IsStored() || o.Size != int64(len(mp4)) || w.log.Len() > 0 {
			t.Errorf("%s: stored %v, %+v, %v; alarms %s", link, o.Stored, o.StoreError, err, &w.log)
		}
	}
}
