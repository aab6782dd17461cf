package webhook_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"reelay/events"
	"reelay/internal/callbackurl"
	"reelay/internal/provider"
	"reelay/internal/provider/fal"
	"reelay/internal/provider/minimax"
	"reelay/internal/secret"
	"reelay/internal/test/sim"
	"reelay/services/webhook"
)

func TestMain(m *testing.M) { sim.Main(m) }

const (
	userID    = "user_abc"
	requestID = "019e1951-c778-7120-9c82-16efcf40ec82"
	okBody    = `{"error": null, "payload": {"video": {"url": "https://example.test/a.mp4"}}, "request_id": "` +
		requestID + `", "status": "OK"}`
	update = `{"task_id":"115334141465231360","status":"success","file_id":"205258526306433",` +
		`"base_resp":{"status_code":0}}`
)

var task = events.Key{Project: "demo", ID: "shot-042"}

// counting is a publisher that keeps what it is given.
type counting struct {
	mu        sync.Mutex
	callbacks []events.Callback
	// err refuses everything, and hang holds it back until the end of its time.
	err  error
	hang bool
}

func (c *counting) Publish(ctx context.Context, h events.Callback) (bool, error) {
	if c.hang {
		<-ctx.Done()
		return false, ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.callbacks = append(c.callbacks, h)
	return false, c.err
}

func (c *counting) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.callbacks)
}

// A fixture is a webhook service under test.
type fixture struct {
	*testing.T
	kept   *counting
	keys   callbackurl.Keys
	url    string // without a slash at the end
	client *http.Client
	log    *bytes.Buffer // to be read when the service has stopped
	stop   func() error

	registry *prometheus.Registry
}

// A signer is fal's key, and the host that publishes it.
type signer struct{ private ed25519.PrivateKey }

func newSigner() signer {
	seed := make([]byte, ed25519.SeedSize)
	for i := range seed {
		seed[i] = byte(i)
	}
	return signer{ed25519.NewKeyFromSeed(seed)}
}

func (s signer) RoundTrip(*http.Request) (*http.Response, error) {
	x := base64.RawURLEncoding.EncodeToString(s.private.Public().(ed25519.PublicKey))
	set := fmt.Sprintf(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":%q}]}`, x)
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(set))},
		nil
}

// headers returns fal's headers for a body.
func (s signer) headers(user string, at time.Time, body string) http.Header {
	digest := sha256.Sum256([]byte(body))
	seconds := strconv.FormatInt(at.Unix(), 10)
	message := requestID + "\n" + user + "\n" + seconds + "\n" + hex.EncodeToString(digest[:])
	h := http.Header{"Content-Type": {"application/json"}}
	h.Set("X-Fal-Webhook-Request-Id", requestID)
	h.Set("X-Fal-Webhook-User-Id", user)
	h.Set("X-Fal-Webhook-Timestamp", seconds)
	h.Set("X-Fal-Webhook-Signature", hex.EncodeToString(ed25519.Sign(s.private, []byte(message))))
	return h
}

func callbackKey(id string) callbackurl.Key {
	return callbackurl.Key{ID: id, Secret: secret.New(strings.Repeat(id[:1], callbackurl.KeyBytes))}
}

// start starts a webhook service on TCP, or on o.Listener.
func start(t *testing.T, change ...func(*webhook.Options)) *fixture {
	t.Helper()
	e := &fixture{
		T: t, kept: &counting{}, keys: callbackurl.New([]callbackurl.Key{callbackKey("k1")}),
		log: &bytes.Buffer{}, registry: prometheus.NewRegistry(),
	}
	verifier, err := fal.NewVerifier(fal.VerifierOptions{UserID: userID, Transport: newSigner()})
	if err != nil {
		t.Fatal(err)
	}
	o := webhook.Options{
		Keys: e.keys, Publisher: e.kept,
		Log: slog.New(slog.NewTextHandler(e.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Registerer: e.registry,
		Lanes: []provider.CallbackLane{
			{Name: "fal", Provider: "fal", Verifier: verifier},
			{Name: "minimax", Provider: "minimax", Handshake: minimax.Handshake},
		},
	}
	for _, f := range change {
		f(&o)
	}
	if o.Listener == nil {
		if o.Listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	e.url = "http://" + o.Listener.Addr().String()
	transport := &http.Transport{}
	e.client = &http.Client{
		Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	s, err := webhook.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	e.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := e.stop(); err != nil {
			t.Errorf("the service stopped with %v", err)
		}
		if t.Failed() {
			t.Logf("log:\n%s", e.log)
		}
	})
	return e
}

// until is later than any test.
var until = time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC)

// path is where the callbacks of the task's attempt go.
func (e *fixture) path(lane string, attempt int) string {
	return e.keys.URL("", lane, task, attempt, until)
}

// post sends a request and returns the answer's status and body.
func (e *fixture) post(path string, header http.Header, body string) (int, string) {
	e.Helper()
	return e.send(http.MethodPost, path, header, strings.NewReader(body))
}

func (e *fixture) send(method, path string, header http.Header, body io.Reader) (int, string) {
	e.Helper()
	req, err := http.NewRequestWithContext(e.Context(), method, e.url+path, body)
	if err != nil {
		e.Fatal(err)
	}
	req.Header = header
	res, err := e.client.Do(req)
	if err != nil {
		e.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		e.Fatal(err)
	}
	return res.StatusCode, string(answer)
}

// counted returns how many requests had a result, by provider.
func (e *fixture) counted(provider, result string) float64 {
	e.Helper()
	families, err := e.registry.Gather()
	if err != nil {
		e.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "reelay_webhook_requests_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if labels["provider"] == provider && labels["result"] == result {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

func jsonHeader() http.Header { return http.Header{"Content-Type": {"application/json"}} }
