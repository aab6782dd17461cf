package allinone

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
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
	set, err := w.Settings()
	if err != nil {
		return err
	}
	maps.Copy(set, s.o.Providers.Settings) // where the emulators are
	opened, err := lanes.OpenCallbacks(lanes.CallbackOptions{
		Settings: set, Sandbox: s.o.Providers.Sandbox, Transport: s.o.Transport, Log: s.o.Log,
	})
	if err != nil {
		return err
	}
	o := webhook.Options{
		Keys: callbackurl.New(s.o.Providers.CallbackKeys), Lanes: opened, Limits: webhook.Limits{Conns: w.WebhookConns},
		Log: s.o.Log, Registerer: p.Registerer(name),
	}
	if o.Publisher, err = bus.NewCallbackPublisher(nc); err != nil {
		return err
	}
	if o.Proxies, err = w.Proxies(); err != nil {
		return err
	}
	if w.WebhookTLSCert != "" {
		if o.TLS, err = webhook.TLS(w.WebhookTLSCert, w.WebhookTLSKey, s.o.Log); err != nil {
			return err
		}
	}
	if o.Listener, err = s.listenWebhook(); err != nil {
		return err
	}
	if s.o.Providers.PublicURL == "" {
		s.o.Providers.PublicURL = "http://" + o.Listener.Addr().String()
	}
	o.PublicURL = s.o.Providers.PublicURL
	svc, err := webhook.New(o)
	if err != nil {
		return errors.Join(err, o.Listener.Close())
	}
	p.Go(name, svc.Run, svc.Ready)
	return nil
}

// listenWebhook opens the webhook service's listener. Where it has been before it is again, for the sake of the URLs that are out.
func (s *Stack) listenWebhook() (l net.Listener, err error) {
	open := s.o.ListenWebhook
	if open == nil && (!s.o.Providers.Sandbox || s.o.Providers.PublicURL != "") {
		open = func(address string) (net.Listener, error) { return net.Listen("tcp", address) }
	}
	if l, err = listen(open, cmp.Or(s.o.Webhook.WebhookListen, config.WebhookListen)); err != nil {
		return nil, fmt.Errorf("webhook listener: %w", err)
	}
	s.o.Webhook.WebhookListen = l.Addr().String()
	return l, nil
}
