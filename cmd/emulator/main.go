// Emulator serves emulated fal and MiniMax APIs on loopback, with real media as results. Nothing it does costs money. Its
// ledgers of accepted (on the real side: paid) jobs are at /_emulator/ledger of each listener and outlive a restart.
//
// A request can ask for a life of its own by the field "emulate" of its input, for example
// {"prompt":"...","emulate":{"run_ms":60000}} or {"emulate":{"fail":"422"}}; see package emulator.
package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/alecthomas/kong"

	"reelay/internal/config"
	"reelay/internal/emulator"
	"reelay/internal/emulator/fal"
	"reelay/internal/emulator/minimax"
	"reelay/internal/proc"
)

type settings struct {
	FalListen     string        `help:"Address of the fal emulator." env:"REELAY_FAL_EMULATOR_LISTEN" default:"${fal_listen}" placeholder:"HOST:PORT"`
	MinimaxListen string        `help:"Address of the MiniMax emulator." env:"REELAY_MINIMAX_EMULATOR_LISTEN" default:"${minimax_listen}" placeholder:"HOST:PORT"`
	StoreDir      string        `help:"Directory of the ledgers." env:"REELAY_STORE_DIR" default:".reelay" placeholder:"DIR"`
	Queue         time.Duration `help:"Time a job waits in the emulated queue." default:"1.5s"`
	Run           time.Duration `help:"Time a job runs." default:"3.5s"`
	Position      int           `help:"Place in the emulated queue at acceptance." default:"2"`
	config.Ops
}

func main() {
	var s settings
	if _, err := config.Parse(os.Args[1:], &s, "emulator", "Serves emulated fal and MiniMax APIs.", config.OpsListen("127.0.0.1:9109"),
		kong.Vars{"fal_listen": config.FalEmulator, "minimax_listen": config.MinimaxEmulator}); err != nil {
		os.Exit(config.Report(os.Stderr, "emulator", err))
	}
	log := s.Logger(os.Stderr)
	pace := emulator.Pace{Queue: s.Queue, Run: s.Run, Position: s.Position}
	os.Exit(proc.Main(context.Background(), log, s.OpsListen, func(_ context.Context, p *proc.Process) error {
		if err := os.MkdirAll(s.StoreDir, 0o700); err != nil {
			return err
		}
		serve := func(name, address string, handler func(*emulator.Ledger) http.Handler) error {
			ledger, err := emulator.OpenLedger(filepath.Join(s.StoreDir, name+".ledger"))
			if err != nil {
				return err
			}
			p.Defer(name+" ledger", ledger.Close)
			l, err := net.Listen("tcp", address)
			if err != nil {
				return fmt.Errorf("%s emulator: %w", name, err)
			}
			p.Serve(name, l, handler(ledger))
			log.Info("emulator", "provider", name, "url", "http://"+l.Addr().String())
			return nil
		}
		if err := serve("fal", s.FalListen, func(l *emulator.Ledger) http.Handler {
			return fal.New(fal.Options{Pace: pace, Ledger: l, Log: log})
		}); err != nil {
			return err
		}
		return serve("minimax", s.MinimaxListen, func(l *emulator.Ledger) http.Handler {
			return minimax.New(minimax.Options{Pace: pace, Ledger: l, Log: log})
		})
	}))
}
