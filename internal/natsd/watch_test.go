package natsd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"reelay/events"
)

// ownProcess is set in the process that a test starts of itself.
const ownProcess = "REELAY_TEST_OWN_PROCESS"

// A fault makes a store refuse writes for a while.
type fault struct {
	name string
	// plain says that the disk shows it: a restart is not tried before there is room.
	plain bool
	// wide says that it strikes the whole process: it gets one of its own, or go test's own files would be struck too.
	wide bool
	// prepare returns the directory that will be struck, strike and heal.
	prepare func(t *testing.T) (dir string, strike, heal func())
}

// fullDisk is a disk of 48 MB of its own, filled to the last page.
func fullDisk(t *testing.T) (string, func(), func()) {
	dir := t.TempDir()
	if err := mountSmallDisk(dir); err != nil {
		t.Skipf("a disk of our own cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := unmount(dir); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	ballast := filepath.Join(dir, "ballast")
	return filepath.Join(dir, "store"), func() {
			f, err := os.Create(ballast)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			for block := make([]byte, 64<<10); ; {
				if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
					return
				} else if err != nil {
					t.Fatal(err)
				}
			}
		}, func() {
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
		}
}

// smallFiles has the system refuse every write beyond the first MiB of a file, in this whole process. It needs no
// rights.
func smallFiles(t *testing.T) (string, func(), func()) {
	var usual syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &usual); err != nil {
		t.Fatal(err)
	}
	limit := func(n uint64) {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: usual.Max}); err != nil {
			t.Fatal(err)
		}
	}
	signal.Ignore(syscall.SIGXFSZ) // or the first refused write would end the process
	heal := func() { limit(usual.Cur) }
	t.Cleanup(func() { heal(); signal.Reset(syscall.SIGXFSZ) })
	return t.TempDir(), func() { limit(1 << 20) }, heal
}

// A writer publishes one message after another and remembers which were acknowledged.
type writer struct {
	js    jetstream.JetStream
	next  int
	acked []int
}

func (w *writer) write(ctx context.Context) error {
	n := w.next
	w.next++
	ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	_, err := w.js.Publish(ctx, "x.y", fmt.Appendf(nil, "%d %32000d", n, 0), jetstream.WithRetryAttempts(0))
	if err == nil {
		w.acked = append(w.acked, n)
	}
	return err
}

func newWriter(t *testing.T, nc *nats.Conn) *writer {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return &writer{js: js}
}

// await fails the test if it does not become true within a minute, which is the bound that the product gives itself.
func await(t *testing.T, what string, ok func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !ok() {
		if time.Since(began) > time.Minute {
			t.Fatalf("after a minute: still no %s", what)
		}
	}
	return time.Since(began)
}

// watching runs Watch until stop is called.
func watching(t *testing.T, s *Server) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	watched := make(chan error, 1)
	go func() { watched <- s.Watch(ctx) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-watched; err != nil {
			t.Errorf("watch: %v", err)
		}
	}
}

