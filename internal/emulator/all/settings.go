package all

import (
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"reelay/internal/emulator"
	"reelay/internal/emulator/openai"
)

// Settings are Options as flags for kong.
type Settings struct {
	Queue    time.Duration `help:"Time a job waits in the emulated queue." default:"1.5s"`
	Run      time.Duration `help:"Time a job runs." default:"3.5s"`
	Position int           `help:"Position in the emulated queue at acceptance." default:"2"`

	RunTimes string  `help:"What run times are drawn from: fixed (--run), 480p, 720p, 1080p or bimodal (480p and, one in five, 1080p)." enum:"fixed,480p,720p,1080p,bimodal" default:"fixed"`
	RunScale float64 `help:"Multiplies the drawn run times; 0.01 turns minutes into seconds." default:"1"`
	Seed     uint64  `help:"Seed of what is drawn." default:"1"`

	Concurrency  int           `help:"Jobs that run at once at fal, the others wait; 0 for no limit." default:"0"`
	MinimaxRPM   int           `name:"minimax-rpm" help:"Creates in any 60 s that MiniMax takes, of V1 and of V2; 0 for no limit." default:"0"`
	MinimaxRPMV2 int           `name:"minimax-rpm-v2" help:"The same for V2 alone; 0 for the limit of both." default:"0"`
	InFlight     int           `help:"Unfinished V2 tasks that MiniMax takes; -1 for no limit." default:"30"`
	LinkLife     time.Duration `help:"How long links to results work; 0 for the providers' own times." default:"0"`

	OpenAIServer openai.Kind `name:"openai-server" help:"Kind of server that speaks OpenAI's dialect: any, vllm-omni or sglang." enum:"any,vllm-omni,sglang" default:"any"`

	WebhookScale  float64                    `help:"Multiplies the waits between the tries of a webhook." default:"0.01"`
	WebhookFaults map[emulator.Fault]float64 `help:"Share of webhooks that have a fault." mapsep:"," placeholder:"FAULT=SHARE"`
}

// Validate checks the faults.
func (s Settings) Validate() error {
	if err := s.faults().Validate(); err != nil {
		return fmt.Errorf("--webhook-faults: %w", err)
	}
	return nil
}

func (s Settings) faults() emulator.Faults {
	return emulator.Faults{Shares: s.WebhookFaults, Seed: s.Seed}
}

// Options returns what the settings ask for.
func (s Settings) Options(transport http.RoundTripper, log *slog.Logger) Options {
	return Options{
		Speed: emulator.Speed{Queue: s.Queue, Run: s.Run, Position: s.Position}, Draw: s.draw(), Concurrency: s.Concurrency,
		RPM: s.MinimaxRPM, RPMV2: s.MinimaxRPMV2, InFlight: s.InFlight, LinkLife: s.LinkLife, Transport: transport,
		OpenAIServer: s.OpenAIServer, WebhookScale: s.WebhookScale, WebhookFaults: s.faults(), Log: log,
	}
}

// draw returns what run times are drawn from; nil is the fixed speed.
func (s Settings) draw() emulator.Draw {
	run, ok := map[string]emulator.Dist{
		"480p": emulator.Video480P(), "720p": emulator.Video720P(), "1080p": emulator.Video1080P(),
		"bimodal": emulator.Bimodal(emulator.Video480P(), emulator.Video1080P(), 0.8),
	}[s.RunTimes]
	if !ok {
		return nil
	}
	return emulator.Drawn(s.Seed, emulator.Fixed(s.Queue), run.Times(s.RunScale))
}
