// Emulator serves the emulated APIs of all providers on loopback, with real media as results. Nothing it does costs
// money. Its ledgers of accepted (on the real side: paid) jobs are at /_emulator/ledger of each listener and outlive a
// restart; POST /_emulator/limits and /_emulator/faults change what an account may do and what befalls webhooks.
//
// A request can ask for a life of its own by the field "emulate" of its input, for example
// {"prompt":"...","emulate":{"run_ms":60000}}, {"emulate":{"fail":"422"}} or {"emulate":{"webhook":"duplicate"}}; see
// package emulator.
package main

import (
	"context"
	"net"
	"net/http"
	"os"
	"time"

	"reelay/internal/config"
	"reelay/internal/emulator/all"
	"reelay/internal/proc"
	"reelay/internal/provider/registry"
)

type settings struct {
	config.Emulators
	StoreDir string `help:"Directory of the ledgers." env:"REELAY_STORE_DIR" default:".reelay" placeholder:"DIR"`
	all.Settings
	config.Ops
}

func main() {
	s := settings{Emulators: config.NewEmulators()}
	if _, err := config.Parse(os.Args[1:], &s, "emulator", "Serves the emulated APIs of all providers.",
		config.OpsListen("127.0.0.1:9109")); err != nil {
		os.Exit(config.Report(os.Stderr, "emulator", err))
	}
	log := s.Logger(os.Stderr)
	os.Exit(proc.Main(context.Background(), log, s.OpsListen, func(_ context.Context, p *proc.Process) error {
		addresses, err := s.Addresses()
		if err != nil {
			return err
		}
		if err := os.MkdirAll(s.StoreDir, 0o700); err != nil {
			return err
		}
		// no proxy: receivers are on this machine
		transport := &http.Transport{MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute}
		p.Defer("webhook connections", func() error { transport.CloseIdleConnections(); return nil })
		started, err := all.Start(p, registry.Names(), s.StoreDir, func(name string) (net.Listener, error) {
			return net.Listen("tcp", addresses[name])
		}, s.Options(transport, log))
		for _, e := range started {
			log.Info("an emulator serves", "provider", e.Provider, "url", e.URL)
		}
		return err
	}))
}
