package minimax

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"reelay/internal/emulator"
)

const (
	// MaxBodyBytes bounds a request body; files may be part of it. MiniMax says 64 MB of V2.
	MaxBodyBytes = 64_000_000
	// DefaultInFlight is how many unfinished V2 tasks an account may have, by MiniMax's rate limit page.
	DefaultInFlight = 30
	// DefaultMaxJobs bounds the jobs of one ledger.
	DefaultMaxJobs = 100_000

	providerName = "minimax"
)

// Options configures a Server. The zero value makes every job succeed at once.
type Options struct {
	// Speed is how long jobs take.
	Speed emulator.Speed
	// Draw, if it is set, gives each job a speed of its own instead.
	Draw emulator.Draw
	// Log gets one debug line for each call; slog.DiscardHandler if nil.
	Log *slog.Logger
	// Ledger keeps the jobs; a fresh one in memory if nil.
	Ledger *emulator.Ledger
	// RPM is how many creates an API generation takes in any 60 seconds, RPMV2 that of V2 if it differs; the others are
	// refused with 1002. 0 is no limit. MiniMax: 20 for V1, 300 for V2.
	RPM   int
	RPMV2 int
	// InFlight is how many V2 jobs may be unfinished at a time; DefaultInFlight if 0, no limit if negative.
	InFlight int
	// MaxJobs is how many jobs are accepted in all; DefaultMaxJobs if 0.
	MaxJobs int
	// BigIDs makes ids over 2^53 that no float64 can hold.
	BigIDs bool
	// Transport carries callbacks: the challenge during a create, the updates while Run runs. nil sends none.
	Transport http.RoundTripper
	// WebhookRetries are the delays between the tries of one update; none by default, for MiniMax promises no second
	// try.
	WebhookRetries []time.Duration
	// Faults apply to updates.
	Faults emulator.Faults
	// FailedChallenge is what a create comes to whose challenge was not answered; RefuseCreate if empty. It is not
	// documented.
	FailedChallenge FailedChallenge
	// LinkLife is how long a link to a result works from when it was given; an hour if 0, by V1's download page. A query,
	// or V1's retrieve, gives a fresh one.
	LinkLife time.Duration
	// UnknownTask is the text for a task that V1 does not know; "invalid params, task_id not found" if empty.
	UnknownTask string
}

// A Server is the emulator. All it knows of a job is in the ledger.
type Server struct {
	o        Options
	mux      *http.ServeMux
	webhooks *emulator.WebhookSender

	mu          sync.Mutex
	lastID      int64
	jobs        int
	rates       map[string]*emulator.Rate // by API generation
	inFlightIDs map[string]struct{}       // V2 jobs that had not ended at the last count
	// inFlightLimit is the limit of flying; 0 or less is none.
	inFlightLimit int
}

