package allinone

import (
	"path/filepath"
	"slices"

	"reelay/internal/bus"
	"reelay/internal/config"
	"reelay/internal/lanes"
	files "reelay/internal/media"
	"reelay/internal/proc"
	"reelay/internal/provider"
	"reelay/services/media"
)

// lanesOver returns the lanes of a service, that of the media service over its bus.
func (s *Stack) lanesOver(b *bus.Bus) []provider.Lane {
	if s.o.Artifacts.Store == "" {
		return s.lanes
	}
	return append(slices.Clip(s.lanes), lanes.Local(b))
}

// startMedia starts the media service.
func (s *Stack) startMedia(p *proc.Process, b *bus.Bus, name string) error {
	hosts := s.o.Artifacts.LinkHosts()
	if s.o.Providers.Sandbox {
		hosts = append(hosts, files.Loopback()...)
	}
	return media.Start(p, name, max(s.o.Artifacts.MaxBytes, config.MinArtifactBytes), media.Options{
		Bus: b, Find: s.o.FindWorker, Fetcher: s.fetcher(hosts), Dir: filepath.Join(s.o.StoreDir, "work"), Log: s.o.Log,
	})
}
