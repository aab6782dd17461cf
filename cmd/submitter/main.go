// Submitter is reelay's submitter as a process of its own: it takes requests and commands in, and sends each task to
// its provider once. It needs NATS (--server, --context, --creds) and the key of at least one provider (FAL_KEY,
// MINIMAX_API_KEY, or ..._FILE), or --sandbox for the emulators of cmd/emulator. Any number may run.
package main

import (
	"context"
	"os"

	"reelay/internal/callbackurl"
	"reelay/internal/config"
	"reelay/internal/lanes"
	"reelay/internal/proc"
	"reelay/internal/spend/price"
	"reelay/internal/want"
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
		prices, err := price.Load(s.Prices)
		if err != nil {
			return err
		}
		wants, err := want.NewPlanner(s.Default...)
		if err != nil {
			return err
		}
		o := submitter.Options{
			Lanes: opened, Groups: resolved.Groups, Prices: prices, Wants: wants, Timeout: s.Timeout, MaxSends: s.MaxSends, Log: log,
		}
		if resolved.PublicURL != "" {
			keys, err := config.SharedKeys(s.Sandbox, s.StoreDir)
			if err != nil {
				return err
			}
			o.Callback = callbackurl.URLs{Public: resolved.PublicURL, Keys: callbackurl.New(keys)}
		}
		if o.Bus, err = s.OpenBus(ctx, p, "submitter", s.Pipeline, resolved.World(), log); err != nil {
			return err
		}
		o.Lanes = append(o.Lanes, lanes.Local(o.Bus))
		return submitter.Start(ctx, p, "submitter", submitter.Setup{Options: o, StoreDir: s.StoreDir, Guard: s.Guard.WithEpochDir()})
	}))
}
