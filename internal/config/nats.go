package config

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"reelay/events"
	"reelay/internal/accounts"
	"reelay/internal/bus"
	"reelay/internal/proc"

	"github.com/nats-io/nats.go"
	"github.com/synadia-io/orbit.go/natscontext"
)

// DefaultServer is used when neither a server nor a context is given: where `reelay up` listens.
const DefaultServer = "nats://127.0.0.1:4222"

// connectOnceTimeout bounds ConnectOnce over all servers.
const connectOnceTimeout = 5 * time.Second

// minReconnectWait and maxReconnectWait bound the growing pause between two tries to connect. A broker that refuses the
// credentials may do so for a moment only, while they are being changed.
const (
	minReconnectWait = 250 * time.Millisecond
	maxReconnectWait = 10 * time.Second
)

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
	NKey    string `name:"nkey" help:"File with the seed of a NATS user's nkey." env:"NATS_NKEY" placeholder:"FILE"`
	Cert    string `name:"tlscert" help:"TLS client certificate, PEM." env:"NATS_CERT" placeholder:"FILE"`
	Key     string `name:"tlskey" help:"Private key of that certificate, PEM." env:"NATS_KEY" placeholder:"FILE"`
	CA      string `name:"tlsca" help:"Certificates of those who may sign the server's, PEM." env:"NATS_CA" placeholder:"FILE"`

	InboxPrefix string `help:"Prefix of the subjects for answers." env:"NATS_INBOX_PREFIX" placeholder:"SUBJECT"`
	JSDomain    string `name:"js-domain" help:"JetStream domain." env:"NATS_JS_DOMAIN" placeholder:"NAME"`
	JSAPIPrefix string `name:"js-api-prefix" help:"Prefix of JetStream's API in this account." env:"NATS_JS_API_PREFIX" placeholder:"SUBJECT"`
}

// A Conn is a connection, and where the JetStream is that its flags and its context name.
type Conn struct {
	*nats.Conn
	// APIPrefix is that of JetStream's API; empty for the usual one.
	APIPrefix string
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
func (n NATS) Connect(name string, log *slog.Logger) (Conn, error) {
	return n.connect(append(reports(log), nats.Name(name), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1)))
}

// Open is Connect for a service that p runs. The connection is drained when p stops, and p fails if it is closed for
// good before: a process without one would look alive and do nothing. p is not ready while the connection is lost, or
// lacks a permission.
func (n NATS) Open(p *proc.Process, name string, log *slog.Logger) (Conn, error) {
	var denied denials
	nc, err := n.connect(append(denied.watch(reports(log)), nats.Name(name), nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1)))
	if err != nil {
		return nc, err
	}
	p.Defer("connection", func() error { return bus.Drain(nc.Conn) })
	closed := nc.StatusChanged(nats.CLOSED)
	p.Go("connection to NATS", func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return nil
		case <-closed:
			return errors.Join(nats.ErrConnectionClosed, nc.LastError())
		}
	}, nil)
	p.Check("NATS", func() error {
		if !nc.IsConnected() {
			return nats.ErrDisconnected
		}
		return denied.check(time.Now())
	})
	p.Probe("NATS answers", nc.FlushWithContext)
	return nc, nil
}

// leaveAfter is how long a server may be without JetStream's leaders before another one is tried: one that has lost its
// cluster answers pings all the same.
const leaveAfter = 15 * time.Second

