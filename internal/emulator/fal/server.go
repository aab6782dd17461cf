package fal

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"reelay/internal/emulator"
)

const (
	// maxBodyBytes bounds the body of a submit.
	maxBodyBytes = 1 << 20
	// maxFaultCounts bounds the jobs whose faults are counted at one time.
	maxFaultCounts = 10_000
)

// Options of a Server.
type Options struct {
	// Pace is how long jobs take that no script tells otherwise; the zero Pace ends them at once.
	Pace emulator.Pace
	// Ledger holds the jobs; nil is a fresh one in memory.
	Ledger *emulator.Ledger
	// Log gets one line per accepted job; nil is silent.
	Log *slog.Logger
	// MediaBase gives the base URL of the result files as the client can reach it, without a slash at the end. Default: the
	// scheme and host of the request.
	MediaBase func(r *http.Request) string
}

// A Server answers as queue.fal.run does. It also serves the result files below /media/ and its ledger at
// GET /_emulator/ledger, both without a key.
type Server struct {
	pace      emulator.Pace
	ledger    *emulator.Ledger
	log       *slog.Logger
	mediaBase func(r *http.Request) string

	mu     sync.Mutex
	counts map[string]int // what was met so far, by "polls/<id>" and "result/<id>"
}

// New returns a Server.
func New(o Options) *Server {
	s := &Server{pace: o.Pace, ledger: o.Ledger, log: o.Log, mediaBase: o.MediaBase, counts: map[string]int{}}
	if s.ledger == nil {
		s.ledger = &emulator.Ledger{}
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.mediaBase == nil {
		s.mediaBase = base
	}
	return s
}

// Ledger returns the jobs and the counts of calls.
func (s *Server) Ledger() *emulator.Ledger { return s.ledger }

// ServeHTTP routes by the shape of the path: <model> for a submit, the platform API's list of requests, and
// <app>/requests/<id>[/...] for the rest.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	segments := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case r.URL.Path == "/_emulator/ledger":
		s.ledger.ServeHTTP(w, r)
	case segments[0] == "media" && len(segments) == 2:
		s.serveMedia(w, r, segments[1])
	case !authorised(w, r):
	case r.URL.Path == listPath:
		s.list(w, r)
	default:
		s.route(w, r, segments)
	}
}

func (s *Server) route(w http.ResponseWriter, r *http.Request, segments []string) {
	at := slices.Index(segments, "requests")
	if at < 0 {
		if r.Method != http.MethodPost {
			detail(w, http.StatusMethodNotAllowed, "Method Not Allowed")
			return
		}
		s.submit(w, r, segments)
		return
	}
	if at+1 >= len(segments) {
		detail(w, http.StatusNotFound, "Not Found")
		return
	}
	app, id := strings.Join(segments[:at], "/"), segments[at+1]
	call := r.Method + " " + path.Join(segments[at+2:]...)
	switch call {
	case "GET status":
		s.status(w, r, app, id)
	case "GET status/stream":
		s.stream(w, r, app, id)
	case "GET ", "GET response":
		s.result(w, r, app, id)
	case "PUT cancel":
		s.cancel(w, app, id)
	default:
		detail(w, http.StatusMethodNotAllowed, "Method Not Allowed")
	}
}

// authorised answers a call without a good key.
func authorised(w http.ResponseWriter, r *http.Request) bool {
	key, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Key ")
	switch {
	case !ok || key == "":
		app := strings.Join(appOf(strings.Split(strings.Trim(r.URL.Path, "/"), "/")), "/")
		detail(w, http.StatusUnauthorized, `Cannot access application "`+app+`". Authentication is required to access this application.`)
	case key == "bad":
		detail(w, http.StatusUnauthorized, "invalid key credentials")
	case key == "locked":
		detail(w, http.StatusForbidden, "User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing.")
	default:
		return true
	}
	return false
}

// appOf cuts a model's path to its app: owner/name, or three segments in a namespace.
func appOf(segments []string) []string {
	n := 2
	if segments[0] == "workflows" || segments[0] == "comfy" {
		n = 3
	}
	return segments[:min(n, len(segments))]
}

// job finds a job by its app, or by its full model path as some older clients send it.
func (s *Server) job(app, id string) (emulator.Job, bool) {
	j, ok := s.ledger.Job(id)
	if !ok || app != j.Model && app != strings.Join(appOf(strings.Split(j.Model, "/")), "/") {
		return emulator.Job{}, false
	}
	return j, true
}

// count returns how often it was called for that thing before, up to the bound of what is counted.
func (s *Server) count(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.counts[what]; !known && len(s.counts) >= maxFaultCounts {
		clear(s.counts)
	}
	n := s.counts[what]
	s.counts[what] = n + 1
	return n
}

func (s *Server) serveMedia(w http.ResponseWriter, r *http.Request, file string) {
	s.ledger.Call("media")
	id, _, _ := strings.Cut(file, ".")
	id, _, _ = strings.Cut(id, "_") // several images of one job
	j, ok := s.ledger.Job(id)
	if !ok {
		http.NotFound(w, r)
		return
	}
	emulator.ServeMedia(w, r, mediaType(j.Model))
}

func base(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

// reply writes v as fal does: JSON with the request's id in a header.
func reply(w http.ResponseWriter, status int, id string, v any) {
	w.Header().Set("Content-Type", "application/json")
	if id != "" {
		w.Header().Set("X-Fal-Request-Id", id)
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// detail refuses a call in fal's plainest envelope.
func detail(w http.ResponseWriter, status int, text string) {
	reply(w, status, newID(time.Now()), map[string]string{"detail": text})
}
