// Package webhook is the HTTP service that providers call back. It faces the internet.
//
// A callback is a POST to a URL that package callbackurl has made: whoever knows one may speak of the one attempt that
// it names. Where the provider signs (fal), the signature is checked as well; where it does not (MiniMax), what the
// callback says is no more than a hint, and its handshake is answered on the spot. The service reads nothing else of a
// body: it hands it on as it came and answers 200 only when JetStream has it. While NATS is down or slow it answers
// 503, so that the provider comes again; a task whose callbacks are all lost is still found by the polls. Delivery is
// at least once, in no order; a repeated body is stored once within events.EventDuplicates.
//
// A callback to a good URL that is refused for its clock, its content type or its lateness is handed on without its body, marked as
// unproven: providers do not repeat what was refused, and a proxy or a wrong clock must not hide the end of a task for
// minutes.
//
// The service holds no provider's API key, writes no record and needs no stream to start. Everything strangers can use
// up has a limit, answers are short and fixed, no path is redirected (fal gives up on a 3xx for good), and refusals do
// not say what was wrong beyond their status. URLs are never logged, for they hold a MAC.
package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"reelay/events"
	"reelay/internal/callbackurl"
	"reelay/internal/provider"
)

const (
	headerTimeout = 5 * time.Second
	// readTimeout bounds a request from its first byte to the end of its body.
	readTimeout = 15 * time.Second
	idleTimeout = time.Minute
	// publishWait bounds the wait for JetStream. fal waits 15 s for an answer, keys and body included.
	publishWait = 5 * time.Second
	// writeTimeout bounds everything from the end of the headers.
	writeTimeout = readTimeout + publishWait + 5*time.Second
	// stopWait is how long callbacks in hand may take when the service stops.
	stopWait = 10 * time.Second

	maxHeaderBytes = 16 << 10
	maxStreams     = 64 // of one HTTP/2 connection
	// maxReading and maxPublishing bound the bodies that are held at once, of events.MaxCallbackBytes each.
	maxReading = 128
	// maxReadingPerURL is how many of them one URL may have: a provider tells once, and sometimes once more.
	maxReadingPerURL = 2
	// slowBody is how long a body may take that nobody waits for: far longer than a provider needs.
	slowBody      = 500 * time.Millisecond
	maxPublishing = 128
)

// ErrNoKey says that there is no key to verify callback URLs with.
var ErrNoKey = errors.New("no callback key")

// A Publisher stores a callback for the pipeline. It returns when that is certain, and reports whether it was stored
// before.
type Publisher interface {
	Publish(ctx context.Context, c events.Callback) (duplicate bool, err error)
}

// Limits are what strangers can use up. A field that is 0 means DefaultLimits'.
type Limits struct {
	// Conns is how many connections are open at once, ConnsPerAddress how many of one address. Those beyond are closed at
	// once. Trusted proxies have no limit of their own.
	Conns           int
	ConnsPerAddress int
	// RefusedPerSecond is how many refusals a second an address is answered in the long run, RefusedBurst how many at
	// once. Beyond it every refusal reads 429. Good callbacks do not count: a stranger must not be able to use up a
	// provider's share by having it call wrong URLs.
	RefusedPerSecond float64
	RefusedBurst     int
	// CallsPerSecond and CallsBurst are the same for the callbacks to one good URL.
	CallsPerSecond float64
	CallsBurst     int
}

// DefaultLimits suit tens of thousands of tasks an hour.
func DefaultLimits() Limits {
	return Limits{
		Conns: 1024, ConnsPerAddress: 128, RefusedPerSecond: 5, RefusedBurst: 50, CallsPerSecond: 2,
		CallsBurst: 60,
	}
}