// OpenBus is Open, and waits until the streams are there or ctx ends. world is that of the process's lanes, empty where it
// has none. p is not ready while the bus could not do its work
// (see bus.Check).
func (n NATS) OpenBus(ctx context.Context, p *proc.Process, name string, settings Pipeline, world events.World,
	log *slog.Logger,
) (*bus.Bus, error) {
	maxBytes, err := settings.StreamBounds()
	if err != nil {
		return nil, err
	}
	nc, err := n.Open(p, name, log)
	if err != nil {
		return nil, err
	}
	b, err := bus.OpenRetrying(ctx, nc.Conn, bus.Options{
		APIPrefix: nc.APIPrefix, Replicas: settings.Replicas, MaxBytes: maxBytes, World: world, JoinWorld: settings.JoinWorld,
		Log: log, Registerer: p.Registerer(name),
	})
	if err != nil {
		return nil, err
	}
	worked := time.Now()
	p.Probe("streams", func(ctx context.Context) error {
		err := b.Check(ctx)
		switch {
		case err == nil || !errors.Is(err, context.DeadlineExceeded) || !nc.IsConnected():
			worked = time.Now()
		case time.Since(worked) > leaveAfter && len(nc.Servers()) > 1:
			log.Warn("the NATS server has lost JetStream's leaders; another one is tried", "error", err)
			worked = time.Now()
			return errors.Join(err, nc.ForceReconnect())
		}
		return err
	})
	return b, nil
}

// ConnectOnce connects a client command. When no server lets it in within 5 s it fails with ErrUnreachable, naming the
// servers without user and password. Once connected, it reconnects for ever.
func (n NATS) ConnectOnce(name string, log *slog.Logger) (Conn, error) {
	// A server may take the timeout twice: to accept, and to greet.
	perServer := connectOnceTimeout / time.Duration(2*max(1, len(n.servers())))
	nc, err := n.connect(append(reports(log), nats.Name(name), nats.Timeout(perServer), nats.MaxReconnects(-1)))
	var setting *SettingError
	if err == nil || errors.As(err, &setting) {
		return nc, err
	}
	hint := "is `reelay up` running?"
	if errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) {
		hint = "are --creds, --nkey or --context right?"
	}
	return nc, fmt.Errorf("%w at %s: %w; %s", ErrUnreachable, n.describe(), err, hint)
}

func (n NATS) connect(options []nats.Option) (Conn, error) {
	own, err := n.credentials()
	if err != nil {
		return Conn{}, err
	}
	options = append(slices.Concat(options, own), nats.PingInterval(pingInterval), nats.MaxPingsOutstanding(maxPings),
		nats.IgnoreAuthErrorAbort(), nats.CustomReconnectDelay(reconnectDelay))
	servers := n.servers()
	if n.Context == "" {
		if len(servers) == 0 {
			servers = []string{DefaultServer}
		}
		nc, err := n.dial(strings.Join(servers, ","), options)
		return n.conn(nc, natscontext.Settings{}), err
	}
	if len(servers) > 0 {
		// As with the nats CLI, a server beside a context replaces the context's own.
		options = append(options, func(o *nats.Options) error { o.Servers = servers; return nil })
	}
	// The context is read before anything is dialled, so an error that no option has seen is about the context.
	read := false
	options = append(options, func(o *nats.Options) error {
		read = true
		for _, raw := range o.Servers {
			if err := checkServer(raw); err != nil {
				return wrong("--context", "NATS_CONTEXT", fmt.Errorf("its URL is %w", err))
			}
		}
		return nil
	})
	nc, settings, err := natscontext.Connect(n.Context, options...)
	if err != nil && !read {
		return Conn{}, wrong("--context", "NATS_CONTEXT", err)
	}
	if err != nil {
		return n.conn(nc, settings), err
	}
	for _, file := range []string{settings.NKey, settings.Creds, settings.Key} {
		if info, statErr := os.Stat(file); statErr == nil {
			err = errors.Join(err, secretFile(info, file))
		}
	}
	if err != nil {
		nc.Close()
		return Conn{}, wrong("--context", "NATS_CONTEXT", err)
	}
	return n.conn(nc, settings), nil
}

// secretFile refuses a key that everybody on the machine can read. A group may: Kubernetes makes all files of a volume
// readable by one.
func secretFile(info os.FileInfo, path string) error {
	if info.Mode().Perm()&0o007 == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s; make a new key if they may have, else: chmod 600 %[2]s (a volume of "+
		"Kubernetes: defaultMode 0440)", accounts.ErrReadable, path)
}

