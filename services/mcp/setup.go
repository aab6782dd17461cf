package mcp

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"

	"reelay/events/client"
	"reelay/internal/access"
	"reelay/internal/proc"
	"reelay/internal/secret"
	"reelay/internal/thumbnail"
	"reelay/internal/version"
)

// A Setup is what a process gives its MCP service.
type Setup struct {
	Client *client.Client
	// Listener is closed if the start fails.
	Listener net.Listener
	// Tokens is a file for access.ReadTokens; empty where everybody is let in.
	Tokens string
	// Project is the default one of an agent without a token.
	Project string
	// ConfirmOver and ConfirmKey are those of Options.
	ConfirmOver float64
	ConfirmKey  secret.Value
	// SaveDir is where the agent behind stdio may have files saved; empty for nowhere.
	SaveDir string
	// Transport is that of Options.
	Transport http.RoundTripper
	// FindThumbnailer is that of Options.
	FindThumbnailer func() (thumbnail.Tool, error)
	Log             *slog.Logger
}

// Start runs an MCP service as a part of p under a name, which is the service's but for a further one in the same
// process.
func Start(p *proc.Process, part string, s Setup) error {
	o := s.options()
	if s.Tokens != "" {
		var err error
		if o.Tokens, err = access.ReadTokens(s.Tokens); err != nil {
			return errors.Join(err, s.Listener.Close())
		}
	}
	svc := New(o)
	p.Go(part, svc.Run, svc.Ready)
	return nil
}

// Stdio serves the one client behind in and out until it hangs up or ctx ends. Nothing but the protocol is written to
// out.
func Stdio(ctx context.Context, s Setup, in io.ReadCloser, out io.WriteCloser) error {
	o := s.options()
	o.SaveDir = s.SaveDir
	return New(o).ServeStdio(ctx, in, out)
}

func (s Setup) options() Options {
	return Options{
		ConfirmOver: s.ConfirmOver, ConfirmKey: s.ConfirmKey, Transport: s.Transport, FindThumbnailer: s.FindThumbnailer,
		Client: s.Client, Listener: s.Listener, Local: access.Local(s.Project), Version: version.Get().Version, Log: s.Log,
	}
}
