// Media is reelay's media service as a process of its own: it does with ffmpeg what costs no money, on files that it
// fetches from the archiver and from providers. It needs NATS (--server, --context, --creds), ffmpeg, and to know where
// the archiver is (--artifact-url). It holds no key. Any number may run.
package main

import (
	"context"
	"os"
	"path/filepath"

	"reelay/internal/config"
	"reelay/internal/media"
	"reelay/internal/proc"
	service "reelay/services/media"
)

type settings struct {
	config.NATS
	config.Pipeline
	config.Artifacts
	StoreDir string `help:"Directory of the files that are worked on." env:"REELAY_STORE_DIR" default:".reelay" placeholder:"DIR"`
	config.Ops
}

func main() {
	var s settings
	if _, err := config.Parse(os.Args[1:], &s, "media", "Does with ffmpeg what costs no money.",
		config.OpsListen("127.0.0.1:9107")); err != nil {
		os.Exit(config.Report(os.Stderr, "media", err))
	}
	log := s.Logger(os.Stderr)
	os.Exit(proc.Main(context.Background(), log, s.OpsListen, func(ctx context.Context, p *proc.Process) error {
		b, err := s.OpenBus(ctx, p, "media", s.Pipeline, "", log)
		if err != nil {
			return err
		}
		return service.Start(p, "media", s.MaxBytes, service.Options{
			Bus: b, Fetcher: media.NewFetcher(s.LinkHosts(), s.MaxBytes), Dir: filepath.Join(s.StoreDir, "work"), Log: log,
		})
	}))
}
