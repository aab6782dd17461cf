// Package allinone is the whole of reelay in one process: broker, emulators in the sandbox, and every service, each with a
// connection of its own as if it were alone. It takes no signals and needs no sockets, so it also runs inside a
// synctest bubble.
package allinone

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"reelay/internal/account"
	"reelay/internal/bus"
	"reelay/internal/config"
	"reelay/internal/emulator"
	emufal "reelay/internal/emulator/fal"
	emuminimax "reelay/internal/emulator/minimax"
	"reelay/internal/failpoint"
	"reelay/internal/journal"
	"reelay/internal/natsd"
	"reelay/internal/paid"
	"reelay/internal/proc"
	"reelay/internal/provider"
	"reelay/internal/spend/price"
	"reelay/internal/storeguard"
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
)

// Services lists the services that always run, in the order in which they start. Webhook runs before them if Options ask for it.
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
	Guard  storeguard.Settings
	// Providers with CallbackKeys ask for the webhook edge, if they name a PublicURL as well or are the sandbox, whose PublicURL is
	// the edge's own address.
	Providers config.Resolved
	Pipeline  config.Pipeline
	Edge      config.Edge
	// Pace is how long the emulators' jobs take; the zero Pace is emulator.SandboxPace.
	Pace emulator.Pace
	// LeaseTTL is the lifetime of a lane's lease; 0 for the usual one.
	LeaseTTL time.Duration
	// SandboxInterval is the time between two looks at an emulator; 0 for the usual half second.
	SandboxInterval time.Duration
	// ListenEmulator opens an emulator's listener; nil takes its usual loopback address, or any free one.
	ListenEmulator func(address string) (net.Listener, error)
	// ListenEdge opens the edge's listener; nil takes TCP, in the sandbox any free port if that of Edge is taken.
	ListenEdge func(address string) (net.Listener, error)
	// Dial and Transport carry the calls to the providers; nil for TCP.
	Dial      paid.Dialer
	Transport http.RoundTripper
	// Callback makes the callback URLs of the submitters; nil for those of the edge.
	Callback submitter.Callback
	// HookTransport carries the emulators' webhooks to the edge, without which there are none; nil for TCP. HookFaults befall them.
	HookTransport http.RoundTripper
	HookFaults    emulator.Faults
	// Faults gives each service its failpoints each time it starts, for simulations; nil for none.
	Faults func(service string) failpoint.Plan
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
}

// running is a service under way.
type running struct {
	proc *proc.Process
	nc   *nats.Conn
}

