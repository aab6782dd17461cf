// Status is reelay's read side as a process of its own: the request-reply API and the metrics of the whole pipeline. It
// needs NATS only (--server, --context, --creds) and holds no provider key. Any number may run.
package main

import (
	"context"
	"os"

	"reelay/internal/catalog"
	"reelay/internal/config"
	"reelay/internal/proc"
	"reelay/internal/provider"
	"reelay/internal/provider/registry"
	"reelay/internal/spend/price"
	"reelay/internal/want"
	"reelay/services/status"
)

type settings struct {
	config.NATS
	config.Lanes
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
		lanes := []provider.Lane{{Name: registry.Local, Provider: registry.Local, Free: true}}
		for _, p := range registry.All() {
			lanes = append(lanes, provider.Lane{Name: p.Name, Provider: p.Name, Free: p.SelfHosted})
		}
		named, err := s.Named()
		if err != nil {
			return err
		}
		for _, l := range named {
			lanes = append(lanes, provider.Lane{Name: l.Name, Provider: l.Provider, Free: registry.Find(l.Provider).SelfHosted})
		}
		prices, err := price.Load(s.Prices)
		if err != nil {
			return err
		}
		wants, err := want.NewPlanner(s.Default...)
		if err != nil {
			return err
		}
		b, err := s.OpenBus(ctx, p, "status", s.Pipeline, "", log)
		if err != nil {
			return err
		}
		return status.Start(p, "status", status.Options{
			Bus: b, Lanes: lanes, Catalog: catalog.Catalog{Wants: wants, Prices: prices}, Log: log,
		})
	}))
}
