// Webhook is reelay's webhook service as a process of its own: it takes the providers' callbacks and hands them on. It
// needs NATS (--server, --context, --creds), if only later, and REELAY_CALLBACK_KEY as the submitters have it; it holds
// no provider's key. Providers reach it under REELAY_PUBLIC_URL, directly with --webhook-tls-cert or through a proxy
// that ends TLS. Any number may run.
package main

import (
	"context"
	"fmt"
	"net"
	"os"

	"reelay/internal/bus"
	"reelay/internal/callbackurl"
	"reelay/internal/config"
	"reelay/internal/lanes"
	"reelay/internal/proc"
	"reelay/services/webhook"
)

type settings struct {
	config.NATS
	config.Webhook
	config.Lanes
	Sandbox   bool   `help:"Take the callbacks of the emulators, with a callback key of this machine if none is set." env:"REELAY_SANDBOX"`
	StoreDir  string `help:"Directory of that key." env:"REELAY_STORE_DIR" default:".reelay" placeholder:"DIR"`
	PublicURL string `name:"public-url" help:"Base URL under which providers reach the service; only its path matters here." env:"REELAY_PUBLIC_URL" placeholder:"URL"`
	config.Ops
}

func main() {
	s := settings{Webhook: config.NewWebhook()}
	if _, err := config.Parse(os.Args[1:], &s, "webhook", "Takes the callbacks of providers.",
		config.OpsListen("127.0.0.1:9104")); err != nil {
		os.Exit(config.Report(os.Stderr, "webhook", err))
	}
	log := s.Logger(os.Stderr)
	os.Exit(proc.Main(context.Background(), log, s.OpsListen, func(_ context.Context, p *proc.Process) error {
		keys, err := config.SharedKeys(s.Sandbox, s.StoreDir)
		if err != nil {
			return err
		}
		named, err := s.Named()
		if err != nil {
			return err
		}
		opened, err := lanes.OpenCallbacks(lanes.CallbackOptions{
			Webhook: s.Webhook, Lanes: named, Sandbox: s.Sandbox, Emulators: config.EmulatorURLs(), Log: log,
		})
		if err != nil {
			return err
		}
		proxies, err := s.Proxies()
		if err != nil {
			return err
		}
		nc, err := s.Open(p, "webhook", log)
		if err != nil {
			return err
		}
		publisher, err := bus.NewCallbackPublisher(nc.Conn)
		if err != nil {
			return err
		}
		p.Check("callbacks", publisher.Check)
		l, err := net.Listen("tcp", s.WebhookListen)
		if err != nil {
			return fmt.Errorf("webhook listener: %w", err)
		}
		return webhook.Start(p, "webhook", webhook.Setup{
			Options: webhook.Options{
				Listener: l, PublicURL: s.PublicURL, Keys: callbackurl.New(keys), Lanes: opened, Publisher: publisher,
				Proxies: proxies, Limits: webhook.Limits{Conns: s.WebhookConns}, Log: log,
			},
			TLSCert: s.WebhookTLSCert, TLSKey: s.WebhookTLSKey,
		})
	}))
}
