// Mcp offers reelay to agents by the Model Context Protocol, over HTTP at /mcp, as a process of its own. It needs NATS
// only (--server, --context, --creds), if only later, and holds no provider's key. Agents have the bearer tokens of
// --mcp-tokens; without that file it serves whoever has the machine, at a loopback address. Any number may run. For
// stdio see: reelay mcp.
package main

import (
	"context"
	"fmt"
	"net"
	"os"

	"reelay/events/client"
	"reelay/internal/config"
	"reelay/internal/proc"
	"reelay/services/mcp"
)

type settings struct {
	config.NATS
	config.MCP
	config.Ops
}

func main() {
	var s settings
	if _, err := config.Parse(os.Args[1:], &s, "mcp", "Serves agents by the Model Context Protocol.",
		config.OpsListen("127.0.0.1:9106")); err != nil {
		os.Exit(config.Report(os.Stderr, "mcp", err))
	}
	log := s.Logger(os.Stderr)
	os.Exit(proc.Main(context.Background(), log, s.OpsListen, func(_ context.Context, p *proc.Process) error {
		key, err := config.MCPKey()
		if err != nil {
			return err
		}
		nc, err := s.Open(p, "mcp", log)
		if err != nil {
			return err
		}
		l, err := net.Listen("tcp", s.MCPListen)
		if err != nil {
			return fmt.Errorf("MCP listener: %w", err)
		}
		return mcp.Start(p, "mcp", mcp.Setup{
			Client: client.New(nc.Conn, client.WithAPIPrefix(nc.APIPrefix), client.WithBusyRetry()), Listener: l, Tokens: s.MCPTokens, Project: s.MCPProject,
			ConfirmOver: s.ConfirmOver, ConfirmKey: key, Log: log,
		})
	}))
}
