// Emulator serves emulated fal and MiniMax APIs on loopback, with real media as results. Nothing it does costs money. Its
// ledgers of accepted (on the real side: paid) jobs are at /_emulator/ledger of each listener and outlive a restart; POST
// /_emulator/limits and /_emulator/faults change what an account may do and what befalls webhooks.
//
// A request can ask for a life of its own by the field "emulate" of its input, for example
// {"prompt":"...","emulate":{"run_ms":60000}}, {"emulate":{"fail":"422"}} or {"emulate":{"hook":"duplicate"}}; see package
// emulator.
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

	Pace       string  `help:"What run times are drawn from: fixed (--run), 480p, 720p, 1080p or bimodal (480p and, one in five, 1080p)." enum:"fixed,480p,720p,1080p,bimodal" default:"fixed"`
	PaceFactor float64 `help:"Multiplies drawn run times; 0.01 turns minutes into seconds." default:"1"`
	Seed       uint64  `help:"Seed of what is drawn." default:"1"`

	Concurrency  int           `help:"Jobs that run at once at fal, the others wait; 0 for no limit." default:"0"`
	MinimaxRPM   int           `name:"minimax-rpm" help:"Creates in any 60 s that MiniMax takes, of V1 and of V2; 0 for no limit." default:"0"`
	MinimaxRPMV2 int           `name:"minimax-rpm-v2" help:"The same for V2 alone; 0 for the limit of both." default:"0"`
	InFlight     int           `help:"Unfinished V2 tasks that MiniMax takes; -1 for no limit." default:"30"`
	LinkLife     time.Duration `help:"How long links to results work; 0 for the providers' own times." default:"0"`

	HookScale  float64                    `help:"Multiplies the waits between the tries of a fal webhook." default:"0.01"`
	HookFaults map[emulator.Fault]float64 `help:"What share of webhooks a fault befalls." mapsep:"," placeholder:"FAULT=SHARE"`
	config.Ops
}

// draw is what the settings let run times be drawn from; nil is the fixed pace.
func (s settings) draw() emulator.Draw {
	run, ok := map[string]emulator.Dist{
		"480p": emulator.Video480P(), "720p": emulator.Video720P(), "1080p": emulator.Video1080P(),
		"bimodal": emulator.Bimodal(emulator.Video480P(), emulator.Video1080P(), 0.8),
	}[s.Pace]
	if !ok {
		return nil
	}
	return emulator.Drawn(s.Seed, emulator.Fixed(s.Queue), run.Times(s.PaceFactor))
}

// A server is one emulated provider.
type server interface {
	http.Handler
	// Run delivers its webhooks.
	Run(ctx context.Context) error
}

func main() {
	var s settings
	if _, err := config.Parse(os.Args[1:], &s, "emulator", "Serves emulated fal and MiniMax APIs.", config.OpsListen("127.0.0.1:9109"),
		kong.Vars{"fal_listen": config.FalEmulator, "minimax_listen": config.MinimaxEmulator}); err != nil {
		os.Exit(config.Report(os.Stderr, "emulator", err))
	}
	log := s.Logger(os.Stderr)
	pace := emulator.Pace{Queue: s.Queue, Run: s.Run, Position: s.Position}
	faults := emulator.Faults{Shares: s.HookFaults, Seed: s.Seed}
	if err := faults.Validate(); err != nil {
		os.Exit(config.Report(os.Stderr, "emulator", fmt.Errorf("--hook-faults: %w", err)))
	}
	hooks := &http.Transport{MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute} // no proxy: receivers are on this machine
	os.Exit(proc.Main(context.Background(), log, s.OpsListen, func(_ context.Context, p *proc.Process) error {
		if err := os.MkdirAll(s.StoreDir, 0o700); err != nil {
			return err
		}
		p.Defer("webhook connections", func() error { hooks.CloseIdleConnections(); return nil })
		serve := func(name, address string, open func(*emulator.Ledger) server) error {
			ledger, err := emulator.OpenLedger(filepath.Join(s.StoreDir, name+".ledger"))
			if err != nil {
				return err
			}
			p.Defer(name+" ledger", ledger.Close)
			l, err := net.Listen("tcp", address)
			if err != nil {
				return fmt.Errorf("%s emulator: %w", name, err)
			}
			provider := open(ledger)
			p.Go(name+" webhooks", provider.Run, nil)
			p.Serve(name, l, provider)
			log.Info("emulator", "provider", name, "url", "http://"+l.Addr().String())
			return nil
		}
		if err := serve("fal", s.FalListen, func(l *emulator.Ledger) server {
			return fal.New(fal.Options{
				Pace: pace, Draw: s.draw(), Ledger: l, Log: log, Concurrency: s.Concurrency, LinkLife: s.LinkLife,
				Transport: hooks, HookScale: s.HookScale, Faults: faults,
			})
		}); err != nil {
			return err
		}
		return serve("minimax", s.MinimaxListen, func(l *emulator.Ledger) server {
			return minimax.New(minimax.Options{
				Pace: pace, Draw: s.draw(), Ledger: l, Log: log, RPM: s.MinimaxRPM, RPMV2: s.MinimaxRPMV2, InFlight: s.InFlight,
				LinkLife: s.LinkLife, Transport: hooks, Faults: faults,
			})
		})
	}))
}
