package comfy

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"

	"reelay/internal/emulator"
)

const (
	// maxBodyBytes bounds the body of a create, maxFileBytes that of a file.
	maxBodyBytes = 3 << 20
	maxFileBytes = 200 << 20

	providerName = "comfy"
)

// A Kind is which server is emulated.
type Kind string

const (
	// Current is a core of today with Comfy API v2 before it.
	Current Kind = "current"
	// Old is a core without /api/jobs, which makes the ids of its jobs itself.
	Old Kind = "old"
	// V2 is Comfy API v2 alone.
	V2 Kind = "v2"
)

// Options configures a Server. The zero value makes every job succeed at once.
type Options struct {
	// Kind is Current if empty.
	Kind Kind
	// Speed is how long jobs take.
	Speed emulator.Speed
	// Draw, if it is set, gives each job a speed of its own instead.
	Draw emulator.Draw
	// Log gets one line for each job; slog.DiscardHandler if nil.
	Log *slog.Logger
	// Ledger keeps the jobs; a fresh one in memory if nil.
	Ledger *emulator.Ledger
}

// A Server is the emulator.
type Server struct {
	o   Options
	mux *http.ServeMux

	mu   sync.Mutex
	rate emulator.Rate
	// lost is the number of the last job that was lost in a restart.
	lost   uint64
	counts emulator.Counts
	// submits serialises what looks whether an id or a key was used before.
	submits sync.Mutex
}

// New returns a server that knows none of the jobs that the ledger has already.
func New(o Options) *Server {
	o.Kind = cmp.Or(o.Kind, Current)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Ledger == nil {
		o.Ledger = &emulator.Ledger{}
	}
	s := &Server{o: o, mux: http.NewServeMux()}
	s.Restart()
	o.Ledger.ChargeBy(func(emulator.Job) float64 { return 0 })
	if o.Kind != V2 {
		s.core("POST", "/prompt", s.prompt)
		s.core("GET", "/queue", s.queue)
		s.core("POST", "/queue", s.dequeue)
		s.core("GET", "/history", s.history)
		s.core("GET", "/history/{id}", s.history)
		s.core("POST", "/interrupt", s.interrupt)
		s.core("POST", "/upload/image", s.upload)
		s.core("GET", "/view", s.view)
		s.core("HEAD", "/view", s.view)
		s.core("GET", "/object_info", func(w http.ResponseWriter, _ *http.Request) { emulator.WriteJSON(w, http.StatusOK, map[string]any{}) })
	}
	if o.Kind == Current {
		s.mux.HandleFunc("GET /api/jobs", s.jobs)
		s.mux.HandleFunc("GET /api/jobs/{id}", s.job)
		s.mux.HandleFunc("POST /api/jobs/{id}/cancel", s.cancel)
	}
	if o.Kind != Old {
		s.mux.HandleFunc("POST /api/v2/jobs", s.create)
		s.mux.HandleFunc("GET /api/v2/jobs/{id}", s.v2Job)
		s.mux.HandleFunc("POST /api/v2/jobs/{id}/cancel", s.v2Cancel)
		s.mux.HandleFunc("POST /api/v2/assets", s.asset)
		s.mux.HandleFunc("GET /api/v2/outputs/{name}", s.v2Output)
	}
	s.mux.Handle("GET /_emulator/ledger", o.Ledger)
	s.mux.HandleFunc("POST /_emulator/restart", func(w http.ResponseWriter, _ *http.Request) {
		s.Restart()
		w.WriteHeader(http.StatusNoContent)
	})
	s.mux.HandleFunc("/_emulator/limits", func(w http.ResponseWriter, r *http.Request) {
		emulator.ServeLimits(w, r, s.SetLimits)
	})
	s.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "404: Not Found", http.StatusNotFound) })
	return s
}

// core serves a route of a core, which is below /api as well.
func (s *Server) core(method, path string, serve http.HandlerFunc) {
	s.mux.HandleFunc(method+" "+path, serve)
	s.mux.HandleFunc(method+" /api"+path, serve)
}

// Ledger returns the record of the jobs.
func (s *Server) Ledger() *emulator.Ledger { return s.o.Ledger }

// Run returns nil when ctx ends: such servers send no webhooks.
func (s *Server) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Restart forgets every job, as a server does whose process has ended.
func (s *Server) Restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range s.o.Ledger.Jobs() {
		s.lost = max(s.lost, j.Seq)
	}
}

// SetLimits changes how many creates are taken in a minute, as a proxy before the server might. It fails for all other
// limits.
func (s *Server) SetLimits(l emulator.Limits) error {
	if l.Concurrency != nil || l.InFlight != nil || l.API != "" {
		return errors.New("concurrency, in_flight, api: ComfyUI has no such limit")
	}
	if l.RequestsPerMinute != nil {
		s.mu.Lock()
		s.rate.PerMinute = *l.RequestsPerMinute
		s.mu.Unlock()
	}
	return nil
}

// ServeHTTP answers as the server does. It may break the connection when a script asks for that.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") == "Bearer bad" {
		refuse(w, http.StatusUnauthorized)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// find returns a job that the server knows.
func (s *Server) find(id string) (emulator.Job, bool) {
	j, ok := s.o.Ledger.Job(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	return j, ok && j.Provider == providerName && j.Seq > s.lost && j.Extra[extraDequeued] == ""
}

// known returns all of them, oldest first.
func (s *Server) known() (all []emulator.Job) {
	for _, j := range s.o.Ledger.Jobs() {
		if j, ok := s.find(j.ID); ok {
			all = append(all, j)
		}
	}
	return all
}

// problem answers in the envelope of both dialects: the core's has a type, that of v2 a code.
func problem(w http.ResponseWriter, status int, code, message string) {
	emulator.WriteJSON(w, status, map[string]any{
		"error":       map[string]any{"type": code, "code": code, "message": message, "details": map[string]any{}},
		"node_errors": map[string]any{},
	})
}

func refuse(w http.ResponseWriter, status int) {
	problem(w, status, "upstream_error", http.StatusText(status))
}

func unknown(w http.ResponseWriter) {
	emulator.WriteJSON(w, http.StatusNotFound, map[string]string{"error": "Job not found"})
}
