package proc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"reelay/internal/proc"
	"reelay/internal/version"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func process(tb testing.TB) *proc.Process {
	return proc.New(slog.New(slog.NewTextHandler(tb.Output(), nil)))
}

// untilStopped is a part that ends when it is told to.
func untilStopped(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

func TestStopOrder(t *testing.T) {
	p := process(t)
	var order []string
	first, last := errors.New("lost"), errors.New("full")
	note := func(name string, err error) {
		p.Defer(name, func() error {
			if p.Ready() {
				t.Errorf("ready while %s is being stopped", name)
			}
			order = append(order, name)
			return err
		})
	}
	note("connection", first)
	p.Go("service", func(ctx context.Context) error {
		<-ctx.Done()
		order = append(order, "service")
		return nil
	}, nil)
	note("listener", nil)
	child := p.Child("child")
	child.Defer("deeper", func() error { order = append(order, "deeper"); return nil })
	note("door", last)
	if !p.Ready() {
		t.Error("not ready")
	}
	err := p.Stop()
	if want := []string{"door", "deeper", "listener", "service", "connection"}; !slices.Equal(order, want) {
		t.Errorf("stopped %v, want %v", order, want)
	}
	if !errors.Is(err, first) || !errors.Is(err, last) {
		t.Errorf("%v, want both errors", err)
	}
	for _, want := range []string{"stop of connection: lost", "stop of door: full"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q in it", err, want)
		}
	}
	if err := p.Stop(); err != nil || len(order) != 5 {
		t.Errorf("a second stop: %v, %v", order, err)
	}
	if p.Ready() {
		t.Error("ready after the stop")
	}
}

// TestStopByMany: each part is stopped once.
func TestStopByMany(t *testing.T) {
	p := process(t)
	var stops atomic.Int64
	for range 100 {
		p.Defer("part", func() error { stops.Add(1); return nil })
	}
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if err := p.Stop(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if stops.Load() != 100 {
		t.Errorf("%d stops of 100 parts", stops.Load())
	}
}

// TestStopIsBounded: a part that hangs does not keep the others from being stopped.
func TestStopIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := process(t)
		stopped := false
		p.Defer("before", func() error { stopped = true; return nil })
		hung := make(chan struct{})
		defer close(hung)
		p.Defer("hung", func() error { <-hung; return nil })
		start := time.Now()
		err := p.Stop()
		if err == nil || !strings.Contains(err.Error(), "stop of hung: still busy after 1m30s") || !stopped {
			t.Errorf("%v, the other stopped %v", err, stopped)
		}
		if took := time.Since(start); took != 90*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestFailure(t *testing.T) {
	broken := errors.New("broken pipe")
	rows := []struct {
		name string
		run  func(context.Context) error
		want string
		is   error
	}{
		{"fails", func(context.Context) error { return broken }, "intake: broken pipe", broken},
		{"ends by itself", func(context.Context) error { return nil }, "intake: ended by itself", nil},
	}
	for _, row := range rows {
		for _, where := range []string{"part", "child's part"} {
			t.Run(where+" "+row.name, func(t *testing.T) {
				p := process(t)
				in := p
				if where != "part" {
					in = p.Child("child")
				}
				p.Go("steady", untilStopped, nil)
				in.Go("intake", row.run, nil)
				err := p.Wait(t.Context())
				if err == nil || err.Error() != row.want || row.is != nil && !errors.Is(err, row.is) {
					t.Errorf("%v, want %s", err, row.want)
				}
				if err := p.Stop(); err == nil || !strings.Contains(err.Error(), "stop of "+row.want) {
					t.Errorf("stop: %v, want %s again", err, row.want)
				}
			})
		}
	}
}

// TestStopIsNoFailure: a part that returns an error when told to stop fails the stop, not the process.
func TestStopIsNoFailure(t *testing.T) {
	p := process(t)
	late := errors.New("could not drain")
	p.Go("service", func(ctx context.Context) error { <-ctx.Done(); return late }, nil)
	if err := p.Stop(); !errors.Is(err, late) {
		t.Errorf("%v, want the part's error", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Wait(ctx); err != nil {
		t.Errorf("wait: %v", err)
	}
}

func TestAwaitReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := process(t)
		start := time.Now()
		p.Go("slow", untilStopped, func() bool { return time.Since(start) >= time.Minute })
		ctx, cancel := context.WithTimeoutCause(t.Context(), 30*time.Second, errors.New("enough"))
		defer cancel()
		if err := p.AwaitReady(ctx); err == nil || err.Error() != "enough" {
			t.Errorf("%v, want the context's cause", err)
		}
		if err := p.AwaitReady(t.Context()); err != nil || !p.Ready() || time.Since(start) < time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		child := p.Child("child")
		child.Go("broken", func(context.Context) error { return errors.New("no key") }, func() bool { return false })
		if err := p.AwaitReady(t.Context()); err == nil || err.Error() != "broken: no key" {
			t.Errorf("%v, want the failed part", err)
		}
		_ = p.Stop() // it returns the same error
	})
}

