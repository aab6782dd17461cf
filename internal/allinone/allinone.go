// Package allinone is the whole of reelay in one process: broker, emulators in the sandbox, and every service, each
// with a connection of its own as if it were alone. It takes no signals and needs no sockets, so it also runs inside a
// synctest bubble.
package allinone

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"reelay/internal/bus"
	"reelay/internal/catalog"
	"reelay/internal/config"
	"reelay/internal/emulator"
	"reelay/internal/emulator/all"
	"reelay/internal/failpoint"
	"reelay/internal/lanes"
	"reelay/internal/natsd"
	"reelay/internal/paid"
	"reelay/internal/proc"
	"reelay/internal/provider"
	"reelay/internal/provider/registry"
	"reelay/internal/spend/price"
	"reelay/internal/storeguard"
	"reelay/internal/thumbnail"
	"reelay/internal/want"
	"reelay/services/media"
	"reelay/services/poller"
	"reelay/services/status"
	"reelay/services/submitter"
)

// The services, in the order in which they start.
const (
	Webhook   = "webhook"
	Status    = "status"
	Poller    = "poller"
	Submitter = "submitter"
	MCP       = "mcp"
	Console   = "console"
	Archiver  = "archiver"
	Media     = "media"
	Notifier  = "notifier"
)

// Services lists the services that always run, in the order in which they start. Webhook runs before them, Archiver,
// Media, Notifier, MCP and Console after them, if Options ask for them.
func Services() []string { return []string{Status, Poller, Submitter} }

// readyWait bounds the start of the whole stack.
const readyWait = time.Minute

// Options configure a Stack.
type Options struct {
	// StoreDir holds everything that is kept over a restart.
	StoreDir string
	// Listen is the broker's address; empty for connections in process only.
	Listen string
	Sync   natsd.Sync
	Guard  config.Guard
	// Providers with CallbackKeys ask for the webhook service, if they name a PublicURL as well or are the sandbox, whose
	// PublicURL is the service's own address.
	Providers config.Resolved
	Pipeline  config.Pipeline
	Webhook   config.Webhook
	// MCP asks for the MCP service; nil for none.
	MCP *config.MCP
	// Console asks for the console; nil for none.
	Console *config.Console
	// Notify asks for the notifier; nil for none.
	Notify *config.Notify
	// Artifacts asks for the archiver, and for the media service with its lane, if it names a store.
	Artifacts config.Artifacts
	// FindWorker finds what does the work of the media service; nil for ffmpeg.
	FindWorker func() (media.Worker, error)
	// FindThumbnailer finds what makes pictures small for agents; nil for ffmpeg.
	FindThumbnailer func() (thumbnail.Tool, error)
	// Speed is how long the emulators' jobs take; the zero Speed is emulator.SandboxSpeed.
	Speed emulator.Speed
	// LeaseTTL is the lifetime of a lane's lease; 0 for the usual one.
	LeaseTTL time.Duration
	// SandboxInterval is the time between two polls of an emulator; 0 for the usual half second.
	SandboxInterval time.Duration
	// ListenEmulator opens an emulator's listener; nil takes its usual loopback address, or any free one.
	ListenEmulator func(address string) (net.Listener, error)
	// ListenWebhook opens the webhook service's listener; nil takes TCP, in the sandbox any free port if that of Webhook
	// is taken.
	ListenWebhook func(address string) (net.Listener, error)
	// ListenMCP opens the MCP service's listener; nil takes TCP, in the sandbox any free port if that of MCP is taken.
	ListenMCP func(address string) (net.Listener, error)
	// ListenConsole opens the console's listener; nil takes TCP, any free port if that of Console is taken.
	ListenConsole func(address string) (net.Listener, error)
	// ListenArchiver opens the archiver's listener; nil takes TCP, in the sandbox any free port if its own is taken.
	ListenArchiver func(address string) (net.Listener, error)
	// Dial and Transport carry the calls to the providers, Transport those of the MCP service and the console for stored
	// files too; nil for TCP.
	Dial      paid.Dialer
	Transport http.RoundTripper
	// Callback makes the callback URLs of the submitters; nil for those of the webhook service.
	Callback submitter.Callback
	// WebhookTransport carries the emulators' webhooks to the webhook service, without which there are none; nil for TCP.
	// WebhookFaults befall them.
	WebhookTransport http.RoundTripper
	WebhookFaults    emulator.Faults
	// Faults gives each service its failpoints each time it starts, for simulations; nil for none.
	Faults func(service string) failpoint.Plan
	// BrokerKey and BrokerTLS are the broker's KeyFile and TLS; empty for a broker that lets everybody in, and for plain
	// connections.
	BrokerKey string
	BrokerTLS *tls.Config
	// BrokerConfig is the broker's Config, and Credentials are what a service connects with; nil for nothing.
	BrokerConfig string
	Credentials  func(service string) []nats.Option
	// WrapBroker stands between a service and the broker, for simulations; nil for nothing.
	WrapBroker func(service string, conn net.Conn) net.Conn
	Log        *slog.Logger
}

