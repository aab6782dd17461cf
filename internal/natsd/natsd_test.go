package natsd

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
)

// TestMain starts the one goroutine that nats-server keeps for the whole process before the leaks are counted.
func TestMain(m *testing.M) {
	ats.Register()
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent(), goleak.Cleanup(func(code int) { ats.Unregister(); os.Exit(code) }))
}

func options(tb testing.TB, dir string) Options {
	return Options{StoreDir: dir, Log: slog.New(slog.NewTextHandler(tb.Output(), nil))}
}

func start(tb testing.TB, o Options) *Server {
	tb.Helper()
	s, err := Start(o)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func connect(tb testing.TB, s *Server) *nats.Conn {
	tb.Helper()
	nc, err := s.Connect("test")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(nc.Close)
	return nc
}

// TestOneServerPerStore: the lock stands from Start to Stop, and after any failed start it is free.
func TestOneServerPerStore(t *testing.T) {
	dir := t.TempDir()
	first := start(t, options(t, dir))
	if _, err := Start(options(t, dir)); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Errorf("%v, want ErrLocked and the directory", err)
	}
	other := start(t, options(t, t.TempDir()))
	other.Stop()
	first.Stop()
	second := start(t, options(t, dir))
	second.Stop()
}

// TestStartFails at once and says why; the store is free afterwards.
func TestStartFails(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	badStore := t.TempDir()
	if err := os.WriteFile(filepath.Join(badStore, "jetstream"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	free := t.TempDir()
	rows := []struct {
		name, dir, listen string
		is                error
		want              string
	}{
		{"address taken", free, taken.Addr().String(), syscall.EADDRINUSE, taken.Addr().String()},
		{"no port", free, "127.0.0.1", nil, "listen address"},
		{"port in words", free, "127.0.0.1:nats", nil, "not a number"},
		{"beyond this machine", free, "192.0.2.1:4222", ErrExposed, "192.0.2.1"},
		{"every address", free, "0.0.0.0:0", ErrExposed, "--broker-tls-cert"},
		{"every address, unsaid", free, ":0", ErrExposed, "--broker-tls-cert"},
		{"the directory is a file", file, "", syscall.ENOTDIR, "store directory"},
		{"the store is no store", badStore, "", nil, "storage directory is not a directory"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			o := options(t, row.dir)
			o.Listen = row.listen
			begin := time.Now()
			s, err := Start(o)
			if err == nil {
				s.Stop()
				t.Fatal("started")
			}
			if row.is != nil && !errors.Is(err, row.is) || !strings.Contains(err.Error(), row.want) {
				t.Errorf("%v, want %v and %q", err, row.is, row.want)
			}
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("it took %v to say so", took)
			}
		})
	}
	start(t, options(t, free)).Stop()
	if err := os.Remove(filepath.Join(badStore, "jetstream")); err != nil {
		t.Fatal(err)
	}
	start(t, options(t, badStore)).Stop()
}

// TestRestart: what was acknowledged is there after a stop, in process and over TCP.
func TestRestart(t *testing.T) {
	o := options(t, t.TempDir())
	o.Listen = "127.0.0.1:0"
	for round := range 3 {
		s := start(t, o)
		remote, err := nats.Connect(s.URL())
		if err != nil {
			t.Fatal(err)
		}
		js, err := jetstream.New(remote)
		if err != nil {
			t.Fatal(err)
		}
		stream, err := js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{Name: "X", Subjects: []string{"x"}})
		if err != nil {
			t.Fatal(err)
		}
		if n := stream.CachedInfo().State.Msgs; n != uint64(round) {
			t.Errorf("round %d: %d messages", round, n)
		}
		local := connect(t, s)
		sub, err := local.SubscribeSync("x")
		if err != nil {
			t.Fatal(err)
		}
		if err := local.Flush(); err != nil {
			t.Fatal(err)
		}
		if _, err := js.Publish(t.Context(), "x", []byte("over TCP")); err != nil {
			t.Fatal(err)
		}
		if m, err := sub.NextMsg(10 * time.Second); err != nil || string(m.Data) != "over TCP" {
			t.Errorf("round %d: heard %v, %v in process", round, m, err)
		}
		local.Close()
		remote.Close()
		s.Stop()
		if _, err := net.Dial("tcp", strings.TrimPrefix(s.URL(), "nats://")); s.URL() != "" && err == nil {
			t.Errorf("round %d: still listening", round)
		}
	}
}

// TestNoListener: without an address nobody outside of the process gets in.
func TestNoListener(t *testing.T) {
	s := start(t, options(t, t.TempDir()))
	defer s.Stop()
	if s.URL() != "" {
		t.Errorf("it listens on %s", s.URL())
	}
	nc := connect(t, s)
	if !nc.IsConnected() || nc.MaxPayload() != MaxPayloadBytes {
		t.Errorf("connected %v, payload %d", nc.IsConnected(), nc.MaxPayload())
	}
}

// TestSync reads what JetStream was started with.
func TestSync(t *testing.T) {
	for sync, want := range map[Sync]bool{"": true, SyncAlways: true, SyncInterval: false} {
		o := options(t, t.TempDir())
		o.Sync = sync
		s := start(t, o)
		if got := s.current.Load().JetStreamConfig().SyncAlways; got != want {
			t.Errorf("sync %q: always %v, want %v", sync, got, want)
		}
		s.Stop()
	}
}

// TestStopTwice: the second does nothing; the store stays usable.
func TestStopTwice(t *testing.T) {
	o := options(t, t.TempDir())
	s := start(t, o)
	s.Stop()
	second := start(t, o)
	defer second.Stop()
	s.Stop()
	if _, err := Start(o); !errors.Is(err, ErrLocked) {
		t.Errorf("a late second stop has freed a lock that is not its own: %v", err)
	}
}

// TestStoreIsPrivate: prompts and provider ids are in it.
func TestStoreIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "store")
	s := start(t, options(t, dir))
	defer s.Stop()
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v", info.Mode())
	}
}