// get asks the operations handler.
func get(tb testing.TB, h http.Handler, path string) (int, string) {
	tb.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

func TestOps(t *testing.T) {
	p := process(t)
	var up, childUp atomic.Bool
	p.Go("part", untilStopped, up.Load)
	ops := p.OpsHandler()
	check := func(when, path string, status int, body string) {
		t.Helper()
		if code, text := get(t, ops, path); code != status || !strings.Contains(text, body) {
			t.Errorf("%s: %s answers %d %q, want %d %q", when, path, code, text, status, body)
		}
	}
	check("at first", "/healthz", 200, "ok")
	check("at first", "/readyz", 503, "not ready")
	up.Store(true)
	check("up", "/readyz", 200, "ready")
	child := p.Child("poller")
	child.Go("child's part", untilStopped, childUp.Load)
	check("with a child that is not up", "/readyz", 503, "not ready")
	childUp.Store(true)
	check("with its child", "/readyz", 200, "ready")
	check("anywhere", "/other", 404, "")
	if err := child.Stop(); err != nil {
		t.Fatal(err)
	}
	check("its child stopped", "/readyz", 503, "not ready")
	check("its child stopped", "/healthz", 200, "ok")
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	check("stopped", "/readyz", 503, "not ready")
}

// TestProbe: readiness ends 30 s after what is asked of others has worked for the last time, says why, and waits for
// nobody; the start of the parts does not wait for it.
func TestProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := process(t)
		var lost atomic.Bool
		lost.Store(true)
		var paused error
		child := p.Child("poller")
		child.Probe("streams", func(ctx context.Context) error {
			if lost.Load() {
				<-ctx.Done() // a black hole
				return ctx.Err()
			}
			return nil
		})
		child.Check("spending", func() error { return paused })
		ops := p.OpsHandler()
		check := func(when string, status int, body string) {
			t.Helper()
			synctest.Wait()
			began := time.Now()
			if code, text := get(t, ops, "/readyz"); code != status || !strings.Contains(text, body) || time.Since(began) > 0 {
				t.Errorf("%s: %d %q after %v, want %d %q", when, code, text, time.Since(began), status, body)
			}
		}
		if !p.Ready() {
			t.Error("the parts wait for the probe")
		}
		check("at first", 503, "poller: streams: not tried yet")
		lost.Store(false)
		time.Sleep(10 * time.Second)
		check("tried", 200, "ready")
		lost.Store(true)
		time.Sleep(25 * time.Second)
		check("lost", 200, "ready")
		time.Sleep(15 * time.Second)
		check("lost for long", 503, "poller: streams: context deadline exceeded")
		lost.Store(false)
		time.Sleep(10 * time.Second)
		paused = errors.New("spending is stopped")
		check("back, and stopped", 503, "poller: spending: spending is stopped")
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestMetrics: one page shows the metrics of a process and its children, told apart by their service; a child that is
// replaced shows its successor's only.
func TestMetrics(t *testing.T) {
	p := process(t)
	count := func(in *proc.Process, service string, n float64) {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "reelay_steps_total", Help: "Steps."})
		in.Registerer(service).MustRegister(c)
		c.Add(n)
	}
	count(p, "broker", 1)
	count(p.Child("submitter"), "submitter", 2)
	count(p.Child("poller"), "poller", 3)
	count(p.Child("poller"), "poller", 4)
	code, page := get(t, p.OpsHandler(), "/metrics")
	if code != 200 {
		t.Fatalf("%d %s", code, page)
	}
	for _, want := range []string{
		`reelay_steps_total{service="broker"} 1`, `reelay_steps_total{service="submitter"} 2`,
		`reelay_steps_total{service="poller"} 4`,
	} {
		if !strings.Contains(page, want+"\n") {
			t.Errorf("no %s in\n%s", want, page)
		}
	}
	if n := strings.Count(page, `service="poller"`); n != 1 {
		t.Errorf("%d pollers on the page", n)
	}
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
}

// TestBuildInfo: the operations listener tells which build runs, once for all services of the process.
func TestBuildInfo(t *testing.T) {
	p := process(t)
	if err := p.ServeOps("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	p.Child("poller")
	want := fmt.Sprintf(`reelay_build_info{goversion=%q,revision="",version=%q} 1`, runtime.Version(),
		version.Get().Version)
	if code, page := get(t, p.OpsHandler(), "/metrics"); code != 200 || strings.Count(page, want+"\n") != 1 {
		t.Errorf("%d, no %s in\n%s", code, want, page)
	}
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
}

func TestServe(t *testing.T) {
	p := process(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.Serve("http", l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello")
	}))
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get("http://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil || string(body) != "hello" {
		t.Errorf("%q, %v", body, err)
	}
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", l.Addr().String()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("after the stop: %v, want a refusal", err)
	}
}

