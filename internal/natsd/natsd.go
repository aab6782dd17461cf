// Package natsd is reelay's embedded NATS server: JetStream on a file store, every acknowledged write synced to disk
// unless told otherwise. It is for development and for single-machine use; in production the services are pointed at a
// NATS cluster of the user's own.
//
// nats-server takes no lock on its store directory, and two servers on one store destroy it; so Start takes one.
package natsd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/gofrs/flock"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// ErrLocked says that another process uses the store directory.
var ErrLocked = errors.New("the store directory is in use by another process")

// Sync says when a write is on disk.
type Sync string

const (
	// SyncAlways acknowledges a write after it was synced: each record may stand for money. The default.
	SyncAlways Sync = "always"
	// SyncInterval syncs every two minutes: faster, and a power cut may forget acknowledged writes.
	SyncInterval Sync = "interval"
)

// MaxPayloadBytes is the largest message the embedded server takes: a refusal of an oversized request must be able to see it.
const MaxPayloadBytes = 8 << 20

// readyWait bounds the start, which rebuilds the state of the store.
const readyWait = time.Minute

// Options configure a server.
type Options struct {
	// StoreDir is created with mode 0700 if need be.
	StoreDir string
	// Listen is the client address, host:port. Empty: no listener, connections are made in process only.
	Listen string
	// Sync defaults to SyncAlways.
	Sync Sync
	Log  *slog.Logger
}

// A Server is a running embedded server.
type Server struct {
	srv  *server.Server
	lock *flock.Flock
}

// Start starts a server and returns when it takes connections. It fails with ErrLocked if another process has the store.
func Start(o Options) (*Server, error) {
	if err := os.MkdirAll(o.StoreDir, 0o700); err != nil {
		return nil, fmt.Errorf("store directory: %w", err)
	}
	opts := &server.Options{
		ServerName: "reelay", JetStream: true, StoreDir: o.StoreDir, SyncAlways: o.Sync != SyncInterval,
		NoSigs: true, MaxPayload: MaxPayloadBytes, DontListen: o.Listen == "",
	}
	if o.Listen != "" {
		host, port, err := net.SplitHostPort(o.Listen)
		if err != nil {
			return nil, fmt.Errorf("listen address %q: %w", o.Listen, err)
		}
		if opts.Port, err = strconv.Atoi(port); err != nil {
			return nil, fmt.Errorf("listen address %q: the port is not a number", o.Listen)
		}
		if opts.Port == 0 {
			opts.Port = server.RANDOM_PORT
		}
		opts.Host = host
		// nats-server only logs that an address is taken and goes on without it.
		probe, err := net.Listen("tcp", o.Listen)
		if err != nil {
			return nil, fmt.Errorf("listen address %q: %w", o.Listen, err)
		}
		if err := probe.Close(); err != nil {
			return nil, fmt.Errorf("listen address %q: %w", o.Listen, err)
		}
	}
	lock := flock.New(filepath.Join(o.StoreDir, "reelay.lock"))
	if ok, err := lock.TryLock(); err != nil {
		return nil, fmt.Errorf("lock of the store directory: %w", err)
	} else if !ok {
		return nil, fmt.Errorf("%w: %s", ErrLocked, o.StoreDir)
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("nats server: %w", err), lock.Unlock())
	}
	s := &Server{srv: srv, lock: lock}
	srv.SetLoggerV2(slogLogger{o.Log}, false, false, false)
	srv.Start()
	if !srv.ReadyForConnections(readyWait) {
		s.Stop()
		return nil, fmt.Errorf("nats server: not ready within %v; is %s in use?", readyWait, o.Listen)
	}
	if !srv.JetStreamEnabled() {
		s.Stop()
		return nil, fmt.Errorf("nats server: JetStream did not start on %s", o.StoreDir)
	}
	return s, nil
}

// URL is where clients of other processes connect; empty without a listener.
func (s *Server) URL() string {
	if a, ok := s.srv.Addr().(*net.TCPAddr); ok {
		return "nats://" + a.String()
	}
	return ""
}

// Connect connects in process.
func (s *Server) Connect(name string, opts ...nats.Option) (*nats.Conn, error) {
	return nats.Connect("", append([]nats.Option{
		nats.InProcessServer(s.srv), nats.Name(name), nats.MaxReconnects(-1), nats.ReconnectWait(100 * time.Millisecond),
	}, opts...)...)
}

// Stop stops the server and lets go of the store. Clients should be drained before.
func (s *Server) Stop() {
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
	_ = s.lock.Unlock() // the process's end would do the same
}

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	<-ctx.Done()
	s.Stop()
	return nil
}

// slogLogger hands the server's log to slog: what a user of reelay has to act on at its own level, notices as debug.
type slogLogger struct{ log *slog.Logger }

func (l slogLogger) Noticef(f string, v ...any) {
	l.log.Debug("nats server", "text", fmt.Sprintf(f, v...))
}

func (l slogLogger) Warnf(f string, v ...any) {
	l.log.Warn("nats server", "text", fmt.Sprintf(f, v...))
}

func (l slogLogger) Fatalf(f string, v ...any) {
	l.log.Error("nats server", "text", fmt.Sprintf(f, v...))
}

func (l slogLogger) Errorf(f string, v ...any) {
	l.log.Error("nats server", "text", fmt.Sprintf(f, v...))
}
func (l slogLogger) Debugf(f string, v ...any) {}
func (l slogLogger) Tracef(f string, v ...any) {}
