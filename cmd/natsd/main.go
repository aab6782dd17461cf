// Natsd is reelay's embedded NATS server as a process of its own, for the Procfile and for a single machine. In
// production the services are pointed at a NATS cluster instead.
package main

import (
	"context"
	"os"
	"path/filepath"

	"reelay/internal/config"
	"reelay/internal/natsd"
	"reelay/internal/proc"
)

type settings struct {
	config.Broker
	config.Ops
}

func main() {
	var s settings
	if _, err := config.Parse(os.Args[1:], &s, "natsd", "Runs a NATS server with JetStream.",
		config.OpsListen("127.0.0.1:9100")); err != nil {
		os.Exit(config.Report(os.Stderr, "natsd", err))
	}
	log := s.Logger(os.Stderr)
	os.Exit(proc.Main(context.Background(), log, s.OpsListen, func(_ context.Context, p *proc.Process) error {
		srv, err := natsd.Start(natsd.Options{
			StoreDir: filepath.Join(s.StoreDir, "natsd"), Listen: s.Listen, Sync: natsd.Sync(s.Sync), Log: log,
			Registerer: p.Registerer("natsd"),
		})
		if err != nil {
			return err
		}
		p.Defer("broker", func() error { srv.Stop(); return nil })
		p.Go("watchdog", srv.Watch, nil)
		log.Info("the broker serves", "url", srv.URL(), "store", s.StoreDir, "sync", s.Sync)
		return nil
	}))
}
