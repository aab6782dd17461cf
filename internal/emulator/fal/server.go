package fal

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"reelay/internal/emulator"
)

// maxBodyBytes bounds the body of a submit.
const maxBodyBytes = 1 << 20

const (
	// DefaultResultLife is how long a finished request can be asked for, by fal's default of keeping payloads.
	DefaultResultLife = 30 * 24 * time.Hour
	// unstoredLife is how long that is if its client wants nothing kept.
	unstoredLife = time.Hour
)

// Options of a Server.
type Options struct {
	// Speed is how long jobs take unless a script says otherwise; the zero Speed ends them at once.
	Speed emulator.Speed
	// Draw, if it is set, gives each job a speed of its own instead.
	Draw emulator.Draw
	// Ledger holds the jobs; nil is a fresh one in memory.
	Ledger *emulator.Ledger
	// Log gets one line per accepted job; nil is silent.
	Log *slog.Logger
	// MediaBase gives the base URL of the result files as the client can reach it, without a slash at the end. Default:
	// the scheme and host of the request.
	MediaBase func(r *http.Request) string

	// Concurrency is how many jobs run at once, the others wait; 0 is no limit. fal gives new accounts 2 and up to 40
	// later.
	Concurrency int
	// RPM is how many submits are taken in any 60 seconds; the others are answered 429. 0 is no limit, as fal documents
	// none.
	RPM int

	// Transport carries webhooks while Run runs; nil sends none.
	Transport http.RoundTripper
	// UserID is the account in the webhooks' headers; DefaultUserID if empty.
	UserID string
	// WebhookRetryScale multiplies the delays between the tries of a webhook; 0 is 1. See webhookRetryDelays.
	WebhookRetryScale float64
	// Faults apply to webhooks.
	Faults emulator.Faults

	// LinkLife is how long a link to a result file works after the end of the job, with 404 afterwards; 0 is for ever.
	LinkLife time.Duration
	// ResultLife is how long status and result can be asked for after the end; DefaultResultLife if 0.
	ResultLife time.Duration
}

// A Server answers as queue.fal.run does. Without a key it also serves the result files below /media/, the keys of its
// webhooks at GET /.well-known/jwks.json and, below /_emulator/, its ledger and its live control; see the package
// comment.
type Server struct {
	speed      emulator.Speed
	draw       emulator.Draw
	ledger     *emulator.Ledger
	log        *slog.Logger
	mediaBase  func(r *http.Request) string
	linkLife   time.Duration
	resultLife time.Duration
	userID     string
	keys       keys
	plan       *plan
	webhooks   *emulator.WebhookSender

	mu     sync.Mutex
	rate   emulator.Rate
	counts emulator.Counts // what was met so far, by "polls/<id>" and "result/<id>"
	opened map[string]*opened
}