// Start starts everything as parts of p and returns when it is ready.
func Start(ctx context.Context, p *proc.Process, o Options) (*Stack, error) {
	if o.Pace == (emulator.Pace{}) {
		o.Pace = emulator.SandboxPace()
	}
	s := &Stack{o: o, proc: p, ledgers: map[string]*emulator.Ledger{}, running: map[string]running{}}
	var err error
	s.broker, err = natsd.Start(natsd.Options{
		StoreDir: filepath.Join(o.StoreDir, "nats"), Listen: o.Listen, Sync: o.Sync, Log: o.Log, Registerer: p.Registerer("broker"),
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
	s.lanes, err = account.Open(s.o.Providers, account.Options{
		Interval: o.Pipeline.PollInterval, SandboxInterval: o.SandboxInterval, Transport: o.Transport,
	})
	if err != nil {
		return nil, err
	}
	names := Services()
	if s.wantsEdge() {
		names = append([]string{Webhook}, names...) // its address is part of what the submitter sends
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

// hookScale makes seconds of the minutes after which fal's webhooks are tried again.
const hookScale = 0.01

// An emulated provider answers calls, and calls back while it runs.
type emulated interface {
	http.Handler
	Run(ctx context.Context) error
}

// emulate starts an emulator of each provider and points the settings at them.
func (s *Stack) emulate() error {
	hooks := s.o.HookTransport
	if !s.wantsEdge() {
		hooks = nil
	} else if hooks == nil {
		t := &http.Transport{MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute} // no proxy: the edge is on this machine
		s.proc.Defer("webhook connections", func() error { t.CloseIdleConnections(); return nil })
		hooks = t
	}
	for _, e := range []struct {
		name, address string
		url           *string
		open          func(*emulator.Ledger) emulated
	}{
		{account.Fal, config.FalEmulator, &s.o.Providers.FalURL, func(l *emulator.Ledger) emulated {
			return emufal.New(emufal.Options{
				Pace: s.o.Pace, Ledger: l, Log: s.o.Log, Transport: hooks, HookScale: hookScale, Faults: s.o.HookFaults,
			})
		}},
		{account.Minimax, config.MinimaxEmulator, &s.o.Providers.MinimaxURL, func(l *emulator.Ledger) emulated {
			return emuminimax.New(emuminimax.Options{Pace: s.o.Pace, Ledger: l, Log: s.o.Log, Transport: hooks, Faults: s.o.HookFaults})
		}},
	} {
		ledger, err := emulator.OpenLedger(filepath.Join(s.o.StoreDir, e.name+".ledger"))
		if err != nil {
			return err
		}
		s.proc.Defer(e.name+" ledger", ledger.Close)
		s.ledgers[e.name] = ledger
		l, err := listen(s.o.ListenEmulator, e.address)
		if err != nil {
			return fmt.Errorf("%s emulator: %w", e.name, err)
		}
		*e.url = "http://" + l.Addr().String()
		provider := e.open(ledger)
		s.proc.Go(e.name+" webhooks", provider.Run, nil)
		s.proc.Serve(e.name+" emulator", l, provider)
	}
	return nil
}

// listen opens a listener on an address, or on any free port if that is taken; open, unless nil, has the last word.
func listen(open func(address string) (net.Listener, error), address string) (net.Listener, error) {
	if open != nil {
		return open(address)
	}
	if l, err := net.Listen("tcp", address); err == nil {
		return l, nil
	}
	return net.Listen("tcp", "127.0.0.1:0")
}

// StartService starts one service with a connection of its own. It must not be running. A further replica is named with a
// suffix: poller-2.
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
	if kind == Webhook {
		s.running[name] = running{p, nc}
		return s.startEdge(p, nc, name)
	}
	b, err := bus.Open(ctx, nc, bus.Options{Replicas: s.o.Pipeline.Replicas, Log: s.o.Log, Registerer: p.Registerer(name), Faults: faults})
	if err != nil {
		return err
	}
	s.running[name] = running{p, nc}
	switch kind {
	case Submitter:
		prices, err := price.Load(s.o.Pipeline.Prices)
		if err != nil {
			return err
		}
		j, err := journal.Open(filepath.Join(s.o.StoreDir, "journal"), s.o.Log, faults)
		if err != nil {
			return err
		}
		p.Defer("journal", j.Close)
		g := storeguard.Open(ctx, storeguard.Options{
			Bus: b, Dir: filepath.Join(s.o.StoreDir, "journal"), Paid: !s.o.Providers.Sandbox, Sync: brokerSync(s.o.Sync), Settings: s.o.Guard,
			Log: s.o.Log, Registerer: p.Registerer(name), Faults: faults,
		})
		p.Go("guard", g.Run, nil)
		svc, err := submitter.New(submitter.Options{
			Bus: b, Journal: j, Spending: g, Lanes: s.lanes, Known: account.Known(), Prices: prices, Timeout: s.o.Pipeline.Timeout,
			Dial: s.o.Dial, Log: s.o.Log, Registerer: p.Registerer(name), Callback: s.callback(),
			LeaseTTL: s.o.LeaseTTL,
		})
		if err != nil {
			return err
		}
		p.Go(name, svc.Run, svc.Ready)
	case Poller:
		svc, err := poller.New(poller.Options{Bus: b, Lanes: s.lanes, Log: s.o.Log, Registerer: p.Registerer(name)})
		if err != nil {
			return err
		}
		p.Go(name, svc.Run, svc.Ready)
	default:
		svc, err := status.New(status.Options{Bus: b, Lanes: s.lanes, Log: s.o.Log, Registerer: p.Registerer(name)})
		if err != nil {
			return err
		}
		p.Go(name, svc.Run, svc.Ready)
	}
	return nil
}

// through leads a service's connection through WrapBroker.
func (s *Stack) through(service string) []nats.Option {
	if s.o.WrapBroker == nil {
		return nil
	}
	return []nats.Option{nats.InProcessServer(wrapped{s.broker, service, s.o.WrapBroker})}
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

// CrashService cuts one service off from the broker in the middle of whatever it does, and then ends it. What it had not
// written is lost, as if its process had been killed.
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

// Connect connects a client in process.
func (s *Stack) Connect(name string) (*nats.Conn, error) { return s.broker.Connect(name) }

// Lanes returns the lanes, opened.
func (s *Stack) Lanes() []provider.Lane { return s.lanes }

// Ledger returns the ledger of an emulator, nil outside the sandbox.
func (s *Stack) Ledger(provider string) *emulator.Ledger { return s.ledgers[provider] }