// dial connects to servers. Where a key was found by their URL alone, and the server asks for none, it is another one by
// now: then without the key.
func (n NATS) dial(servers string, options []nats.Option) (*nats.Conn, error) {
	if _, found := n.local(); !found {
		return nats.Connect(servers, options...)
	}
	nc, err := nats.Connect(servers, append(slices.Clone(options), nats.RetryOnFailedConnect(false))...)
	var o nats.Options
	for _, set := range options {
		if setErr := set(&o); setErr != nil {
			return nil, setErr
		}
	}
	switch {
	case errors.Is(err, nats.ErrNkeysNotSupported) || errors.Is(err, nats.ErrSecureConnWanted):
		return nats.Connect(servers, append(slices.Clone(options), func(o *nats.Options) error {
			o.Nkey, o.SignatureCB = "", nil
			o.RootCAsCB, o.Secure, o.TLSConfig = nil, false, nil
			return nil
		})...)
	case err != nil && o.RetryOnFailedConnect:
		return nats.Connect(servers, options...)
	}
	return nc, err
}

// credentials returns the options of the flags. Its error is a SettingError.
func (n NATS) credentials() (options []nats.Option, err error) {
	if n.JSDomain != "" && n.JSAPIPrefix != "" {
		return nil, wrong("--js-domain", "NATS_JS_DOMAIN",
			errors.New("use it or --js-api-prefix (NATS_JS_API_PREFIX), not both"))
	}
	if (n.Cert == "") != (n.Key == "") {
		return nil, wrong("--tlscert", "NATS_CERT", errors.New("it and --tlskey (NATS_KEY) belong together"))
	}
	for _, file := range []struct{ path, flag, env string }{
		{n.Creds, "--creds", "NATS_CREDS"},
		{n.NKey, "--nkey", "NATS_NKEY"},
		{n.Cert, "--tlscert", "NATS_CERT"},
		{n.Key, "--tlskey", "NATS_KEY"},
		{n.CA, "--tlsca", "NATS_CA"},
	} {
		if file.path == "" {
			continue
		}
		info, err := os.Stat(file.path)
		if err == nil && slices.Contains([]string{n.Creds, n.NKey, n.Key}, file.path) {
			err = secretFile(info, file.path)
		}
		if err != nil {
			return nil, wrong(file.flag, file.env, err)
		}
	}
	if n.Creds != "" {
		options = append(options, nats.UserCredentials(n.Creds))
	}
	if own, ok := n.local(); ok {
		n.NKey, n.CA = own.NKey, cmp.Or(n.CA, own.CA)
	}
	if n.NKey != "" {
		nkey, err := nats.NkeyOptionFromSeed(n.NKey)
		if err != nil {
			return nil, wrong("--nkey", "NATS_NKEY", err)
		}
		options = append(options, nkey)
	}
	if n.Cert != "" {
		options = append(options, nats.ClientCert(n.Cert, n.Key))
	}
	if n.CA != "" {
		options = append(options, nats.RootCAs(n.CA))
	}
	if n.InboxPrefix != "" {
		options = append(options, nats.CustomInboxPrefix(n.InboxPrefix))
	}
	return options, nil
}

// local returns the context that an embedded broker of this machine has saved, where nothing says who we are.
func (n NATS) local() (accounts.Context, bool) {
	if n.Context != "" || n.Creds != "" || n.NKey != "" {
		return accounts.Context{}, false
	}
	for _, server := range append(n.servers(), DefaultServer)[:max(1, len(n.servers()))] {
		if c, ok := accounts.FindContext(server); ok {
			return c, true
		}
	}
	return accounts.Context{}, false
}

// conn says where the JetStream of a connection is: by the flags, else by the context.
func (n NATS) conn(nc *nats.Conn, s natscontext.Settings) Conn {
	c := Conn{Conn: nc, APIPrefix: cmp.Or(n.JSAPIPrefix, s.JSAPIPrefix)}
	if domain := cmp.Or(n.JSDomain, s.JSDomain); domain != "" && n.JSAPIPrefix == "" {
		c.APIPrefix = "$JS." + domain + ".API"
	}
	return c
}

