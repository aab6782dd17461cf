// Package all starts the emulators of all providers as parts of a process, for the sandbox, for cmd/emulator and for
// tests.
package all

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"reelay/internal/emulator"
	"reelay/internal/emulator/comfy"
	"reelay/internal/emulator/fal"
	"reelay/internal/emulator/minimax"
	"reelay/internal/emulator/openai"
	"reelay/internal/emulator/replicate"
)

// Options are what the emulators do. The zero value of a field means what it means in the emulator's own Options.
type Options struct {
	Speed emulator.Speed
	Draw  emulator.Draw
	// Concurrency is how many jobs run at once at fal.
	Concurrency int
	// RPM, RPMV2 and InFlight are MiniMax's limits.
	RPM, RPMV2, InFlight int
	LinkLife             time.Duration
	// OpenAIServer is the kind of server that speaks OpenAI's dialect.
	OpenAIServer openai.Kind
	// Transport carries webhooks; nil sends none.
	Transport http.RoundTripper
	// WebhookScale multiplies the delays between the tries of a webhook; 0 is 1.
	WebhookScale float64
	// WebhookFaults apply to a share of all webhooks.
	WebhookFaults emulator.Faults
	Log           *slog.Logger
}

// A Server is one emulated provider: it answers calls, and it sends its webhooks while Run runs.
type Server interface {
	http.Handler
	Run(ctx context.Context) error
}

// open opens the emulator of a provider on its ledger.
func open(name string, l *emulator.Ledger, o Options) (Server, error) {
	switch name {
	case "fal":
		return fal.New(fal.Options{
			Speed: o.Speed, Draw: o.Draw, Ledger: l, Log: o.Log, Concurrency: o.Concurrency, LinkLife: o.LinkLife,
			Transport: o.Transport, WebhookRetryScale: o.WebhookScale, Faults: o.WebhookFaults,
		}), nil
	case "minimax":
		return minimax.New(minimax.Options{
			Speed: o.Speed, Draw: o.Draw, Ledger: l, Log: o.Log, RPM: o.RPM, RPMV2: o.RPMV2, InFlight: o.InFlight,
			LinkLife: o.LinkLife, Transport: o.Transport, Faults: o.WebhookFaults,
		}), nil
	case "replicate":
		return replicate.New(replicate.Options{
			Speed: o.Speed, Draw: o.Draw, Ledger: l, Log: o.Log, Kept: o.LinkLife, Transport: o.Transport,
			WebhookRetryScale: o.WebhookScale, Faults: o.WebhookFaults,
		}), nil
	case "comfy":
		return comfy.New(comfy.Options{Speed: o.Speed, Draw: o.Draw, Ledger: l, Log: o.Log}), nil
	case "openai-videos":
		return openai.New(openai.Options{Kind: o.OpenAIServer, Speed: o.Speed, Draw: o.Draw, Ledger: l, Log: o.Log}), nil
	}
	return nil, fmt.Errorf("provider %s has no emulator in this build", name)
}

// A Process runs parts until it stops; package proc has one.
type Process interface {
	Go(name string, run func(context.Context) error, ready func() bool)
	Serve(name string, l net.Listener, h http.Handler)
	Defer(name string, fn func() error)
}

// An Emulator is one that was started.
type Emulator struct {
	Provider string
	// URL is its base URL.
	URL    string
	Ledger *emulator.Ledger
}

// Start starts the emulators of the providers of those names, in that order. Each has its ledger in dir, as
// <name>.ledger, and a listener that listen opens.
func Start(p Process, names []string, dir string, listen func(name string) (net.Listener, error),
	o Options,
) ([]Emulator, error) {
	var all []Emulator
	for _, name := range names {
		ledger, err := emulator.OpenLedger(filepath.Join(dir, name+".ledger"))
		if err != nil {
			return nil, err
		}
		p.Defer(name+" ledger", ledger.Close)
		server, err := open(name, ledger, o)
		if err != nil {
			return nil, err
		}
		l, err := listen(name)
		if err != nil {
			return nil, fmt.Errorf("%s emulator: %w", name, err)
		}
		p.Go(name+" webhooks", server.Run, nil)
		p.Serve(name+" emulator", l, server)
		all = append(all, Emulator{Provider: name, URL: "http://" + l.Addr().String(), Ledger: ledger})
	}
	return all, nil
}
