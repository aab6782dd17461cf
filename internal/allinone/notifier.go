package allinone

import (
	"reelay/internal/bus"
	files "reelay/internal/media"
	"reelay/internal/proc"
	"reelay/services/notifier"
)

// startNotifier starts the notifier.
func (s *Stack) startNotifier(p *proc.Process, b *bus.Bus, name string) error {
	o := notifier.Options{Bus: b, File: s.o.Notify.NotifyFile, Log: s.o.Log}
	if s.o.Providers.Sandbox {
		o.Hosts = files.Loopback()
	}
	return notifier.Start(p, name, o)
}
