// Package natsd is reelay's embedded NATS server: JetStream on a file store, every acknowledged write synced to disk
// unless told otherwise. It is for development and for single-machine use; in production the services are pointed at a
// NATS cluster of the user's own.
//
// Whoever may publish may spend money. So a broker whose tasks cost money asks for a key, which is kept beside its store,
// and beyond loopback one without key or TLS does not start.
//
// nats-server takes no lock on its store directory, and two servers on one store destroy it; so Start takes one.
//
// A stream of nats-server 2.15 whose write has failed once, as on a full disk, refuses every later write until the
// server is started again, also when there is room by then. Watch does that.
package natsd

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/prometheus/client_golang/prometheus"

	"reelay/internal/address"
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

// MaxPayloadBytes is the largest message the embedded server takes: a refusal of an oversized request must be able to
// see it.
const MaxPayloadBytes = 8 << 20

// ErrExposed says that others than this machine would reach a broker that lets everybody in, or by plain connections.
var ErrExposed = errors.New("others than this machine reach the address")

// readyWait bounds the start, which rebuilds the state of the store.
const readyWait = time.Minute

const (
	// maxClients bounds how many clients Halt cuts off, cutWait is what their last requests get; they reconnect later than
	// that.
	maxClients = 1024
	cutWait    = 10 * time.Millisecond
)

// Options configure a server.
type Options struct {
	// StoreDir is created with mode 0700 if need be.
	StoreDir string
	// Listen is the client address, host:port. Empty: no listener, connections are made in process only.
	Listen string
	// Sync defaults to SyncAlways.
	Sync Sync
	// KeyFile has the seed of the nkey that everybody must prove to have; empty for a broker that asks nobody who it is. It
	// is read again at each start of the server.
	KeyFile string
	// TLS is how clients of other processes are served; nil for plain connections.
	TLS *tls.Config
	// Config is a file with the accounts and users of a nats-server configuration, in place of KeyFile. What it says of the
	// listener, the store and syncing is overruled by the other options.
	Config string
	Log    *slog.Logger
	// Registerer takes the metrics of Watch; nil for none.
	Registerer prometheus.Registerer
}

// A Server is a running embedded server.
type Server struct {
	o       Options
	url     string
	lock    *flock.Flock
	metrics metrics
	pace    pace

	current atomic.Pointer[server.Server]
	mu      sync.Mutex // held while the server is stopped or replaced
	stopped bool
}

// Start starts a server and returns when it takes connections. It fails with ErrLocked if another process has the
// store.
func Start(o Options) (*Server, error) {
	if err := os.MkdirAll(o.StoreDir, 0o700); err != nil {
		return nil, fmt.Errorf("store directory: %w", err)
	}
	lock := flock.New(filepath.Join(o.StoreDir, "reelay.lock"))
	if ok, err := lock.TryLock(); err != nil {
		return nil, fmt.Errorf("lock of the store directory: %w", err)
	} else if !ok {
		return nil, fmt.Errorf("%w: %s", ErrLocked, o.StoreDir)
	}
	s := &Server{o: o, lock: lock, pace: usualPace}
	if err := s.start(); err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	s.metrics = newMetrics(o.Registerer)
	s.registerTraffic(o.Registerer)
	if a, ok := s.current.Load().Addr().(*net.TCPAddr); ok {
		host, _, _ := net.SplitHostPort(o.Listen)
		s.o.Listen = net.JoinHostPort(host, strconv.Itoa(a.Port)) // a restart must take the port again that was picked
		s.url = s.o.localURL(a)
	}
	return s, nil
}

// start starts a server on the store and makes it the current one.
func (s *Server) start() error {
	opts, err := s.o.server()
	if err != nil {
		return err
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		return fmt.Errorf("nats server: %w", err)
	}
	fatal := make(chan string, 1)
	srv.SetLoggerV2(slogLogger{s.o.Log, fatal}, false, false, false)
	srv.Start()
	select {
	case text := <-fatal:
		shutdown(srv)
		return fmt.Errorf("nats server: %s", text)
	default:
	}
	switch {
	case !srv.ReadyForConnections(readyWait):
		err = fmt.Errorf("nats server: not ready within %v; is %s in use?", readyWait, s.o.Listen)
	case !srv.JetStreamEnabled():
		err = fmt.Errorf("nats server: JetStream did not start on %s", s.o.StoreDir)
	default:
		s.current.Store(srv)
		return nil
	}
	shutdown(srv)
	return err
}

