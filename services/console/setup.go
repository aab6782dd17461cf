package console

import (
	"errors"
	"log/slog"
	"net"
	"net/http"

	"reelay/events/client"
	"reelay/internal/proc"
)

// A Setup is what a process gives its console.
type Setup struct {
	Client *client.Client
	// Listener is closed if the start fails.
	Listener net.Listener
	// Users is a file for ReadUsers; empty where everybody is let in, which suits a sandbox at a loopback address.
	Users string
	// Sandbox says that no money is spent.
	Sandbox bool
	// Transport is that of Options.
	Transport http.RoundTripper
	Log       *slog.Logger
}

// Start runs a console as a part of p.
func Start(p *proc.Process, part string, s Setup) error {
	o := Options{Client: s.Client, Listener: s.Listener, Sandbox: s.Sandbox, Transport: s.Transport, Log: s.Log}
	if s.Users != "" {
		var err error
		if o.Users, err = ReadUsers(s.Users); err != nil {
			return errors.Join(err, s.Listener.Close())
		}
	}
	svc := New(o)
	p.Go(part, svc.Run, svc.Ready)
	return nil
}
