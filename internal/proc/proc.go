// Package proc is what every reelay process is made of: parts that are started in order and stopped in reverse, each by
// name and within a bound; an operations listener with /healthz, /readyz, /metrics and a profile; a signal that ends it
// cleanly.
package proc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"reelay/internal/telemetry"
	"reelay/internal/trace"
	"reelay/internal/version"

	"github.com/oklog/run"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	otel "go.opentelemetry.io/otel/trace"
)

// stopWait bounds the stop of one part. A paid request under way may need a minute to be answered.
const stopWait = 90 * time.Second

// A Process is a set of running parts.
type Process struct {
	log      *slog.Logger
	registry *prometheus.Registry
	// tracers make the spans of the parts; nil for none.
	tracers otel.TracerProvider

	mu       sync.Mutex
	stops    []stop
	ready    []func() bool
	checks   []check
	children map[string]*Process
	stopping atomic.Bool
	failed   chan error
}

// A check says why the process could not do its job, though its parts have started.
type check struct {
	name string
	fn   func() error
}

type stop struct {
	name string
	fn   func() error
}

// New returns a process without parts.
func New(log *slog.Logger) *Process {
	return &Process{
		log: log, registry: prometheus.NewRegistry(), failed: make(chan error, 1),
		children: map[string]*Process{},
	}
}

// Child returns a process within p, so that several services can live in one process and each be stopped and started
// again. It stops with p, fails p when it fails, and replaces a former child of that name.
func (p *Process) Child(name string) *Process {
	c := New(p.log)
	c.failed, c.tracers = p.failed, p.tracers
	p.mu.Lock()
	p.children[name] = c
	p.mu.Unlock()
	p.Defer(name, c.Stop)
	return c
}

// Gather returns the metrics of p and its children.
func (p *Process) Gather() ([]*dto.MetricFamily, error) {
	all := prometheus.Gatherers{p.registry}
	p.mu.Lock()
	for _, c := range p.children {
		all = append(all, c)
	}
	p.mu.Unlock()
	return all.Gather()
}

// Describe tells the metrics that the parts of p and its children have registered, with values or without.
func (p *Process) Describe(ch chan<- *prometheus.Desc) {
	p.registry.Describe(ch)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.children {
		c.Describe(ch)
	}
}

// Registerer returns where a part registers its metrics, labelled with its name.
func (p *Process) Registerer(part string) prometheus.Registerer {
	return prometheus.WrapRegistererWith(prometheus.Labels{"service": part}, p.registry)
}

// Export has the spans and the metrics of the process exported as the OTEL_* variables say, until it has stopped; see
// package telemetry. It is called before any part is started. client carries the exports; nil for TCP.
func (p *Process) Export(ctx context.Context, client *http.Client) error {
	tracers, stop, err := telemetry.Start(ctx, telemetry.Options{
		Program: strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe"), Version: version.Get().Version, Metrics: p,
		Log: p.log, Client: client,
	})
	p.tracers = tracers
	if stop != nil {
		p.Defer("telemetry", func() error { stop(); return nil })
	}
	return err
}

// Tracer returns what makes the spans of a part.
func (p *Process) Tracer(part string) trace.Tracer {
	return trace.New(p.tracers, part, version.Get().Version)
}

// Defer has fn called when the process stops, after everything that was started later has stopped.
func (p *Process) Defer(name string, fn func() error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stops = append(p.stops, stop{name, fn})
}

// Go starts a part. When run returns before it was told to stop, the process fails. ready may be nil.
func (p *Process) Go(name string, run func(context.Context) error, ready func() bool) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		err := run(ctx)
		if ctx.Err() == nil {
			if err == nil {
				err = errors.New("ended by itself")
			}
			select {
			case p.failed <- fmt.Errorf("%s: %w", name, err):
			default: // one failure is enough to end the process
			}
		}
		done <- err
	}()
	p.Defer(name, func() error { cancel(); return <-done })
	if ready != nil {
		p.mu.Lock()
		p.ready = append(p.ready, ready)
		p.mu.Unlock()
	}
}

