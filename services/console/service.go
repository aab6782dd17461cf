package console

import (
	"context"
	"log/slog"
	"net"
	"net/http"

	"reelay/events/client"
	"reelay/internal/longhttp"
)

const (
	// maxConns bounds the connections of everybody; further ones wait.
	maxConns = 1_000
	// maxForm bounds, in bytes, what a form sends.
	maxForm = 1 << 20
)

// Options configure a Service.
type Options struct {
	Client   *client.Client
	Listener net.Listener
	// Users may sign in. Without any, everybody who names the console by a loopback address may do everything.
	Users Users
	// Sandbox says that no money is spent.
	Sandbox bool
	// Transport fetches stored files from the archiver; nil for TCP.
	Transport http.RoundTripper
	Log       *slog.Logger
}

// A Service serves the console.
type Service struct {
	o      Options
	client *client.Client
	feed   *feed
	files  *http.Client
	server *longhttp.Server
}

// New makes no call.
func New(o Options) *Service {
	s := &Service{
		o: o, client: o.Client, feed: newFeed(), files: &http.Client{Transport: o.Transport, CheckRedirect: noRedirect},
	}
	s.server = &longhttp.Server{Listener: o.Listener, Handler: s.handler(), MaxConns: maxConns, Log: o.Log}
	return s
}

// Ready reports whether pages are served.
func (s *Service) Ready() bool { return s.server.Serving() }

// Run serves pages until ctx ends, and then closes every connection: browsers come back by themselves.
func (s *Service) Run(ctx context.Context) error {
	return s.server.Run(ctx, func(ctx context.Context) error { return s.feed.run(ctx, s.client, s.o.Log) })
}
