package allinone

import (
	"fmt"

	"github.com/nats-io/nats.go"

	"reelay/events/client"
	"reelay/internal/proc"
	"reelay/services/console"
)

// startConsole starts the console on a connection of its own. It needs no streams, and nothing needs it: a port that is
// taken is no reason not to start.
func (s *Stack) startConsole(p *proc.Process, nc *nats.Conn, name string) error {
	l, err := listen(s.o.ListenConsole, s.o.Console.ConsoleListen, false)
	if err != nil {
		return fmt.Errorf("console listener: %w", err)
	}
	s.consoleURL = "http://" + l.Addr().String()
	return console.Start(p, name, console.Setup{
		Client: client.New(nc), Listener: l, Users: s.o.Console.ConsoleUsers, Sandbox: s.o.Providers.Sandbox,
		Transport: s.o.Transport, Log: s.o.Log,
	})
}
