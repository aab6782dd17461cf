package replicate

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"reelay/internal/emulator"
)

const (
	providerName = "replicate"
	// maxBodyBytes bounds the body of a create, maxFileBytes that of a file.
	maxBodyBytes = 3 << 20
	maxFileBytes = 100 << 20
	// defaultKept is how long inputs, outputs and logs are kept after the end.
	defaultKept = time.Hour
	// pageSize is how many predictions a page of the list has.
	pageSize = 100
)

// Options configures a Server. The zero value makes every prediction succeed at once and sends no webhooks.
type Options struct {
	// Speed is how long predictions take.
	Speed emulator.Speed
	// Draw, if it is set, gives each prediction a speed of its own instead.
	Draw emulator.Draw
	// Log gets one line for each prediction; slog.DiscardHandler if nil.
	Log *slog.Logger
	// Ledger keeps the predictions; a fresh one in memory if nil.
	Ledger *emulator.Ledger
	// Kept is how long outputs are kept; an hour if 0.
	Kept time.Duration
	// Transport carries webhooks; nil sends none.
	Transport http.RoundTripper
	// WebhookRetryScale multiplies the waits between the tries of a webhook; 0 is 1.
	WebhookRetryScale float64
	// Faults apply to a share of all webhooks.
	Faults emulator.Faults
}

// A Server is the emulator.
type Server struct {
	o        Options
	mux      *http.ServeMux
	webhooks *emulator.WebhookSender

	mu     sync.Mutex
	rate   emulator.Rate
	lastID int64
	counts emulator.Counts
}

// New returns a server that goes on with the predictions in its ledger.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Ledger == nil {
		o.Ledger = &emulator.Ledger{}
	}
	if o.Kept == 0 {
		o.Kept = defaultKept
	}
	if o.WebhookRetryScale == 0 {
		o.WebhookRetryScale = 1
	}
	s := &Server{o: o, mux: http.NewServeMux()}
	o.Ledger.ChargeBy(s.charged)
	s.webhooks = emulator.NewWebhookSender(emulator.WebhookSenderOptions{
		Ledger: o.Ledger, Source: s, Transport: o.Transport, Log: o.Log, Timeout: webhookTimeout,
		Retries: retryDelays(o.WebhookRetryScale), Faults: o.Faults,
	})
	s.mux.HandleFunc("POST /v1/predictions", s.create)
	s.mux.HandleFunc("POST /v1/models/{owner}/{name}/predictions", s.create)
	s.mux.HandleFunc("POST /v1/deployments/{owner}/{name}/predictions", s.create)
	s.mux.HandleFunc("GET /v1/predictions", s.list)
	s.mux.HandleFunc("GET /v1/predictions/{id}", s.get)
	s.mux.HandleFunc("POST /v1/predictions/{id}/cancel", s.cancel)
	s.mux.HandleFunc("POST /v1/files", s.upload)
	s.mux.HandleFunc("GET /v1/webhooks/default/secret", func(w http.ResponseWriter, _ *http.Request) {
		emulator.WriteJSON(w, http.StatusOK, map[string]string{"key": Secret})
	})
	s.mux.HandleFunc("GET /v1/models/{owner}/{name}", func(w http.ResponseWriter, r *http.Request) {
		emulator.WriteJSON(w, http.StatusOK, map[string]string{"owner": r.PathValue("owner"), "name": r.PathValue("name")})
	})
	s.mux.HandleFunc("GET /v1/account", func(w http.ResponseWriter, _ *http.Request) {
		emulator.WriteJSON(w, http.StatusOK, map[string]string{"type": "user", "username": "emulated"})
	})
	s.mux.HandleFunc("GET /delivery/{id}/{n}", s.delivery)
	s.mux.HandleFunc("HEAD /delivery/{id}/{n}", s.delivery)
	s.mux.Handle("GET /_emulator/ledger", o.Ledger)
	s.mux.HandleFunc("/_emulator/webhooks", s.webhooks.ServeFaults)
	s.mux.HandleFunc("/_emulator/limits", func(w http.ResponseWriter, r *http.Request) {
		emulator.ServeLimits(w, r, s.SetLimits)
	})
	s.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusNotFound) })
	return s
}

// Ledger returns the record of the predictions.
func (s *Server) Ledger() *emulator.Ledger { return s.o.Ledger }

// Run sends webhooks until ctx ends.
func (s *Server) Run(ctx context.Context) error { return s.webhooks.Run(ctx) }

// SetLimits changes how many creates are taken in a minute. It fails for the limits that Replicate does not have.
func (s *Server) SetLimits(l emulator.Limits) error {
	if l.Concurrency != nil || l.InFlight != nil || l.API != "" {
		return errors.New("concurrency, in_flight, api: Replicate has no such limit")
	}
	if l.RequestsPerMinute != nil {
		s.mu.Lock()
		s.rate.PerMinute = *l.RequestsPerMinute
		s.mu.Unlock()
	}
	return nil
}

// ServeHTTP answers as Replicate does. It may break the connection when a script asks for that.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if strings.HasPrefix(r.URL.Path, "/v1/") && (key == "" || key == "bad") {
		refuse(w, http.StatusUnauthorized)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// nextID returns an id that no prediction had, of the form of Replicate's: lower-case letters and digits.
func (s *Server) nextID(now time.Time) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastID = max(now.UnixNano(), s.lastID+1)
	return "rp" + strconv.FormatInt(s.lastID, 36) + "h5rm0cr"
}

// detail answers in Replicate's envelope.
func detail(w http.ResponseWriter, status int, title, what string) {
	emulator.WriteJSON(w, status, map[string]any{"title": title, "detail": what, "status": status})
}

// refuse answers with a status as Replicate does.
func refuse(w http.ResponseWriter, status int) {
	switch status {
	case http.StatusUnauthorized:
		detail(w, status, "Unauthenticated", "You did not pass a valid authentication token")
	case http.StatusPaymentRequired:
		detail(w, status, "Insufficient credit", "You have insufficient credit to run this model. Go to "+
			"https://replicate.com/account/billing#billing to purchase credit.")
	case http.StatusNotFound:
		detail(w, status, "Not found", "The requested resource could not be found.")
	case http.StatusUnprocessableEntity:
		detail(w, status, "Input validation failed", "- input: prompt is required\n")
	case http.StatusTooManyRequests:
		emulator.WriteJSON(w, status, map[string]any{
			"detail": "Request was throttled. Your rate limit resets in ~30s.", "status": status, "retry_after": 30,
		})
	default:
		detail(w, status, http.StatusText(status), "An error occurred.")
	}
}
