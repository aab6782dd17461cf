package allinone

import (
	"cmp"
	"errors"
	"fmt"
	"net"

	"github.com/nats-io/nats.go"

	"reelay/internal/account"
	"reelay/internal/bus"
	"reelay/internal/callbackurl"
	"reelay/internal/config"
	emufal "reelay/internal/emulator/fal"
	"reelay/internal/proc"
	"reelay/services/submitter"
	"reelay/services/webhook"
)

// wantsEdge reports whether callbacks are taken.
func (s *Stack) wantsEdge() bool {
	return len(s.o.Providers.CallbackKeys) > 0 && (s.o.Providers.PublicURL != "" || s.o.Providers.Sandbox)
}

// CallbackURLs makes the callback URLs of this stack; it makes none without an edge.
func (s *Stack) CallbackURLs() callbackurl.URLs {
	if !s.wantsEdge() {
		return callbackurl.URLs{}
	}
	return callbackurl.URLs{Public: s.o.Providers.PublicURL, Keys: callbackurl.New(s.o.Providers.CallbackKeys)}
}

// callback is what the submitters make callback URLs with, nil for none.
func (s *Stack) callback() submitter.Callback {
	if s.o.Callback != nil || !s.wantsEdge() {
		return s.o.Callback
	}
	return s.CallbackURLs()
}

// startEdge starts the webhook edge on a connection of its own. It needs no streams.
func (s *Stack) startEdge(p *proc.Process, nc *nats.Conn, name string) error {
	e, sandbox := s.o.Edge, s.o.Providers.Sandbox
	if sandbox && e.FalJWKSURL == "" {
		e.FalJWKSURL = s.o.Providers.FalURL + "/.well-known/jwks.json"
	}
	if sandbox {
		e.FalUserID = cmp.Or(e.FalUserID, emufal.DefaultUserID)
	}
	lanes, err := account.EdgeLanes(account.EdgeOptions{
		FalUserID: e.FalUserID, Emulated: sandbox, FalJWKSURL: e.FalJWKSURL, Transport: s.o.Transport, Log: s.o.Log,
	})
	if err != nil {
		return err
	}
	o := webhook.Options{
		Keys: callbackurl.New(s.o.Providers.CallbackKeys), Lanes: lanes, Limits: webhook.Limits{Conns: e.HookConns},
		Log: s.o.Log, Registerer: p.Registerer(name),
	}
	if o.Publisher, err = bus.NewCallbackPublisher(nc); err != nil {
		return err
	}
	if o.Proxies, err = e.Proxies(); err != nil {
		return err
	}
	if e.HookTLSCert != "" {
		if o.TLS, err = webhook.TLS(e.HookTLSCert, e.HookTLSKey, s.o.Log); err != nil {
			return err
		}
	}
	if o.Listener, err = s.listenEdge(); err != nil {
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

// listenEdge opens the edge's listener. Where it has been before it is again, for the sake of the URLs that are out.
func (s *Stack) listenEdge() (l net.Listener, err error) {
	open := s.o.ListenEdge
	if open == nil && (!s.o.Providers.Sandbox || s.o.Providers.PublicURL != "") {
		open = func(address string) (net.Listener, error) { return net.Listen("tcp", address) }
	}
	if l, err = listen(open, cmp.Or(s.o.Edge.HookListen, config.HookListen)); err != nil {
		return nil, fmt.Errorf("webhook listener: %w", err)
	}
	s.o.Edge.HookListen = l.Addr().String()
	return l, nil
}