// New returns a server that continues the jobs of the ledger. It sends updates only while Run runs.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Ledger == nil {
		o.Ledger = &emulator.Ledger{}
	}
	if o.InFlight == 0 {
		o.InFlight = DefaultInFlight
	}
	if o.MaxJobs == 0 {
		o.MaxJobs = DefaultMaxJobs
	}
	if o.LinkLife == 0 {
		o.LinkLife = urlLife
	}
	if o.UnknownTask == "" {
		o.UnknownTask = "invalid params, task_id not found"
	}
	s := &Server{o: o, inFlightLimit: o.InFlight, inFlightIDs: map[string]struct{}{}, rates: map[string]*emulator.Rate{
		"v1": {PerMinute: o.RPM}, "v2": {PerMinute: cmp.Or(o.RPMV2, o.RPM)},
	}}
	for _, a := range s.answeringAPIs() {
		s.rates[a.api] = &emulator.Rate{}
	}
	now := time.Now()
	for _, j := range o.Ledger.Jobs() {
		if j.Provider != providerName {
			continue
		}
		s.jobs++
		if n, err := strconv.ParseInt(j.ID, 10, 64); err == nil {
			s.lastID = max(s.lastID, n)
		}
		if j.Extra[emulator.ExtraAPI] == "v2" {
			s.inFlightIDs[j.ID] = struct{}{}
		}
		if rate := s.rates[j.Extra[emulator.ExtraAPI]]; rate != nil && now.Sub(j.At) < time.Minute {
			rate.Count(j.At)
		}
	}
	o.Ledger.ChargeBy(s.charge)
	s.webhooks = emulator.NewWebhookSender(emulator.WebhookSenderOptions{
		Ledger: o.Ledger, Source: s, Transport: o.Transport, Log: o.Log, Faults: o.Faults, Timeout: updateTimeout,
		Retries: o.WebhookRetries,
	})
	s.mux = http.NewServeMux()
	s.mux.HandleFunc("POST /v1/video_generation", s.create(v1{s}))
	s.mux.HandleFunc("GET /v1/query/video_generation", s.authorised(v1{s}, s.queryV1))
	s.mux.HandleFunc("POST /v1/files/upload", s.authorised(v1{s}, s.upload))
	s.mux.HandleFunc("GET /v1/files/retrieve", s.authorised(v1{s}, s.retrieveV1))
	s.mux.HandleFunc("POST /v2/video_generation", s.create(v2{s}))
	s.mux.HandleFunc("GET /v2/query/video_generation/{id}", s.authorised(v2{s}, s.queryV2))
	s.mux.HandleFunc("GET /v2/query/video_generation", s.authorised(v2{s}, s.listV2))
	s.mux.HandleFunc("DELETE /v2/video_generation/{id}", s.authorised(v2{s}, s.deleteV2))
	for path, a := range s.answeringAPIs() {
		s.mux.HandleFunc("POST "+path, s.create(a))
	}
	s.mux.HandleFunc("GET /v1/files/retrieve_content", s.authorised(v1{s}, s.retrieveContent))
	s.mux.HandleFunc("GET /v1/query/t2a_async_query_v2", s.authorised(v1{s}, s.querySpeech))
	s.mux.HandleFunc("GET /media/{id}/{name}", s.media)
	s.mux.Handle("GET /_emulator/ledger", o.Ledger)
	s.mux.HandleFunc("/_emulator/faults", s.webhooks.ServeFaults)
	s.mux.HandleFunc("/_emulator/limits", func(w http.ResponseWriter, r *http.Request) {
		emulator.ServeLimits(w, r, s.SetLimits)
	})
	return s
}

// Ledger returns the record of what was paid for.
func (s *Server) Ledger() *emulator.Ledger { return s.o.Ledger }

// Run delivers updates until ctx ends. It returns nil.
func (s *Server) Run(ctx context.Context) error { return s.webhooks.Run(ctx) }

// SetFaults replaces the faults of updates from now on. It fails with what is wrong with f.
func (s *Server) SetFaults(f emulator.Faults) error { return s.webhooks.SetFaults(f) }

// SetLimits changes the limits from now on; jobs that were accepted go on. It fails for one that MiniMax does not have,
// naming it.
func (s *Server) SetLimits(l emulator.Limits) error {
	if l.Concurrency != nil {
		return errors.New("concurrency: MiniMax has no such limit, it refuses creates by in_flight")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.rates[l.API]; l.API != "" && !ok {
		return fmt.Errorf("api: %q is not v1, v2 or the name of another API", l.API)
	}
	if l.RequestsPerMinute != nil {
		for api, rate := range s.rates {
			if l.API == "" && (api == "v1" || api == "v2") || l.API == api {
				rate.PerMinute = *l.RequestsPerMinute
			}
		}
	}
	if l.InFlight != nil {
		s.inFlightLimit = *l.InFlight
	}
	return nil
}

// ServeHTTP answers as MiniMax does. It may break the connection when a script asks for that.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	trace := traceID()
	w.Header().Set("Trace-Id", trace)
	s.o.Log.Debug("call was received", "method", r.Method, "path", r.URL.Path, "trace", trace)
	s.mux.ServeHTTP(w, r)
}