// server returns the options in nats-server's terms.
func (o Options) server() (*server.Options, error) {
	opts := &server.Options{}
	if o.Config != "" {
		var err error
		if opts, err = server.ProcessConfigFile(o.Config); err != nil {
			return nil, fmt.Errorf("broker configuration: %w", err)
		}
	}
	opts.ServerName, opts.JetStream, opts.StoreDir, opts.SyncAlways = "reelay", true, o.StoreDir, o.Sync != SyncInterval
	opts.NoSigs, opts.MaxPayload, opts.DontListen = true, MaxPayloadBytes, o.Listen == ""
	opts.AlwaysEnableNonce = true // without it, clients that have a key could not connect to a broker that asks for none
	if o.KeyFile != "" {
		key, err := publicKey(o.KeyFile)
		if err != nil {
			return nil, err
		}
		opts.Nkeys = []*server.NkeyUser{{Nkey: key}}
	}
	if o.TLS != nil {
		opts.TLSConfig = o.TLS
	}
	if o.Listen == "" {
		return opts, nil
	}
	host, port, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen address %q: %w", o.Listen, err)
	}
	if !address.IsLoopback(host) && (opts.TLSConfig == nil || o.KeyFile == "" && o.Config == "") {
		return nil, fmt.Errorf("listen address %q: %w: the broker needs TLS there (--broker-tls-cert, --broker-tls-key), "+
			"and is no sandbox", o.Listen, ErrExposed)
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
	return opts, nil
}

// publicKey reads the public key of a seed.
func publicKey(file string) (string, error) {
	seed, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("key of the broker: %w", err)
	}
	pair, err := nkeys.FromSeed(bytes.TrimSpace(seed))
	if err != nil {
		return "", fmt.Errorf("key of the broker in %s: %w", file, err)
	}
	defer pair.Wipe()
	return pair.PublicKey()
}

// localURL is how this machine reaches the server.
func (o Options) localURL(a *net.TCPAddr) string {
	scheme, at := "nats://", *a
	if o.TLS != nil {
		scheme = "tls://"
	}
	if a.IP.IsUnspecified() {
		at.IP = net.IPv4(127, 0, 0, 1)
	}
	return scheme + at.String()
}

func shutdown(srv *server.Server) {
	srv.Shutdown()
	srv.WaitForShutdown()
}

// URL is where clients of other processes connect; empty without a listener.
func (s *Server) URL() string { return s.url }

// InProcessConn connects to the server that is current now, so that connections find the next one after a restart. It
// is for nats.InProcessServer.
func (s *Server) InProcessConn() (net.Conn, error) { return s.current.Load().InProcessConn() }

// Connect connects in process, with the key if there is one.
func (s *Server) Connect(name string, opts ...nats.Option) (*nats.Conn, error) {
	usual := []nats.Option{
		nats.InProcessServer(s), nats.Name(name), nats.MaxReconnects(-1), nats.ReconnectWait(100 * time.Millisecond),
	}
	if s.o.KeyFile != "" {
		key, err := nats.NkeyOptionFromSeed(s.o.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("key of the broker: %w", err)
		}
		usual = append(usual, key)
	}
	return nats.Connect("", append(usual, opts...)...)
}

// restart starts a new server on the store and the address of the current one, which is stopped first. After an error
// there is none, and restart may be called again.
func (s *Server) restart() error {
	s.Halt()
	return s.Resume()
}

// Halt stops the server for a while, as an outage does. The store stays locked. Clients are cut off first: nats-server
// 2.15 holds a lock for 50 ms while it tells them that it stops, and in a synctest bubble nobody may wait for that.
func (s *Server) Halt() {
	srv := s.current.Load()
	if clients, err := srv.Connz(&server.ConnzOptions{Limit: maxClients}); err == nil {
		for _, c := range clients.Conns {
			_ = srv.DisconnectClientByID(c.Cid) // it may have gone by itself
		}
		time.Sleep(cutWait)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	shutdown(srv)
}

// Resume starts a new server after Halt, on the same store and address; connections find it by themselves. After Stop
// it does nothing. After an error there is no server, and Resume may be called again.
func (s *Server) Resume() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return nil
	}
	return s.start()
}

// Stop stops the server and lets go of the store. Clients should be drained before.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return
	}
	s.stopped = true
	shutdown(s.current.Load())
	_ = s.lock.Unlock() // the process's end would do the same
}

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	<-ctx.Done()
	s.Stop()
	return nil
}

// slogLogger hands the server's log to slog: what a user of reelay has to act on at its own level, notices as debug.
type slogLogger struct {
	log *slog.Logger
	// fatal takes the first reason why the server cannot work.
	fatal chan<- string
}

func (l slogLogger) Noticef(f string, v ...any) {
	l.log.Debug("the broker reports", "text", fmt.Sprintf(f, v...))
}

func (l slogLogger) Warnf(f string, v ...any) {
	l.log.Warn("the broker warns", "text", fmt.Sprintf(f, v...))
}

func (l slogLogger) Fatalf(f string, v ...any) {
	text := fmt.Sprintf(f, v...)
	l.log.Error("the broker cannot go on", "text", text)
	select {
	case l.fatal <- text:
	default:
	}
}

func (l slogLogger) Errorf(f string, v ...any) {
	l.log.Error("the broker reports an error", "text", fmt.Sprintf(f, v...))
}
func (l slogLogger) Debugf(f string, v ...any) {}
func (l slogLogger) Tracef(f string, v ...any) {}
