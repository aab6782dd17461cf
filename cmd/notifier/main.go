// Notifier is reelay's service for webhooks as a process of its own: it sends events to web services of users. It needs
// NATS (--server, --context, --creds) and a file of endpoints (--notify-file). Any number may run.
package main

import (
	"context"
	"os"

	"reelay/internal/config"
	"reelay/internal/media"
	"reelay/internal/proc"
	"reelay/services/notifier"
)

type settings struct {
	config.NATS
	config.Pipeline
	config.Notify
	Sandbox bool `help:"The providers are emulated: endpoints may be on this machine." env:"REELAY_SANDBOX"`
	config.Ops
}

// Validate checks every field. Its error is a SettingError.
func (s settings) Validate() error { return s.Notify.Validate() }

func main() {
	var s settings
	if _, err := config.Parse(os.Args[1:], &s, "notifier", "Sends events to web services of users, as signed webhooks.",
		config.OpsListen("127.0.0.1:9110")); err != nil {
		os.Exit(config.Report(os.Stderr, "notifier", err))
	}
	log := s.Logger(os.Stderr)
	os.Exit(proc.Main(context.Background(), log, s.OpsListen, func(ctx context.Context, p *proc.Process) error {
		b, err := s.OpenBus(ctx, p, "notifier", s.Pipeline, "", log)
		if err != nil {
			return err
		}
		o := notifier.Options{Bus: b, File: s.NotifyFile, Log: log}
		if s.Sandbox {
			o.Hosts = media.Loopback()
		}
		return notifier.Start(p, "notifier", o)
	}))
}
