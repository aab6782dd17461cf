package config

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"reelay/internal/bus"
	"reelay/internal/proc"

	"github.com/nats-io/nats.go"
	"github.com/synadia-io/orbit.go/natscontext"
)

// DefaultServer is used when neither a server nor a context is given: where `reelay up` listens.
const DefaultServer = "nats://127.0.0.1:4222"

// connectOnceTimeout bounds ConnectOnce over all servers.
const connectOnceTimeout = 5 * time.Second

// pingInterval and maxPings say how soon a server that has lost its power, or does not answer, is left for another one:
// nothing closes such a connection. nats.go's own are six minutes.
const (
	pingInterval = 5 * time.Second
	maxPings     = 2
)

// ErrUnreachable is matched by the errors of ConnectOnce: no NATS server let us in.
var ErrUnreachable = errors.New("cannot reach NATS")

// NATS is how a process finds its NATS servers. The variables are those of the nats CLI.
type NATS struct {
	Server  string `help:"NATS server URLs, comma separated (default ${nats_server})." env:"NATS_URL" placeholder:"URL"`
	Context string `help:"Context as stored by the nats CLI: its name, or the absolute path of its file." env:"NATS_CONTEXT" placeholder:"NAME"`
	Creds   string `help:"File with NATS user credentials." env:"NATS_CREDS" placeholder:"FILE"`
}

// Given reports whether the user has pointed at a NATS server in any way.
func (n NATS) Given() bool { return n.Server != "" || n.Context != "" || n.Creds != "" }

// Validate checks the server URLs. Its error is a SettingError, free of user and password.
func (n NATS) Validate() error {
	for _, raw := range n.servers() {
		if err := checkServer(raw); err != nil {
			return wrong("--server", "NATS_URL", err)
		}
	}
	return nil
}

// Connect connects a service. It returns at once: while no server is there the connection tries again for ever, and so
// it does whenever it is lost. The error is a SettingError. log hears of every loss and return, without user or
// password.
func (n NATS) Connect(name string, log *slog.Logger) (*nats.Conn, error) {
	return n.connect(append(reports(log), nats.Name(name), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1)))
}

// OpenBus connects a service that p runs, and waits until its streams are there or ctx ends. The connection is drained
// when p stops.
func (n NATS) OpenBus(ctx context.Context, p *proc.Process, name string, replicas int,
	log *slog.Logger,
) (*bus.Bus, error) {
	nc, err := n.Connect(name, log)
	if err != nil {
		return nil, err
	}
	p.Defer("connection", func() error { return bus.Drain(nc) })
	return bus.OpenRetrying(ctx, nc, bus.Options{Replicas: replicas, Log: log, Registerer: p.Registerer(name)})
}

// ConnectOnce connects a client command. When no server lets it in within 5 s it fails with ErrUnreachable, naming the
// servers without user and password. Once connected, it reconnects for ever.
func (n NATS) ConnectOnce(name string, log *slog.Logger) (*nats.Conn, error) {
	// A server may take the timeout twice: to accept, and to greet.
	perServer := connectOnceTimeout / time.Duration(2*max(1, len(n.servers())))
	nc, err := n.connect(append(reports(log), nats.Name(name), nats.Timeout(perServer), nats.MaxReconnects(-1)))
	var setting *SettingError
	if err == nil || errors.As(err, &setting) {
		return nc, err
	}
	hint := "is `reelay up` running?"
	if errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) {
		hint = "are --creds or --context right?"
	}
	return nil, fmt.Errorf("%w at %s: %w; %s", ErrUnreachable, n.describe(), err, hint)
}

func (n NATS) connect(options []nats.Option) (*nats.Conn, error) {
	if n.Creds != "" {
		if _, err := os.Stat(n.Creds); err != nil {
			return nil, wrong("--creds", "NATS_CREDS", err)
		}
		options = append(options, nats.UserCredentials(n.Creds))
	}
	options = append(options, nats.PingInterval(pingInterval), nats.MaxPingsOutstanding(maxPings))
	servers := n.servers()
	if n.Context == "" {
		if len(servers) == 0 {
			servers = []string{DefaultServer}
		}
		return nats.Connect(strings.Join(servers, ","), options...)
	}
	if len(servers) > 0 {
		// As with the nats CLI, a server beside a context replaces the context's own.
		options = append(options, func(o *nats.Options) error { o.Servers = servers; return nil })
	}
	// The context is read before anything is dialled, so an error that no option has seen is about the context.
	read := false
	options = append(options, func(*nats.Options) error { read = true; return nil })
	nc, _, err := natscontext.Connect(n.Context, options...)
	if err != nil && !read {
		return nil, wrong("--context", "NATS_CONTEXT", err)
	}
	return nc, err
}

// servers returns the URLs of Server.
func (n NATS) servers() []string {
	return slices.DeleteFunc(strings.Split(n.Server, ","), func(s string) bool { return strings.TrimSpace(s) == "" })
}

// describe names the servers for people.
func (n NATS) describe() string {
	if servers := n.servers(); len(servers) > 0 {
		for i, s := range servers {
			servers[i] = redact(s)
		}
		return strings.Join(servers, ", ")
	}
	if n.Context != "" {
		return "the servers of context " + n.Context
	}
	return DefaultServer
}

func checkServer(raw string) error {
	u, err := parseServer(raw)
	if err != nil || u.Hostname() == "" {
		return errors.New("not a NATS URL such as nats://host:4222") // the text may hold a password
	}
	if !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
		return fmt.Errorf("scheme %q is not nats, tls, ws or wss", u.Scheme)
	}
	return nil
}

func parseServer(raw string) (*url.URL, error) {
	raw = strings.TrimSpace(raw)
	if !strings.Contains(raw, "://") {
		raw = "nats://" + raw
	}
	return url.Parse(raw)
}

// redact returns a server URL without its user, which may be a token.
func redact(raw string) string {
	u, err := parseServer(raw)
	if err != nil {
		return "[unreadable URL]"
	}
	if u.User != nil {
		u.User = url.User("redacted")
	}
	return u.String()
}

// reports logs what happens to a connection.
func reports(log *slog.Logger) []nats.Option {
	at := func(nc *nats.Conn) slog.Attr { return slog.String("server", redact(nc.ConnectedUrl())) }
	return []nats.Option{
		nats.ConnectHandler(func(nc *nats.Conn) { log.Info("connected to NATS", at(nc)) }),
		nats.ReconnectHandler(func(nc *nats.Conn) { log.Info("connected to NATS again", at(nc)) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil { // nil is our own close
				log.Warn("lost the connection to NATS", "error", err)
			}
		}),
		nats.ClosedHandler(func(nc *nats.Conn) {
			if err := nc.LastError(); err != nil {
				log.Error("the connection to NATS is closed for good", "error", err)
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			attrs := []any{"error", err}
			if sub != nil {
				attrs = append(attrs, "subject", sub.Subject)
			}
			log.Warn("NATS reported an error", attrs...)
		}),
	}
}
