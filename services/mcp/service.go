package mcp

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"

	"golang.org/x/sync/errgroup"

	"reelay/events/client"
	"reelay/internal/access"
	"reelay/internal/approval"
	"reelay/internal/longhttp"
	"reelay/internal/mcpwire"
	"reelay/internal/secret"
	"reelay/internal/thumbnail"
)

// Options configure a Service.
type Options struct {
	Client *client.Client
	// Listener is where HTTP is served; nil for a service of stdio alone.
	Listener net.Listener
	// Tokens say who may use it over HTTP. Without them everybody is Local, which suits a loopback address.
	Tokens access.Tokens
	// Local is the principal of stdio, and of HTTP without tokens.
	Local access.Principal
	// ConfirmOver is the most, in US dollars, that an agent may spend with one call without a person's approval; 0 asks
	// only where a call's own limit is exceeded. ConfirmKey signs the questions, the same in all replicas; empty takes one
	// of this process.
	ConfirmOver float64
	ConfirmKey  secret.Value
	// SaveDir is where an agent may have files saved; empty for nowhere. It is for stdio alone.
	SaveDir string
	// Transport carries the calls for stored files; nil for TCP.
	Transport http.RoundTripper
	// FindThumbnailer finds what makes pictures small; nil for ffmpeg.
	FindThumbnailer func() (thumbnail.Tool, error)
	Version         string
	Log             *slog.Logger
}

// A Service serves agents.
type Service struct {
	o         Options
	hub       *hub
	endpoints map[string]endpoint
	server    *longhttp.Server
}

// New makes no call.
func New(o Options) *Service {
	s := &Service{o: o, hub: newHub(), endpoints: map[string]endpoint{}}
	principals := []access.Principal{o.Local}
	if o.Tokens != nil {
		principals = nil
		for _, p := range o.Tokens {
			principals = append(principals, p)
		}
	}
	signer, thumbnails := approval.NewSigner(o.ConfirmKey), thumbnail.New(o.Transport, o.FindThumbnailer)
	for _, p := range principals {
		if _, ok := s.endpoints[p.Name]; !ok {
			b := newBridge(p, o, s.hub, signer, thumbnails)
			s.endpoints[p.Name] = endpoint{b, mcpwire.NewHandler(b.server, o.Log)}
		}
	}
	s.server = &longhttp.Server{Listener: o.Listener, Handler: s.handler(), MaxConns: maxConns, Log: o.Log}
	return s
}

// Ready reports whether requests are served.
func (s *Service) Ready() bool { return s.server.Serving() }

// Run serves HTTP until ctx ends, and then closes every connection: a client asks again, and its task has gone on.
func (s *Service) Run(ctx context.Context) error {
	for _, e := range s.endpoints {
		defer mcpwire.CloseSessions(e.server)
	}
	return s.server.Run(ctx, func(ctx context.Context) error { return s.hub.run(ctx, s.o.Client, s.o.Log) })
}

// ServeStdio serves the one client behind in and out, as the local principal, until it hangs up or ctx ends.
func (s *Service) ServeStdio(ctx context.Context, in io.ReadCloser, out io.WriteCloser) error {
	ctx, cancel := context.WithCancel(ctx)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.hub.run(ctx, s.o.Client, s.o.Log) })
	g.Go(func() error {
		defer cancel()
		return mcpwire.ServeStdio(ctx, s.endpoints[s.o.Local.Name].server, in, out)
	})
	return g.Wait()
}