// A Stack is a running reelay.
type Stack struct {
	o       Options
	proc    *proc.Process
	broker  *natsd.Server
	ledgers map[string]*emulator.Ledger
	lanes   []provider.Lane
	running map[string]running
	mcpURL  string
	// consoleURL is where people open the console.
	consoleURL string
}

// running is a service under way.
type running struct {
	proc *proc.Process
	nc   *nats.Conn
}

// Start starts everything as parts of p and returns when it is ready.
func Start(ctx context.Context, p *proc.Process, o Options) (*Stack, error) {
	if o.Speed == (emulator.Speed{}) {
		o.Speed = emulator.SandboxSpeed()
	}
	s := &Stack{o: o, proc: p, ledgers: map[string]*emulator.Ledger{}, running: map[string]running{}}
	var err error
	s.broker, err = natsd.Start(natsd.Options{
		StoreDir: filepath.Join(o.StoreDir, "nats"), Listen: o.Listen, Sync: o.Sync, Config: o.BrokerConfig,
		KeyFile: o.BrokerKey, TLS: o.BrokerTLS, Log: o.Log, Registerer: p.Registerer("broker"),
	})
	if err != nil {
		return nil, err
	}
	p.Defer("broker", func() error { s.broker.Stop(); return nil })
	if o.Listen != "" { // without, it is a sandbox that ends with its process, or a simulation of hours
		p.Go("watchdog", s.broker.Watch, nil)
	}
	if o.Providers.Sandbox {
		if err := s.emulate(); err != nil {
			return nil, err
		}
	}
	s.lanes, err = lanes.Open(s.o.Providers, lanes.Options{
		PollInterval: o.Pipeline.PollInterval, SandboxInterval: o.SandboxInterval, Transport: o.Transport,
	})
	if err != nil {
		return nil, err
	}
	names := Services()
	if s.wantsWebhook() {
		names = append([]string{Webhook}, names...) // its address is part of what the submitter sends
	}
	if o.Artifacts.Store != "" {
		names = append(names, Archiver, Media)
	}
	if o.Notify != nil {
		names = append(names, Notifier)
	}
	if o.MCP != nil {
		names = append(names, MCP)
	}
	if o.Console != nil {
		names = append(names, Console)
	}
	for _, name := range names {
		if err := s.StartService(ctx, name); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, readyWait, errors.New("the services were not ready in time"))
	defer cancel()
	return s, p.AwaitReady(ctx)
}

// webhookScale makes seconds of the minutes after which webhooks are tried again.
const webhookScale = 0.01

// emulate starts an emulator of each provider and points the settings at them.
func (s *Stack) emulate() error {
	transport := s.o.WebhookTransport
	if !s.wantsWebhook() {
		transport = nil
	} else if transport == nil {
		// no proxy: the webhook service is on this machine
		t := &http.Transport{MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute}
		s.proc.Defer("webhook connections", func() error { t.CloseIdleConnections(); return nil })
		transport = t
	}
	started, err := all.Start(s.proc, registry.Names(), s.o.StoreDir, func(name string) (net.Listener, error) {
		return listen(s.o.ListenEmulator, registry.Find(name).Emulator, false)
	}, all.Options{
		Speed: s.o.Speed, Transport: transport, WebhookScale: webhookScale, WebhookFaults: s.o.WebhookFaults, Log: s.o.Log,
	})
	if err != nil {
		return err
	}
	set := maps.Clone(s.o.Providers.Settings)
	if set == nil {
		set = map[string]string{}
	}
	for _, e := range started {
		s.ledgers[e.Provider] = e.Ledger
		set[registry.Find(e.Provider).BaseURL().Flag] = e.URL
	}
	s.o.Providers.Settings = set
	return nil
}

// listen opens a listener on an address. If that is taken it fails where the address is fixed, and takes any free port
// where it is not. open, unless nil, has the last word.
func listen(open func(address string) (net.Listener, error), address string, fixed bool) (net.Listener, error) {
	if open != nil {
		return open(address)
	}
	l, err := net.Listen("tcp", address)
	if err == nil || fixed {
		return l, err
	}
	return net.Listen("tcp", "127.0.0.1:0")
}