// New returns a Server that continues the jobs of the ledger. It sends webhooks only while Run runs.
func New(o Options) *Server {
	s := &Server{
		speed: o.Speed, draw: o.Draw, ledger: o.Ledger, log: o.Log, mediaBase: o.MediaBase, linkLife: o.LinkLife,
		resultLife: cmp.Or(o.ResultLife, DefaultResultLife), userID: cmp.Or(o.UserID, DefaultUserID),
		rate: emulator.Rate{PerMinute: o.RPM}, opened: map[string]*opened{},
	}
	if s.ledger == nil {
		s.ledger = &emulator.Ledger{}
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.mediaBase == nil {
		s.mediaBase = base
	}
	s.keys.rotate()
	var err error
	if s.plan, err = newPlan(s.ledger, s.speedOf, o.Concurrency, o.Transport != nil); err != nil {
		s.log.Error("ledger could not be written", "error", err)
	}
	now := time.Now()
	for _, j := range s.ledger.Jobs() {
		if now.Sub(j.At) < time.Minute {
			s.rate.Count(j.At)
		}
	}
	s.ledger.ChargeBy(s.charge)
	s.webhooks = emulator.NewWebhookSender(emulator.WebhookSenderOptions{
		Ledger: s.ledger, Source: s, Transport: o.Transport, Log: s.log, Faults: o.Faults, Advance: s.plan.advanced,
		Timeout: webhookTimeout, Retries: webhookRetryDelays(cmp.Or(o.WebhookRetryScale, 1)),
	})
	return s
}

// Run delivers webhooks until ctx ends. It returns nil.
func (s *Server) Run(ctx context.Context) error { return s.webhooks.Run(ctx) }

// Ledger returns the jobs and the counts of calls.
func (s *Server) Ledger() *emulator.Ledger { return s.ledger }

// ServeHTTP routes by the shape of the path: <model> for a submit, the platform API's list of requests, and
// <app>/requests/<id>[/...] for the rest.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	segments := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case segments[0] == "_emulator":
		s.control(w, r)
	case r.URL.Path == "/.well-known/jwks.json":
		s.keys.ServeHTTP(w, r)
	case segments[0] == "media" && len(segments) == 2:
		s.serveMedia(w, r, segments[1])
	case r.URL.Path == schemaPath:
		serveSchema(w, r)
	case strings.HasPrefix(r.URL.Path, putPath):
		s.takeFile(w, r)
	case !authorised(w, r):
	case r.URL.Path == initiatePath, r.URL.Path == multipartPath:
		s.initiate(w, r)
	case r.URL.Path == listPath:
		s.list(w, r)
	case r.URL.Path == pricePath:
		prices(w, r)
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

// control serves what a real provider does not have.
func (s *Server) control(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/_emulator/ledger":
		s.ledger.ServeHTTP(w, r)
	case "/_emulator/faults":
		s.webhooks.ServeFaults(w, r)
	case "/_emulator/limits":
		emulator.ServeLimits(w, r, s.SetLimits)
	case "/_emulator/rotate":
		if r.Method != http.MethodPost {
			http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
			return
		}
		s.RotateKey()
		w.WriteHeader(http.StatusNoContent)
	default:
		http.NotFound(w, r)
	}
}

// SetLimits changes how many jobs run at once and how many submits are taken in a minute, from now on. It fails for a
// limit that fal does not have, naming it.
func (s *Server) SetLimits(l emulator.Limits) error {
	if l.InFlight != nil || l.API != "" {
		return errors.New("in_flight, api: fal has no such limit")
	}
	if l.RequestsPerMinute != nil {
		s.mu.Lock()
		s.rate.PerMinute = *l.RequestsPerMinute
		s.mu.Unlock()
	}
	if l.Concurrency == nil {
		return nil
	}
	defer s.webhooks.Wake()
	return s.plan.setLimit(*l.Concurrency)
}

// SetFaults replaces the faults of webhooks from now on. It fails with what is wrong with f.
func (s *Server) SetFaults(f emulator.Faults) error { return s.webhooks.SetFaults(f) }

// RotateKey signs webhooks with another key from now on. The former one stays in the set of keys, older ones do not.
func (s *Server) RotateKey() { s.keys.rotate() }

// authorised answers a call without a good key.
func authorised(w http.ResponseWriter, r *http.Request) bool {
	key, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Key ")
	switch {
	case !ok || key == "":
		app := strings.Join(appOf(strings.Split(strings.Trim(r.URL.Path, "/"), "/")), "/")
		detail(w, http.StatusUnauthorized,
			`Cannot access application "`+app+`". Authentication is required to access this application.`)
	case key == "bad":
		detail(w, http.StatusUnauthorized, "invalid key credentials")
	case key == "locked":
		detail(w, http.StatusForbidden,
			"User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing.")
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

// forgotten reports whether a finished request is too old to be asked for.
func (s *Server) forgotten(j emulator.Job) bool {
	now := time.Now()
	l := s.stateOf(j, now)
	kept := s.resultLife
	if j.Extra[extraStoreIO] == "0" {
		kept = min(kept, unstoredLife)
	}
	return l.word == completed && now.Sub(l.ended) >= kept
}

func (s *Server) serveMedia(w http.ResponseWriter, r *http.Request, file string) {
	s.ledger.Call("media")
	id, _, _ := strings.Cut(file, ".")
	id, _, _ = strings.Cut(id, "_") // several images of one job
	j, ok := s.ledger.Job(id)
	if !ok || s.linkLife > 0 && !time.Now().Before(s.stateOf(j, time.Now()).ended.Add(s.linkLife)) {
		http.NotFound(w, r)
		return
	}
	script := emulator.ReadScript(j.Input)
	if script.LinkDead(s.stateOf(j, time.Now()).ended, time.Now()) {
		http.NotFound(w, r)
		return
	}
	emulator.ServeLink(w, r, mediaType(j.Model), script, s.counts.Count("media "+file))
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
