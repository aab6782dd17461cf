package openai

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"reelay/internal/emulator"
)

const (
	// maxBodyBytes bounds the body of a create.
	maxBodyBytes = 3 << 20

	providerName = "openai-videos"
)

// A Kind is which server is emulated.
type Kind string

const (
	// Any takes JSON and forms, aborts what is deleted and shows progress, as a proxy does.
	Any Kind = "any"
	// VLLMOmni takes forms only, and lists without pages.
	VLLMOmni Kind = "vllm-omni"
	// SGLang takes JSON, and a form only with a file; a job at work is "queued", its progress 0 until the end; a DELETE
	// forgets the job and does not stop it; prompts are not shown.
	SGLang Kind = "sglang"
)

// Options configures a Server. The zero value makes every job succeed at once.
type Options struct {
	// Kind is Any if empty.
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
	lastID int64
	counts emulator.Counts
}

// New returns a server that knows none of the jobs that the ledger has already.
func New(o Options) *Server {
	o.Kind = cmp.Or(o.Kind, Any)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Ledger == nil {
		o.Ledger = &emulator.Ledger{}
	}
	s := &Server{o: o, mux: http.NewServeMux()}
	s.Restart()
	o.Ledger.ChargeBy(func(emulator.Job) float64 { return 0 })
	s.mux.HandleFunc("POST /v1/videos", s.create)
	s.mux.HandleFunc("GET /v1/videos", s.list)
	s.mux.HandleFunc("POST /v1/images/generations", s.makes("image", "prompt", writeImages))
	s.mux.HandleFunc("POST /v1/audio/speech", s.makes("speech", "input", writeSound))
	s.mux.HandleFunc("GET /v1/videos/{id}", s.status)
	s.mux.HandleFunc("DELETE /v1/videos/{id}", s.delete)
	s.mux.HandleFunc("GET /v1/videos/{id}/content", s.content)
	s.mux.HandleFunc("GET /v1/images/{id}/content", func(w http.ResponseWriter, r *http.Request) {
		if j, ok := s.o.Ledger.Job(r.PathValue("id")); !ok || j.Extra[extraMade] != "image" {
			notFound(w)
			return
		}
		emulator.ServeMedia(w, r, "image")
	})
	s.mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, _ *http.Request) {
		emulator.WriteJSON(w, http.StatusOK, map[string]any{"object": "list", "data": []map[string]string{
			{"id": servedModel, "object": "model", "owned_by": string(o.Kind)},
		}})
	})
	s.mux.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
	s.mux.Handle("GET /_emulator/ledger", o.Ledger)
	s.mux.HandleFunc("POST /_emulator/restart", func(w http.ResponseWriter, _ *http.Request) {
		s.Restart()
		w.WriteHeader(http.StatusNoContent)
	})
	s.mux.HandleFunc("/_emulator/limits", func(w http.ResponseWriter, r *http.Request) {
		emulator.ServeLimits(w, r, s.SetLimits)
	})
	s.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { detail(w, http.StatusNotFound, "Not Found") })
	return s
}

// servedModel is the model of a job that names none.
const servedModel = "Wan-AI/Wan2.2-T2V-A14B-Diffusers"

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

// SetLimits changes how many creates are taken in a minute. It fails for the limits that such servers do not have.
func (s *Server) SetLimits(l emulator.Limits) error {
	if l.Concurrency != nil || l.InFlight != nil || l.API != "" {
		return fmt.Errorf("concurrency, in_flight, api: %s has no such limit", s.o.Kind)
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
		emulator.WriteJSON(w, http.StatusUnauthorized, map[string]string{"error": "Unauthorized"})
		return
	}
	s.mux.ServeHTTP(w, r)
}

// job returns a job that the server knows.
func (s *Server) job(id string) (emulator.Job, bool) {
	j, ok := s.o.Ledger.Job(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	return j, ok && j.Provider == providerName && j.Seq > s.lost && j.Extra[extraDeleted] == "" && j.Extra[extraMade] == ""
}

// extraDeleted is where in Job.Extra it says that a job was deleted.
const extraDeleted = "deleted"

// nextID returns an id that no job had.
func (s *Server) nextID(now time.Time) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastID = max(now.UnixNano(), s.lastID+1)
	return fmt.Sprintf("video_gen_%x", s.lastID)
}

// detail answers as FastAPI does.
func detail(w http.ResponseWriter, status int, what any) {
	emulator.WriteJSON(w, status, map[string]any{"detail": what})
}
