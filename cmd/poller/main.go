// Poller is reelay's poller as a process of its own: it asks the providers where the tasks are. It needs NATS
// (--server, --context, --creds) and the same provider keys as the submitters, or --sandbox. Any number may run.
package main

import (
	"context"
	"os"

	"reelay/internal/config"
	"reelay/internal/lanes"
	"reelay/internal/proc"
	"reelay/services/poller"
)

type settings struct {
	config.NATS
	config.Providers
	config.Pipeline
	config.Ops
}

func main() {
	s := settings{Providers: config.NewProviders()}
	if _, err := config.Parse(os.Args[1:], &s, "poller", "Asks the providers where the tasks are.",
		config.OpsListen("127.0.0.1:9102")); err != nil {
		os.Exit(config.Report(os.Stderr, "poller", err))
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
		b, err := s.OpenBus(ctx, p, "poller", s.Pipeline, resolved.World(), log)
		if err != nil {
			return err
		}
		return poller.Start(p, "poller", poller.Options{Bus: b, Lanes: append(opened, lanes.Local(b)), MaxPolls: s.MaxPolls, Log: log})
	}))
}