// Ready reports whether every part is ready and none is being stopped.
func (p *Process) Ready() bool {
	if p.stopping.Load() {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.ready {
		if !r() {
			return false
		}
	}
	for _, c := range p.children {
		if !c.Ready() {
			return false
		}
	}
	return true
}

// Check adds what /readyz asks beside Ready: why the process could not do its job now, nil if it could. fn asks nobody,
// and takes no time.
func (p *Process) Check(name string, fn func() error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.checks = append(p.checks, check{name, fn})
}

const (
	// probePause is the time between two tries of a probe, probeWait bounds one, and probeFresh is how old its last success
	// may be.
	probePause = 5 * time.Second
	probeWait  = 4 * time.Second
	probeFresh = 30 * time.Second
)

// Probe is Check for what has to be asked of others: probe runs every five seconds, and counts as failed when it has not
// succeeded for 30 s. It gets four seconds. Its first try runs at once.
func (p *Process) Probe(name string, probe func(context.Context) error) {
	var mu sync.Mutex
	var last time.Time
	err := errors.New("not tried yet")
	p.Go("probe of "+name, func(ctx context.Context) error {
		for {
			attempt, cancel := context.WithTimeout(ctx, probeWait)
			now := probe(attempt)
			cancel()
			mu.Lock()
			if err = now; err == nil {
				last = time.Now()
			}
			mu.Unlock()
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(probePause):
			}
		}
	}, nil)
	p.Check(name, func() error {
		mu.Lock()
		defer mu.Unlock()
		if err != nil && time.Since(last) > probeFresh {
			return err
		}
		return nil
	})
}

// NotReady says why the process could not do its job, by part; it is empty if it could.
func (p *Process) NotReady() (reasons []string) {
	if !p.Ready() {
		reasons = append(reasons, "not every part runs")
	}
	p.mu.Lock()
	checks, children := slices.Clone(p.checks), maps.Clone(p.children)
	p.mu.Unlock()
	for _, c := range checks {
		if err := c.fn(); err != nil {
			reasons = append(reasons, c.name+": "+err.Error())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(children)) {
		for _, reason := range children[name].NotReady() {
			reasons = append(reasons, name+": "+reason)
		}
	}
	return reasons
}

// AwaitReady waits until Ready or the end of ctx. A part that fails meanwhile is its error.
func (p *Process) AwaitReady(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !p.Ready() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-p.failed:
			return err
		case <-tick.C:
		}
	}
	return nil
}

// Wait waits for the end of ctx or the failure of a part.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-p.failed:
		return err
	}
}

// Stop turns readiness off and stops every part, the last started first. It returns what went wrong, by name.
func (p *Process) Stop() error {
	p.stopping.Store(true)
	var all []error
	for {
		p.mu.Lock()
		if len(p.stops) == 0 {
			p.mu.Unlock()
			return errors.Join(all...)
		}
		s := p.stops[len(p.stops)-1]
		p.stops = p.stops[:len(p.stops)-1]
		p.mu.Unlock()
		if err := p.stop(s); err != nil {
			all = append(all, fmt.Errorf("stop of %s: %w", s.name, err))
		}
	}
}

func (p *Process) stop(s stop) error {
	p.log.Debug("a part of the process is being stopped", "part", s.name)
	done := make(chan error, 1)
	go func() { done <- s.fn() }()
	timer := time.NewTimer(stopWait)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return fmt.Errorf("still busy after %v", stopWait)
	}
}

// ServeOps serves /healthz, /readyz, /metrics and /debug/pprof/profile on an address; an empty one serves nothing.
func (p *Process) ServeOps(address string) error {
	if address == "" {
		return nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("operations listener: %w", err)
	}
	p.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		buildInfo())
	p.Serve("ops", l, p.OpsHandler())
	p.log.Info("serving health and metrics", "address", l.Addr().String(), "paths",
		"/healthz /readyz /metrics /debug/pprof/profile")
	return nil
}