func TestMainExitCode(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	stopAfter := func(ctx context.Context, cancel func(), p *proc.Process) { p.Go("part", untilStopped, nil); cancel() }
	rows := []struct {
		name  string
		ops   string
		setup func(ctx context.Context, cancel func(), p *proc.Process) error
		code  int
		log   string
	}{
		{
			"ended", "127.0.0.1:0",
			func(ctx context.Context, cancel func(), p *proc.Process) error { stopAfter(ctx, cancel, p); return nil }, 0, "",
		},
		{
			"no operations listener", "",
			func(ctx context.Context, cancel func(), p *proc.Process) error { stopAfter(ctx, cancel, p); return nil }, 0, "",
		},
		{
			"setup fails", "", func(context.Context, func(), *proc.Process) error { return errors.New("no such account") }, 1,
			"no such account",
		},
		{
			"setup is cut short", "",
			func(ctx context.Context, cancel func(), _ *proc.Process) error { cancel(); return context.Cause(ctx) }, 0, "",
		},
		{"address taken", taken.Addr().String(), func(context.Context, func(), *proc.Process) error {
			t.Error("set up although nobody can watch it")
			return nil
		}, 1, "operations listener"},
		{"a part fails", "", func(_ context.Context, _ func(), p *proc.Process) error {
			p.Go("intake", func(context.Context) error { return errors.New("stream is gone") }, nil)
			return nil
		}, 1, "intake: stream is gone"},
		{"a stop fails", "", func(ctx context.Context, cancel func(), p *proc.Process) error {
			p.Defer("store", func() error { return errors.New("disk full") })
			stopAfter(ctx, cancel, p)
			return nil
		}, 1, "stop of store: disk full"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var text bytes.Buffer
			log := slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelWarn}))
			stopped := false
			code := proc.Main(ctx, log, row.ops, func(ctx context.Context, p *proc.Process) error {
				p.Defer("first", func() error { stopped = true; return nil })
				return row.setup(ctx, cancel, p)
			})
			if code != row.code || !strings.Contains(text.String(), row.log) || row.log == "" && text.Len() > 0 {
				t.Errorf("exit code %d, want %d; log %q, want %q", code, row.code, text.String(), row.log)
			}
			if !stopped && row.ops != taken.Addr().String() {
				t.Error("what was started is not stopped")
			}
		})
	}
}

// TestHangup: neither a closed terminal nor a reader of the log that is gone ends a process.
func TestHangup(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	heard := make(chan struct{})
	log := slog.New(slog.NewTextHandler(writer(func(line string) {
		if strings.Contains(line, "SIGHUP") {
			close(heard)
		}
	}), nil))
	code := proc.Main(ctx, log, "", func(_ context.Context, p *proc.Process) error {
		p.Go("part", func(ctx context.Context) error {
			if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
				return err
			}
			<-heard
			if !signal.Ignored(syscall.SIGPIPE) {
				t.Error("a pipe that breaks would end the process")
			}
			cancel()
			<-ctx.Done()
			return nil
		}, nil)
		return nil
	})
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// A writer is called with every line.
type writer func(line string)

func (w writer) Write(line []byte) (int, error) { w(string(line)); return len(line), nil }

// TestMainReady: a process is not ready before its setup is through.
func TestMainReady(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	code := proc.Main(ctx, slog.New(slog.DiscardHandler), "", func(_ context.Context, p *proc.Process) error {
		if p.Ready() {
			t.Error("ready in the middle of the setup")
		}
		p.Go("watch", func(ctx context.Context) error {
			if err := p.AwaitReady(ctx); err != nil {
				t.Error(err)
			}
			cancel()
			<-ctx.Done()
			return nil
		}, nil)
		return nil
	})
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestSignals: both are a clean end.
func TestSignals(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(s.String(), func(t *testing.T) {
			caught := make(chan os.Signal, 100) // a signal before Main listens must not end the test
			signal.Notify(caught, s)
			defer signal.Stop(caught)
			stopped := make(chan struct{})
			code := proc.Main(t.Context(), slog.New(slog.DiscardHandler), "", func(_ context.Context, p *proc.Process) error {
				p.Defer("last", func() error { close(stopped); return nil })
				go func() {
					tick := time.NewTicker(5 * time.Millisecond)
					defer tick.Stop()
					for {
						select {
						case <-stopped:
							return
						case <-tick.C:
							_ = syscall.Kill(os.Getpid(), s)
						}
					}
				}()
				return nil
			})
			<-stopped
			if code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}