// reconnectDelay returns the pause after all servers were tried in vain the given number of times in a row, with a
// share of chance, so that many processes do not come back in one moment.
func reconnectDelay(attempts int) time.Duration {
	wait := min(minReconnectWait<<min(attempts, 10), maxReconnectWait)
	return wait - rand.N(wait/2)
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
	if err != nil || u.Hostname() == "" || strings.Contains(behindHost(u), "@") {
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

// behindHost is what follows the host of a URL. A password with / ? or # in it is there, in part.
func behindHost(u *url.URL) string { return u.Path + u.RawQuery + u.Fragment }

// redact returns a server URL without its user, which may be a token.
func redact(raw string) string {
	u, err := parseServer(raw)
	if err != nil || strings.Contains(behindHost(u), "@") {
		return "[unreadable URL]"
	}
	if u.User != nil {
		u.User = url.User("redacted")
	}
	return u.String()
}

// denials are the permissions that a connection was found to lack.
type denials struct {
	mu   sync.Mutex
	last error
	at   time.Time
	// forGood is set where it was a subscription, which is not tried again before the connection is made anew.
	forGood bool
}

// deniedFresh is how long a denied publish counts.
const deniedFresh = 30 * time.Second

// watch has the options of a connection tell d as well.
func (d *denials) watch(options []nats.Option) []nats.Option {
	return append(options, func(o *nats.Options) error {
		hear, again := o.AsyncErrorCB, o.ReconnectedCB
		o.AsyncErrorCB = func(nc *nats.Conn, sub *nats.Subscription, err error) {
			hear(nc, sub, err)
			if errors.Is(err, nats.ErrPermissionViolation) {
				d.note(err, strings.Contains(strings.ToLower(err.Error()), "permissions violation for subscription"))
			}
		}
		o.ReconnectedCB = func(nc *nats.Conn) {
			again(nc)
			d.note(nil, false)
		}
		return nil
	})
}

func (d *denials) note(err error, forGood bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil && d.forGood {
		return
	}
	d.last, d.at, d.forGood = err, time.Now(), forGood
}

func (d *denials) check(now time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.forGood || now.Sub(d.at) < deniedFresh {
		return d.last
	}
	return nil
}

const refusedText = "NATS does not let this process in; it goes on trying"

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
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) {
			if advice := connectAdvice(err); advice != "" {
				log.Error(refusedText, "error", err, "advice", advice)
				return
			}
			log.Debug("no NATS server could be reached yet", "error", err)
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			attrs := []any{"error", err}
			if sub != nil {
				attrs = append(attrs, "subject", sub.Subject)
			}
			switch advice := connectAdvice(err); {
			case advice != "": // refused credentials are reported here, and failed handshakes above
				log.Error(refusedText, "error", err, "advice", advice)
			case errors.Is(err, nats.ErrPermissionViolation):
				log.Error("the NATS user lacks a permission that this process needs", attrs...)
			default:
				log.Warn("NATS reported an error", attrs...)
			}
		}),
	}
}

// connectAdvice says what a person can do about a failure to connect that waiting does not mend; empty for any other.
func connectAdvice(err error) string {
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked),
		errors.Is(err, nats.ErrAccountAuthExpired):
		return "check the user and password of --server, --creds, --nkey or --context; the key of a broker of this machine " +
			"is found by a process that starts after the broker has first"
	case errors.Is(err, nats.ErrNkeysNotSupported):
		return "the server asks for no key; if it is not the broker of reelay any more: nats context rm " +
			accounts.LiveContext + " (or " + accounts.BrokerContext + ")"
	case errors.As(err, &certificate):
		return "the server's certificate is not accepted: see its dates, its names and who signed it"
	case errors.Is(err, nats.ErrSecureConnRequired), errors.Is(err, nats.ErrSecureConnWanted):
		return "server and client disagree about TLS: see the scheme of --server and the context's ca, cert and key"
	}
	return ""
}