// TestRecovery: after writes were refused for want of room, and there is room again, the broker takes writes by itself,
// on the connections that there were, in process and over TCP, and has lost nothing that it acknowledged.
// REELAY_TEST_PACE=usual has it wait as long as in earnest.
func TestRecovery(t *testing.T) {
	for _, f := range []fault{
		{name: "full disk", plain: true, prepare: fullDisk}, {name: "refused writes", wide: true, prepare: smallFiles},
	} {
		t.Run(f.name, func(t *testing.T) {
			if f.wide && os.Getenv(ownProcess) == "" {
				run := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
				run.Env = append(os.Environ(), ownProcess+"=yes")
				out, err := run.CombinedOutput()
				t.Logf("%s", out)
				if err != nil {
					t.Error(err)
				}
				return
			}
			dir, strike, heal := f.prepare(t)
			o := options(t, dir)
			o.Listen = "127.0.0.1:0"
			registry := prometheus.NewRegistry()
			o.Registerer = registry
			s := start(t, o)
			defer s.Stop()
			if os.Getenv("REELAY_TEST_PACE") != "usual" {
				s.pace = pace{every: 50 * time.Millisecond, patience: 200 * time.Millisecond, maxPatience: time.Second}
			}
			defer watching(t, s)()
			ctx := t.Context()

			local := connect(t, s)
			remote, err := nats.Connect(s.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
			if err != nil {
				t.Fatal(err)
			}
			defer remote.Close()
			inside, outside := newWriter(t, local), newWriter(t, remote)
			if _, err := inside.js.CreateStream(ctx, jetstream.StreamConfig{Name: "X", Subjects: []string{"x.*"}}); err != nil {
				t.Fatal(err)
			}
			for range 100 {
				if err := errors.Join(inside.write(ctx), outside.write(ctx)); err != nil {
					t.Fatal(err)
				}
			}
			url := s.URL()

			strike()
			await(t, "refused write", func() bool { return inside.write(ctx) != nil })
			await(t, "notice of it", func() bool { return gauge(t, registry, "reelay_broker_store_writable") == 0 })
			for range 2 * int(s.pace.patience/s.pace.every) {
				_ = inside.write(ctx) // refused, or luckily not: what counts is what was acknowledged
			}
			if n := gauge(t, registry, "reelay_broker_restarts_total"); f.plain && n != 0 {
				t.Errorf("%v restarts while there was no room", n)
			}

			heal()
			took := await(t, "write in process", func() bool { return inside.write(ctx) == nil })
			took += await(t, "write over TCP", func() bool { return outside.write(ctx) == nil })
			if n := gauge(t, registry, "reelay_broker_restarts_total"); n < 1 || f.plain && n > 1 {
				t.Errorf("%v restarts", n)
			}
			if s.URL() != url {
				t.Errorf("the address was %s and is %s", url, s.URL())
			}
			await(t, "all clear", func() bool { return gauge(t, registry, "reelay_broker_store_writable") == 1 })
			lost := missing(t, inside.js, inside.acked, outside.acked)
			t.Logf("took writes again %v after there was room; %d acknowledged, %d lost", took.Round(time.Millisecond),
				len(inside.acked)+len(outside.acked), lost)
			if lost != 0 {
				t.Errorf("%d acknowledged messages are lost", lost)
			}
		})
	}
}

// TestStreamBeingMade: a stream whose directory is there before the server knows it is no trouble, unless that lasts.
func TestStreamBeingMade(t *testing.T) {
	o, logged, registry := options(t, t.TempDir()), &bytes.Buffer{}, prometheus.NewRegistry()
	o.Log, o.Registerer = slog.New(slog.NewTextHandler(logged, nil)), registry
	s := start(t, o)
	defer s.Stop()
	js, err := jetstream.New(connect(t, s))
	if err != nil {
		t.Fatal(err)
	}
	w := watchdog{Server: s, js: js, patience: s.pace.patience}
	w.check(t.Context())
	streams, err := filepath.Glob(filepath.Join(o.StoreDir, "jetstream", "*", "streams"))
	if err != nil || len(streams) != 1 {
		t.Fatalf("directories of streams: %v, %v", streams, err)
	}
	made := filepath.Join(streams[0], "X")
	for _, step := range []struct {
		strange, trouble bool
	}{{true, false}, {false, false}, {true, false}, {true, true}, {true, true}, {false, false}} {
		if err := os.RemoveAll(made); err != nil {
			t.Fatal(err)
		}
		if step.strange {
			if err := os.Mkdir(made, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		w.check(t.Context())
		if got := gauge(t, registry, "reelay_broker_store_writable") == 0; got != step.trouble {
			t.Errorf("trouble is %v, want %v", got, step.trouble)
		}
	}
	if n := strings.Count(logged.String(), "level=ERROR"); n != 1 {
		t.Errorf("%d errors: %s", n, logged)
	}
}

// TestStartOnFullDisk: a broker that is started on a full disk comes up, takes its limit of nothing from there, and
// takes writes by itself when there is room. It has lost nothing that it acknowledged.
func TestStartOnFullDisk(t *testing.T) {
	dir, strike, heal := fullDisk(t)
	s := start(t, options(t, dir))
	nc := connect(t, s)
	before := newWriter(t, nc)
	if _, err := before.js.CreateStream(t.Context(),
		jetstream.StreamConfig{Name: "X", Subjects: []string{"x.*"}}); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if err := before.write(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	strike()
	_ = before.write(t.Context())
	nc.Close()
	s.Stop()

	s = start(t, options(t, dir))
	defer s.Stop()
	s.pace = pace{every: 50 * time.Millisecond, patience: 200 * time.Millisecond, maxPatience: time.Second}
	defer watching(t, s)()
	ctx := t.Context()
	after := newWriter(t, connect(t, s))
	after.next = before.next
	if err := after.write(ctx); err == nil {
		t.Error("a full disk takes a write")
	}
	heal()
	took := await(t, "write", func() bool { return after.write(ctx) == nil })
	t.Logf("took writes %v after there was room", took.Round(time.Millisecond))
	if lost := missing(t, after.js, before.acked, after.acked); lost != 0 {
		t.Errorf("%d acknowledged messages are lost", lost)
	}
}

// missing counts the acknowledged messages that the stream does not hold.
func missing(t *testing.T, js jetstream.JetStream, writers ...[]int) int {
	t.Helper()
	stream, err := js.Stream(t.Context(), "X")
	if err != nil {
		t.Fatal(err)
	}
	stored := map[string]int{}
	state := stream.CachedInfo().State
	for seq := state.FirstSeq; seq <= state.LastSeq; seq++ {
		m, err := stream.GetMsg(t.Context(), seq)
		if err != nil {
			t.Errorf("message %d: %v", seq, err)
			continue
		}
		n, _, _ := strings.Cut(string(m.Data), " ")
		stored[n]++
	}
	lost := 0
	for _, acked := range writers {
		for _, n := range acked {
			if key := fmt.Sprint(n); stored[key] > 0 {
				stored[key]--
			} else {
				lost++
			}
		}
	}
	return lost
}

// gauge reads a metric without labels.
func gauge(t *testing.T, registry *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue() + f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// TestWatchTells what the broker is, for those who cannot see its settings.
func TestWatchTells(t *testing.T) {
	for sync, want := range map[Sync]string{"": "always", SyncAlways: "always", SyncInterval: "interval"} {
		o := options(t, t.TempDir())
		o.Sync = sync
		s := start(t, o)
		stop := watching(t, s)
		js, err := jetstream.New(connect(t, s))
		if err != nil {
			t.Fatal(err)
		}
		var info *jetstream.StreamInfo
		await(t, "message", func() bool {
			stream, err := js.Stream(t.Context(), events.StreamBroker)
			if err != nil {
				return false
			}
			info = stream.CachedInfo()
			return info.State.Msgs == 1
		})
		if got := info.Config.Metadata[events.BrokerSyncKey]; got != want {
			t.Errorf("sync %q is told as %q, want %q", sync, got, want)
		}
		stop()
		s.Stop()
	}
}

// TestNoRestartAfterStop: a server that was stopped stays so.
func TestNoRestartAfterStop(t *testing.T) {
	o := options(t, t.TempDir())
	s := start(t, o)
	s.Stop()
	if err := s.restart(); err != nil {
		t.Fatal(err)
	}
	if s.current.Load().Running() {
		t.Error("it runs again")
	}
	start(t, o).Stop()
}