// Options configure New.
type Options struct {
	// Listener is closed when Run returns.
	Listener net.Listener
	// TLS is nil for plain HTTP, behind a proxy that ends TLS.
	TLS *tls.Config
	// PublicURL is the base URL that callback URLs begin with. Its path is taken off the paths of requests that have it:
	// some proxies do that and some do not.
	PublicURL string
	Keys      callbackurl.Keys
	Lanes     []provider.CallbackLane
	Publisher Publisher
	// Proxies are the addresses whose X-Forwarded-For is trusted.
	Proxies    []netip.Prefix
	Limits     Limits
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// A Service receives callbacks.
type Service struct {
	o       Options
	base    string
	lanes   map[string]provider.CallbackLane
	log     *slog.Logger
	metrics metrics

	refusals *buckets[netip.Addr]
	calls    *buckets[callbackurl.Target]
	// reading are the slots for bodies, publishing those for what is handed on.
	reading    *slots[callbackurl.Target]
	publishing chan struct{}
	serving    atomic.Bool
}

// New checks the options and makes no call. It fails with ErrNoKey or names the option.
func New(o Options) (*Service, error) {
	if o.Keys.Empty() {
		return nil, ErrNoKey
	}
	base, err := basePath(o.PublicURL)
	if err != nil {
		return nil, err
	}
	o.Limits = o.Limits.orDefault()
	s := &Service{
		o: o, base: base, lanes: map[string]provider.CallbackLane{}, log: o.Log.With("component", "webhook"),
		metrics: newMetrics(), refusals: newBuckets[netip.Addr](o.Limits.RefusedPerSecond, o.Limits.RefusedBurst),
		calls:      newBuckets[callbackurl.Target](o.Limits.CallsPerSecond, o.Limits.CallsBurst),
		reading:    newSlots[callbackurl.Target](maxReading, maxReadingPerURL, slowBody),
		publishing: make(chan struct{}, maxPublishing),
	}
	for _, l := range o.Lanes {
		if !events.ValidToken(l.Name) {
			return nil, fmt.Errorf("lane %q is not 1 to %d characters of A-Z a-z 0-9 _ -", l.Name, events.MaxTokenBytes)
		}
		s.lanes[l.Name] = l
	}
	if o.Registerer != nil {
		o.Registerer.MustRegister(s.metrics.collectors()...)
	}
	return s, nil
}

func (l Limits) orDefault() Limits {
	d := DefaultLimits()
	if l.Conns == 0 {
		l.Conns = d.Conns
	}
	if l.ConnsPerAddress == 0 {
		l.ConnsPerAddress = d.ConnsPerAddress
	}
	if l.RefusedPerSecond == 0 {
		l.RefusedPerSecond = d.RefusedPerSecond
	}
	if l.RefusedBurst == 0 {
		l.RefusedBurst = d.RefusedBurst
	}
	if l.CallsPerSecond == 0 {
		l.CallsPerSecond = d.CallsPerSecond
	}
	if l.CallsBurst == 0 {
		l.CallsBurst = d.CallsBurst
	}
	return l
}

// Ready reports whether callbacks are answered. It stays so while NATS is down, which its process has to tell:
// handshakes have to be answered all the same, and 503 is the right answer to the rest.
func (s *Service) Ready() bool { return s.serving.Load() }

// Run serves until ctx ends, and then until the callbacks in hand are answered, ten seconds at most.
func (s *Service) Run(ctx context.Context) error {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(s.o.TLS == nil) // some proxies speak it
	srv := &http.Server{
		Handler: http.HandlerFunc(s.serve), ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout,
		WriteTimeout: writeTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		DisableGeneralOptionsHandler: true, TLSConfig: s.o.TLS, Protocols: &protocols,
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: maxStreams, MaxReadFrameSize: 64 << 10},
		// What strangers do wrong is no news.
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWait)
		defer cancel()
		if srv.Shutdown(bounded) != nil {
			_ = srv.Close()
		}
	})
	l := &limitedListener{
		Listener: s.o.Listener, max: s.o.Limits.Conns, maxPerAddress: s.o.Limits.ConnsPerAddress, proxies: s.o.Proxies,
		refused: s.metrics.refusedConns, open: map[netip.Addr]int{},
	}
	s.log.Info("listening for callbacks", "address", l.Addr().String(), "tls", s.o.TLS != nil)
	s.serving.Store(true)
	defer s.serving.Store(false)
	var err error
	if s.o.TLS != nil {
		err = srv.ServeTLS(l, "", "")
	} else {
		err = srv.Serve(l)
	}
	if stop() {
		_ = srv.Close() // it has failed by itself
		return fmt.Errorf("webhook listener: %w", err)
	}
	<-stopped
	return nil
}

// basePath returns the path of a base URL without the slash at its end.
func basePath(public string) (string, error) {
	_, rest, ok := strings.Cut(public, "://")
	if public == "" {
		return "", nil
	}
	if !ok {
		return "", fmt.Errorf("public URL: %q is not an absolute URL", public)
	}
	_, path, _ := strings.Cut(rest, "/")
	if path = strings.Trim(path, "/"); path == "" {
		return "", nil
	}
	return "/" + path, nil
}
