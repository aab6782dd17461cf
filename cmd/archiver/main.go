// Archiver is reelay's archiver as a process of its own: it copies the outputs of tasks into a store of reelay's own and
// hands them out. It needs NATS (--server, --context, --creds), the provider keys of the pollers, by which it asks for
// fresh links and pays nothing, or --sandbox, and a store (--artifacts). Any number may run; on several machines they
// share REELAY_ARTIFACT_KEY.
package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"reelay/events/bucket"
	"reelay/internal/artifact/all"
	"reelay/internal/config"
	"reelay/internal/lanes"
	"reelay/internal/media"
	"reelay/internal/proc"
	"reelay/services/archiver"
)

type settings struct {
	config.NATS
	config.Providers
	config.Pipeline
	config.Artifacts
	StoreDir string `help:"Directory of files that are on their way, and of the key of links." env:"REELAY_STORE_DIR" default:".reelay" placeholder:"DIR"`
	config.Ops
}

func main() {
	s := settings{Providers: config.NewProviders()}
	if _, err := config.Parse(os.Args[1:], &s, "archiver", "Copies the outputs of tasks into a store of their own.",
		config.OpsListen("127.0.0.1:9105")); err != nil {
		os.Exit(config.Report(os.Stderr, "archiver", err))
	}
	os.Exit(proc.Main(context.Background(), s.Logger(os.Stderr), s.OpsListen, s.start))
}

func (s settings) start(ctx context.Context, p *proc.Process) error {
	log := s.Logger(os.Stderr)
	url := cmp.Or(s.Artifacts.Store, "nats://"+bucket.Artifacts)
	if _, err := all.Check(url); err != nil {
		return fmt.Errorf("--artifacts (REELAY_ARTIFACTS): %w", err)
	}
	limits, err := archiver.ReadLimits(s.Artifacts)
	if err != nil {
		return err
	}
	resolved, err := s.Resolve()
	if err != nil {
		return err
	}
	opened, err := lanes.Open(resolved, lanes.Options{PollInterval: s.PollInterval})
	if err != nil {
		return err
	}
	keys, err := config.ArtifactKeys(s.StoreDir)
	if err != nil {
		return err
	}
	b, err := s.OpenBus(ctx, p, "archiver", s.Pipeline, resolved.World(), log)
	if err != nil {
		return err
	}
	store, err := all.Open(ctx, url, b.JetStream())
	if err != nil {
		return err
	}
	inputs, err := all.OpenInputs(ctx, s.Artifacts.InputsFrom)
	if err != nil {
		return fmt.Errorf("--inputs-from (REELAY_INPUTS_FROM): %w", err)
	}
	l, err := net.Listen("tcp", s.Artifacts.Listen)
	if err != nil {
		return fmt.Errorf("archiver listener: %w", err)
	}
	return archiver.Start(p, "archiver", archiver.Options{
		Bus: b, Lanes: opened, Store: store, Inputs: inputs, SpoolDir: filepath.Join(s.StoreDir, "spool"),
		Fetcher: media.NewFetcher(s.HostList(), s.MaxBytes), Local: media.NewFetcher(media.Loopback(), s.MaxBytes),
		Listener: l, PublicURL: s.BaseURL(l.Addr()), Keys: keys,
		Limits: limits, Log: log,
	})
}
