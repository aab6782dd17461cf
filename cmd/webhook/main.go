// Webhook is reelay's webhook service as a process of its own: it takes the providers' callbacks and hands them on. It needs NATS
// (--server, --context, --creds), if only later, and REELAY_CALLBACK_KEY as the submitters have it; it holds no provider's key.
// Providers reach it under REELAY_PUBLIC_URL, directly with --webhook-tls-cert or through a proxy that ends TLS. Any number may run.
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
		set, err := s.Settings()
		if err != nil {
			return err
		}
		opened, err := lanes.OpenCallbacks(lanes.CallbackOptions{Settings: set, Sandbox: s.Sandbox, Log: log})
		if err != nil {
			return err
		}
		o := webhook.Options{PublicURL: s.PublicURL, Keys: callbackurl.New(keys), Lanes: opened, Log: log, Registerer: p.Registerer("webhook")}
		if o.Proxies, err = s.Proxies(); err != nil {
			return err
		}
		o.Limits.Conns = s.WebhookConns
		if s.WebhookTLSCert != "" {
			if o.TLS, err = webhook.TLS(s.WebhookTLSCert, s.WebhookTLSKey, log); err != nil {
				return err
			}
		}
		nc, err := s.Connect("webhook", log)
		if err != nil {
			return err
		}
		p.Defer("connection", func() error { return bus.Drain(nc) })
		if o.Publisher, err = bus.NewCallbackPublisher(nc); err != nil {
			return err
		}
		if o.Listener, err = net.Listen("tcp", s.WebhookListen); err != nil {
			return fmt.Errorf("webhook listener: %w", err)
		}
		svc, err := webhook.New(o)
		if err != nil {
			return err
		}
		p.Go("webhook", svc.Run, svc.Ready)
		return nil
	}))
}