// buildInfo is a metric that is always 1, and whose labels tell which build this is.
func buildInfo() prometheus.Collector {
	b := version.Get()
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "reelay_build_info", Help: "1, with the version, the commit and the Go version of this build as labels.",
		ConstLabels: prometheus.Labels{"version": b.Version, "revision": b.Revision, "goversion": b.Go},
	}, func() float64 { return 1 })
}

// OpsHandler answers /healthz (the process is alive), /readyz (it could do its job within the last 30 s; else why not)
// and /metrics, which wait for nobody, and /debug/pprof/profile, which takes its time.
func (p *Process) OpsHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if reasons := p.NotReady(); len(reasons) > 0 {
			http.Error(w, "not ready\n"+strings.Join(reasons, "\n"), http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ready\n")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(p, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/profile", serveProfile)
	return mux
}

const (
	// profileTime is for how long the processor is profiled if a request does not say, maxProfileTime the longest.
	profileTime    = 5 * time.Second
	maxProfileTime = time.Minute
)

// serveProfile answers with a profile of what the processor does for the next seconds, in the format of pprof: names of
// functions and lines, no data. There is one at a time.
func serveProfile(w http.ResponseWriter, r *http.Request) {
	d := profileTime
	if text := r.FormValue("seconds"); text != "" {
		n, err := strconv.Atoi(text)
		if d = time.Duration(n) * time.Second; err != nil || n < 1 || d > maxProfileTime {
			http.Error(w, fmt.Sprintf("seconds must be 1 to %.0f", maxProfileTime.Seconds()), http.StatusBadRequest)
			return
		}
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	if err := pprof.StartCPUProfile(w); err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	defer pprof.StopCPUProfile()
	select {
	case <-r.Context().Done():
	case <-time.After(d):
	}
}

// Serve runs an HTTP server on l as a part. Its limits suit small requests.
func (p *Process) Serve(name string, l net.Listener, h http.Handler) {
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 32 << 10,
	}
	p.Go(name, func(ctx context.Context) error {
		stopped := context.AfterFunc(ctx, func() { _ = srv.Close() })
		defer stopped()
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}, nil)
}

// Main is the body of a main: setup starts the parts, then the process runs until a signal, a failed part or the end of
// ctx, and stops. It returns the exit code. SIGINT and SIGTERM are a clean end. SIGHUP ends nothing, nor does a reader of
// the log that has gone away.
func Main(ctx context.Context, log *slog.Logger, opsListen string, setup func(context.Context, *Process) error) int {
	signal.Ignore(syscall.SIGPIPE)
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	log.Info("process starts", "version", version.Get().Version, "revision", version.Get().Revision)
	p := New(log)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var started atomic.Bool
	p.ready = append(p.ready, started.Load)
	var g run.Group
	g.Add(run.SignalHandler(ctx, syscall.SIGINT, syscall.SIGTERM))
	g.Add(func() error { return heedHangup(ctx, log, hangup) }, func(error) { cancel() })
	g.Add(func() error {
		if err := p.Export(ctx, nil); err != nil {
			return err
		}
		if err := p.ServeOps(opsListen); err != nil {
			return err
		}
		if err := setup(ctx, p); err != nil {
			return err
		}
		started.Store(true)
		return p.Wait(ctx)
	}, func(error) { cancel() })
	err := g.Run()
	code := 0
	if err != nil && !errors.Is(err, run.ErrSignal) && !errors.Is(err, context.Canceled) {
		log.Error("a part of the process has failed", "error", err)
		code = 1
	}
	if err := p.Stop(); err != nil {
		log.Error("the process did not stop cleanly", "error", err)
		code = 1
	}
	return code
}

// heedHangup says what SIGHUP does not do, until ctx ends.
func heedHangup(ctx context.Context, log *slog.Logger, hangup <-chan os.Signal) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-hangup:
			log.Info("SIGHUP: certificates are read again by themselves within a minute; restart the process for other settings " +
				"and keys")
		}
	}
}
