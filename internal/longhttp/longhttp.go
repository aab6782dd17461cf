// Package longhttp serves HTTP whose answers may last for hours: pages that are kept up to date, and streams of events.
package longhttp

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"
)

// maxHeader bounds, in bytes, the header of a request.
const maxHeader = 32 << 10

// A Server serves a handler, which sets deadlines of its own for what is read and written.
type Server struct {
	Listener net.Listener
	Handler  http.Handler
	// MaxConns bounds the connections of everybody; further ones wait.
	MaxConns int
	// Log hears at debug level of what clients do wrong.
	Log     *slog.Logger
	serving atomic.Bool
}

// Serving reports whether connections are taken.
func (s *Server) Serving() bool { return s.serving.Load() }

// Run serves until ctx ends, and then closes every connection: clients come back by themselves. feed runs beside it, until
// the serving ends; its error ends both. Run returns the first error of the two.
func (s *Server) Run(ctx context.Context, feed func(context.Context) error) error {
	server := &http.Server{
		// No WriteTimeout and no ReadTimeout: an answer is open for long.
		Handler: s.Handler, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return feed(ctx) })
	g.Go(func() error {
		defer cancel()
		defer context.AfterFunc(ctx, func() { _ = server.Close() })()
		s.serving.Store(true)
		defer s.serving.Store(false)
		if err := server.Serve(netutil.LimitListener(s.Listener, s.MaxConns)); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	return g.Wait()
}
