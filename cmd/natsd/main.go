// Natsd is reelay's embedded NATS server as a process of its own, for the Procfile and for a single machine. In
// production the services are pointed at a NATS cluster instead. It lets in who has the key that it makes in its store,
// and with --sandbox everybody.
package main

import (
	"context"
	"os"
	"path/filepath"

	"reelay/internal/accounts"
	"reelay/internal/config"
	"reelay/internal/natsd"
	"reelay/internal/proc"
)

type settings struct {
	config.Broker
	Sandbox bool `help:"Ask nobody who it is; for sandboxes at a loopback address." env:"REELAY_SANDBOX"`
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
		o := natsd.Options{
			StoreDir: filepath.Join(s.StoreDir, "natsd"), Listen: s.Listen, Sync: natsd.Sync(s.Sync), Log: log,
			Registerer: p.Registerer("natsd"),
		}
		var err error
		if o.TLS, err = s.TLS(log); err != nil {
			return err
		}
		if !s.Sandbox {
			if o.KeyFile, err = accounts.KeptKey(o.StoreDir, log); err != nil {
				return err
			}
		}
		srv, err := natsd.Start(o)
		if err != nil {
			return err
		}
		p.Defer("broker", func() error { srv.Stop(); return nil })
		p.Go("watchdog", srv.Watch, nil)
		log.Info("the broker serves", "url", srv.URL(), "store", s.StoreDir, "sync", s.Sync)
		if s.Sandbox {
			return nil
		}
		c, err := s.Context("natsd", srv.URL(), o.KeyFile)
		if err != nil {
			return err
		}
		as, err := accounts.SaveContext(o.StoreDir, accounts.BrokerContext, c)
		if err != nil {
			log.Warn("the context for programs of this machine is in the store only", "error", err)
		}
		log.Info("who has the key is let in; reelay's programs on this machine find it", "nats", "nats --context "+as)
		return nil
	}))
}
