// Submitter is reelay's submitter as a process of its own: it takes requests and commands in, and sends each task to its
// provider once. It needs NATS (--server, --context, --creds) and the key of at least one provider (FAL_KEY,
// MINIMAX_API_KEY, or ..._FILE), or --sandbox for the emulators of cmd/emulator. Any number may run.
package main

import (
	"context"
	"os"
	"path/filepath"

	"reelay/internal/bus"
	"reelay/internal/callbackurl"
	"reelay/internal/config"
	"reelay/internal/journal"
	"reelay/internal/lanes"
	"reelay/internal/proc"
	"reelay/internal/provider/registry"
	"reelay/internal/spend/price"
	"reelay/internal/storeguard"
	"reelay/services/submitter"
)

type settings struct {
	StoreDir string `help:"Directory of the journal of paid requests, on a local disk." env:"REELAY_STORE_DIR" default:".reelay" placeholder:"DIR"`
	config.NATS
	config.Providers
	config.Pipeline
	config.Guard
	config.Ops
}

func main() {
	s := settings{Providers: config.NewProviders()}
	if _, err := config.Parse(os.Args[1:], &s, "submitter", "Takes requests in and sends tasks to their providers.",
		config.OpsListen("127.0.0.1:9101")); err != nil {
		os.Exit(config.Report(os.Stderr, "submitter", err))
	}
	log := s.Logger(os.Stderr)
	os.Exit(proc.Main(context.Background(), log, s.OpsListen, func(ctx context.Context, p *proc.Process) error {
		resolved, err := s.Resolve()
		if err != nil {
			return err
		}
		opened, err := lanes.Open(resolved, lanes.Options{PollInterval: s.PollInterval})
		if err != nil {
			return err
		}
		var urls submitter.Callback
		if resolved.PublicURL != "" {
			keys, err := config.SharedKeys(s.Sandbox, s.StoreDir)
			if err != nil {
				return err
			}
			urls = callbackurl.URLs{Public: resolved.PublicURL, Keys: callbackurl.New(keys)}
		}
		prices, err := price.Load(s.Prices)
		if err != nil {
			return err
		}
		nc, err := s.Connect("submitter", log)
		if err != nil {
			return err
		}
		p.Defer("connection", func() error { return bus.Drain(nc) })
		b, err := bus.OpenRetrying(ctx, nc, bus.Options{Replicas: s.Replicas, Log: log, Registerer: p.Registerer("submitter")})
		if err != nil {
			return err
		}
		j, err := journal.Open(filepath.Join(s.StoreDir, "journal"), log, nil)
		if err != nil {
			return err
		}
		p.Defer("journal", j.Close)
		g := storeguard.Open(ctx, storeguard.Options{
			Bus: b, Dir: filepath.Join(s.StoreDir, "journal"), Paid: !s.Sandbox, AcceptNewStore: s.AcceptNewStore,
			AllowUnsyncedSpending: s.AllowUnsyncedSpending, Log: log,
			Registerer: p.Registerer("submitter"),
		})
		p.Go("guard", g.Run, nil)
		svc, err := submitter.New(submitter.Options{
			Bus: b, Journal: j, Spending: g, Lanes: opened, Known: registry.Names(), Prices: prices, Timeout: s.Timeout, Callback: urls, Log: log,
			Registerer: p.Registerer("submitter"),
		})
		if err != nil {
			return err
		}
		p.Go("submitter", svc.Run, svc.Ready)
		return nil
	}))
}
