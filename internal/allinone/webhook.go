package allinone

import (
	"cmp"
	"fmt"
	"net"

	"github.com/nats-io/nats.go"

	"reelay/internal/bus"
	"reelay/internal/callbackurl"
	"reelay/internal/config"
	"reelay/internal/lanes"
	"reelay/internal/proc"
	"reelay/services/submitter"
	"reelay/services/webhook"
)

// wantsWebhook reports whether callbacks are taken.
func (s *Stack) wantsWebhook() bool {
	return len(s.o.Providers.CallbackKeys) > 0 && (s.o.Providers.PublicURL != "" || s.o.Providers.Sandbox)
}

// CallbackURLs makes the callback URLs of this stack; it makes none without a webhook service.
func (s *Stack) CallbackURLs() callbackurl.URLs {
	if !s.wantsWebhook() {
		return callbackurl.URLs{}
	}
	return callbackurl.URLs{Public: s.o.Providers.PublicURL, Keys: callbackurl.New(s.o.Providers.CallbackKeys)}
}

// callback is what the submitters make callback URLs with, nil for none.
func (s *Stack) callback() submitter.Callback {
	if s.o.Callback != nil || !s.wantsWebhook() {
		return s.o.Callback
	}
	return s.CallbackURLs()
}

// startWebhook starts the webhook service on a connection of its own. It needs no streams.
func (s *Stack) startWebhook(p *proc.Process, nc *nats.Conn, name string) error {
	w := s.o.Webhook
	opened, err := lanes.OpenCallbacks(lanes.CallbackOptions{
		Webhook: w, Lanes: s.o.Providers.Lanes, Sandbox: s.o.Providers.Sandbox, Emulators: s.o.Providers.Settings,
		Transport: s.o.Transport, Log: s.o.Log,
	})
	if err != nil {
		return err
	}
	publisher, err := bus.NewCallbackPublisher(nc)
	if err != nil {
		return err
	}
	p.Check("callbacks", publisher.Check)
	proxies, err := w.Proxies()
	if err != nil {
		return err
	}
	l, err := s.listenWebhook()
	if err != nil {
		return err
	}
	if s.o.Providers.PublicURL == "" {
		s.o.Providers.PublicURL = "http://" + l.Addr().String()
	}
	return webhook.Start(p, name, webhook.Setup{
		Options: webhook.Options{
			Listener: l, PublicURL: s.o.Providers.PublicURL, Keys: callbackurl.New(s.o.Providers.CallbackKeys), Lanes: opened,
			Publisher: publisher, Proxies: proxies, Limits: webhook.Limits{Conns: w.WebhookConns}, Log: s.o.Log,
		},
		TLSCert: w.WebhookTLSCert, TLSKey: w.WebhookTLSKey,
	})
}

// listenWebhook opens the webhook service's listener. Where it has been before it is again, for the sake of the URLs
// that are out.
func (s *Stack) listenWebhook() (l net.Listener, err error) {
	fixed := !s.o.Providers.Sandbox || s.o.Providers.PublicURL != ""
	address := cmp.Or(s.o.Webhook.WebhookListen, config.WebhookListen)
	if l, err = listen(s.o.ListenWebhook, address, fixed); err != nil {
		return nil, fmt.Errorf("webhook listener: %w", err)
	}
	s.o.Webhook.WebhookListen = l.Addr().String()
	return l, nil
}
