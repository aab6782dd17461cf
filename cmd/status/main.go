// Status is reelay's read side as a process of its own: the request-reply API and the metrics of the whole pipeline. It
// needs NATS only (--server, --context, --creds) and holds no provider key. Any number may run.
package main

import (
	"context"
	"os"

	"reelay/internal/config"
	"reelay/internal/proc"
	"reelay/internal/provider"
	"reelay/internal/provider/registry"
	"reelay/services/status"
)

type settings struct {
	config.NATS
	config.Pipeline
	config.Ops
}

func main() {
	var s settings
	if _, err := config.Parse(os.Args[1:], &s, "status", "Answers queries about tasks.",
		config.OpsListen("127.0.0.1:9103")); err != nil {
		os.Exit(config.Report(os.Stderr, "status", err))
	}
	log := s.Logger(os.Stderr)
	os.Exit(proc.Main(context.Background(), log, s.OpsListen, func(ctx context.Context, p *proc.Process) error {
		var lanes []provider.Lane
		for _, name := range registry.Names() {
			lanes = append(lanes, provider.Lane{Name: name, Provider: name})
		}
		b, err := s.OpenBus(ctx, p, "status", s.Replicas, log)
		if err != nil {
			return err
		}
		return status.Start(p, "status", status.Options{Bus: b, Lanes: lanes, Log: log})
	}))
}