// StartService starts one service with a connection of its own. It must not be running. A further replica is named with
// a suffix: poller-2.
func (s *Stack) StartService(ctx context.Context, name string) error {
	var faults failpoint.Plan
	if s.o.Faults != nil {
		faults = s.o.Faults(name)
	}
	p := s.proc.Child(name)
	nc, err := s.broker.Connect(name, s.through(name)...)
	if err != nil {
		return err
	}
	p.Defer("connection", func() error { return bus.Drain(nc) })
	kind, _, _ := strings.Cut(name, "-")
	switch kind {
	case Webhook:
		s.running[name] = running{p, nc}
		return s.startWebhook(p, nc, name)
	case MCP:
		s.running[name] = running{p, nc}
		return s.startMCP(p, nc, name)
	case Console:
		s.running[name] = running{p, nc}
		return s.startConsole(p, nc, name)
	}
	b, err := bus.Open(ctx, nc, bus.Options{
		Replicas: s.o.Pipeline.Replicas, World: s.o.Providers.World(), JoinWorld: s.o.Pipeline.JoinWorld, Log: s.o.Log,
		Registerer: p.Registerer(name), Faults: faults,
	})
	if err != nil {
		return err
	}
	s.running[name] = running{p, nc}
	if s.o.Listen != "" { // as the watchdog
		p.Probe("streams", b.Check)
	}
	prices, err := price.Load(s.o.Pipeline.Prices)
	if err != nil {
		return err
	}
	wants, err := want.NewPlanner(s.o.Pipeline.Default...)
	if err != nil {
		return err
	}
	switch kind {
	case Submitter:
		return submitter.Start(ctx, p, name, submitter.Setup{
			Options: submitter.Options{
				Bus: b, Lanes: s.lanesOver(b), Groups: s.o.Providers.Groups, Prices: prices, Wants: wants,
				Callback: s.callback(), Timeout: s.o.Pipeline.Timeout, Dial: s.o.Dial,
				LeaseTTL: s.o.LeaseTTL, MaxSends: s.o.Pipeline.MaxSends, Log: s.o.Log,
			},
			StoreDir: s.o.StoreDir, Guard: s.o.Guard, Sync: brokerSync(s.o.Sync), Faults: faults,
		})
	case Archiver:
		return s.startArchiver(ctx, p, b, name)
	case Media:
		return s.startMedia(p, b, name)
	case Notifier:
		return s.startNotifier(p, b, name)
	case Poller:
		return poller.Start(p, name, poller.Options{
			Bus: b, Lanes: s.lanesOver(b), MaxPolls: s.o.Pipeline.MaxPolls, Log: s.o.Log,
		})
	default:
		return status.Start(p, name, status.Options{
			Bus: b, Lanes: s.lanesOver(b), Catalog: catalog.Catalog{Wants: wants, Prices: prices, Groups: s.o.Providers.Groups}, Log: s.o.Log,
		})
	}
}

// through is how a service connects: with its Credentials, through WrapBroker.
func (s *Stack) through(service string) (options []nats.Option) {
	if s.o.Credentials != nil {
		options = s.o.Credentials(service)
	}
	if s.o.WrapBroker != nil {
		options = append(options, nats.InProcessServer(wrapped{s.broker, service, s.o.WrapBroker}))
	}
	return options
}

// wrapped is the broker as one service reaches it.
type wrapped struct {
	*natsd.Server
	service string
	wrap    func(string, net.Conn) net.Conn
}

func (w wrapped) InProcessConn() (net.Conn, error) {
	conn, err := w.Server.InProcessConn()
	if err != nil {
		return nil, err
	}
	return w.wrap(w.service, conn), nil
}

// brokerSync is how the embedded broker syncs, as the guard takes it.
func brokerSync(s natsd.Sync) storeguard.Sync {
	if s == natsd.SyncInterval {
		return storeguard.SyncInterval
	}
	return storeguard.SyncAlways
}

// StopService stops one service as its process would be stopped.
func (s *Stack) StopService(name string) error { return s.running[name].proc.Stop() }

// CrashService cuts one service off from the broker in the middle of whatever it does, and then ends it. What it had
// not written is lost, as if its process had been killed.
func (s *Stack) CrashService(name string) {
	s.running[name].nc.Close()
	_ = s.running[name].proc.Stop() // it has every right to complain
}

// HaltBroker stops the broker, and ResumeBroker starts it again on its store; the services find it by themselves.
func (s *Stack) HaltBroker() { s.broker.Halt() }

// ResumeBroker ends HaltBroker.
func (s *Stack) ResumeBroker() error { return s.broker.Resume() }

// URL is where other processes connect; empty without a listener.
func (s *Stack) URL() string { return s.broker.URL() }

// MCPURL is where agents connect; empty without the MCP service.
func (s *Stack) MCPURL() string { return s.mcpURL }

// ConsoleURL is where people open the console; empty without it.
func (s *Stack) ConsoleURL() string { return s.consoleURL }

// Connect connects a client in process.
func (s *Stack) Connect(name string, options ...nats.Option) (*nats.Conn, error) {
	return s.broker.Connect(name, options...)
}

// Lanes returns the lanes, opened.
func (s *Stack) Lanes() []provider.Lane { return s.lanes }

// Ledger returns the ledger of an emulator, nil outside the sandbox.
func (s *Stack) Ledger(provider string) *emulator.Ledger { return s.ledgers[provider] }
