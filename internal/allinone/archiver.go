package allinone

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"

	"reelay/internal/artifact/all"
	"reelay/internal/bus"
	"reelay/internal/config"
	"reelay/internal/media"
	"reelay/internal/proc"
	"reelay/services/archiver"
)

// startArchiver starts the archiver, whose store is in the directory of the stack unless it is set.
func (s *Stack) startArchiver(ctx context.Context, p *proc.Process, b *bus.Bus, name string) error {
	a := s.o.Artifacts
	keys, err := config.ArtifactKeys(s.o.StoreDir)
	if err != nil {
		return err
	}
	limits, err := archiver.ReadLimits(a)
	if err != nil {
		return err
	}
	store, err := all.Open(ctx, a.Store, b.JetStream())
	if err != nil {
		return fmt.Errorf("--artifacts (REELAY_ARTIFACTS): %w", err)
	}
	inputs, err := all.OpenInputs(ctx, a.InputsFrom)
	if err != nil {
		return fmt.Errorf("--inputs-from (REELAY_INPUTS_FROM): %w", err)
	}
	l, err := s.listenArchiver()
	if err != nil {
		return err
	}
	return archiver.Start(p, name, archiver.Options{
		Bus: b, Lanes: s.lanes, Store: store, Inputs: inputs, SpoolDir: filepath.Join(s.o.StoreDir, "spool"),
		Fetcher: s.fetcher(a.HostList()), Local: s.fetcher(media.Loopback()), Listener: l, PublicURL: a.BaseURL(l.Addr()),
		Keys: keys, Limits: limits, Log: s.o.Log,
	})
}

// fetcher downloads outputs; through Options.Transport where that is set.
func (s *Stack) fetcher(hosts []string) *media.Fetcher {
	f := media.NewFetcher(hosts, max(s.o.Artifacts.MaxBytes, config.MinArtifactBytes))
	if s.o.Transport != nil {
		f.Client = &http.Client{Transport: s.o.Transport, CheckRedirect: f.Client.CheckRedirect}
	}
	return f
}

// listenArchiver opens the archiver's listener. Where it has been before it is again, for the sake of the links that are
// out.
func (s *Stack) listenArchiver() (l net.Listener, err error) {
	if l, err = listen(s.o.ListenArchiver, s.o.Artifacts.Listen, !s.o.Providers.Sandbox); err != nil {
		return nil, fmt.Errorf("archiver listener: %w", err)
	}
	s.o.Artifacts.Listen = l.Addr().String()
	return l, nil
}
