package allinone

import (
	"fmt"

	"github.com/nats-io/nats.go"

	"reelay/events/client"
	"reelay/internal/proc"
	"reelay/services/mcp"
)

// startMCP starts the MCP service on a connection of its own. It needs no streams.
func (s *Stack) startMCP(p *proc.Process, nc *nats.Conn, name string) error {
	l, err := listen(s.o.ListenMCP, s.o.MCP.MCPListen, !s.o.Providers.Sandbox)
	if err != nil {
		return fmt.Errorf("MCP listener: %w", err)
	}
	s.mcpURL = "http://" + l.Addr().String() + "/mcp"
	return mcp.Start(p, name, mcp.Setup{
		Client: client.New(nc, client.WithBusyRetry()), Listener: l, Tokens: s.o.MCP.MCPTokens, Project: s.o.MCP.MCPProject,
		ConfirmOver: s.o.MCP.ConfirmOver, Transport: s.o.Transport, FindThumbnailer: s.o.FindThumbnailer, Log: s.o.Log,
	})
}