// A generation is one of the two APIs: what a create may ask for and how errors look.
type generation interface {
	name() string
	// validate returns what is wrong with a create, "" if nothing is.
	validate(b create) string
	priceUSD(b create) float64
	// refuse writes an error of MiniMax's own.
	refuse(w http.ResponseWriter, code int, message string)
	// page writes an error with an HTTP status.
	page(w http.ResponseWriter, status int)
	accepted(w http.ResponseWriter, id string) error
}

const loginFail = "login fail: Please carry the API secret key in the 'Authorization' field of the request header"

// authorised checks the key first.
func (s *Server) authorised(g generation, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch key, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); {
		case !ok || strings.TrimSpace(key) == "":
			g.refuse(w, 1004, loginFail)
		case key == "sk-api-region":
			g.refuse(w, 2049, "invalid api key")
		default:
			next(w, r)
		}
	}
}

// reset breaks the connection without an answer.
func reset(w http.ResponseWriter) {
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		panic(http.ErrAbortHandler)
	}
	conn, _, err := hijacker.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // a reset rather than an orderly end
	}
	_ = conn.Close()
}

// isFault reports whether fault knows a name.
func isFault(name string) bool {
	switch name {
	case "reset", "hang", "empty", "no_base_resp":
		return true
	}
	code, err := strconv.Atoi(strings.TrimSuffix(name, "_html"))
	return err == nil && code >= 100
}

// fault answers a call with a fault that is known by name and reports whether it is one.
func fault(w http.ResponseWriter, r *http.Request, g generation, name string) bool {
	if !isFault(name) {
		return false
	}
	switch name {
	case "reset":
		reset(w)
	case "hang":
		<-r.Context().Done()
	case "empty":
		w.WriteHeader(http.StatusOK)
	case "no_base_resp":
		writeJSON(w, http.StatusOK, struct{}{})
	case "308":
		http.Redirect(w, r, "/elsewhere"+r.URL.Path, http.StatusPermanentRedirect)
	default:
		number, isPage := strings.CutSuffix(name, "_html")
		code, _ := strconv.Atoi(number) // isFault has tried it
		if isPage {
			writeHTML(w, min(max(code, http.StatusOK), 599))
		} else if code < 1000 {
			g.page(w, max(code, http.StatusOK)) // 1xx is no final answer
		} else {
			g.refuse(w, code, text(code))
		}
	}
	return true
}

// texts are MiniMax's words for its codes.
var texts = map[int]string{
	1000: "unknown error", 1001: "timeout", 1002: "rate limit", 1004: "not authorized", 1008: "insufficient balance",
	1013: "internal service error", 1024: "internal error", 1026: "input new_sensitive", 1027: "output new_sensitive",
	1033: "system error", 1039: "token limit", 1041: "conn limit", 1042: "invisible character ratio limit",
	2013: "invalid params", 2045: "rate growth limit", 2049: "invalid api key", 2056: "usage limit exceeded",
}

func text(code int) string {
	if t, ok := texts[code]; ok {
		return t
	}
	return "error " + strconv.Itoa(code)
}

func writeHTML(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(status)
	_, _ = io.WriteString(w,
		"<html><body><center><h1>"+strconv.Itoa(status)+"</h1></center><hr><center>gateway</center></body></html>\n")
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	_ = tryWriteJSON(w, status, v) // the client has gone
}

func tryWriteJSON(w http.ResponseWriter, status int, v any) error {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	return json.NewEncoder(w).Encode(v)
}

func readBody(w http.ResponseWriter, r *http.Request) (body []byte, wrong string) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBodyBytes))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, "request body too large"
	case err != nil:
		return nil, "request body broken off"
	case !json.Valid(body):
		return nil, "request body is not JSON"
	}
	return body, ""
}

func traceID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // crypto/rand does not fail
	return hex.EncodeToString(b)
}
