// Console shows reelay to people in a browser, as a process of its own. It needs NATS only (--server, --context, --creds),
// if only later, and holds no provider's key. Its users have the tokens of --console-users; without that file it serves
// whoever has the machine, in a sandbox (--sandbox) at a loopback address. Any number may run.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"reelay/events/client"
	"reelay/internal/config"
	"reelay/internal/proc"
	"reelay/services/console"
)

type settings struct {
	config.NATS
	config.Console
	Sandbox bool `help:"The providers are emulated and no money is spent, so that nobody has to sign in." env:"REELAY_SANDBOX"`
	config.Ops
}

// Validate checks every field. Its error is a SettingError.
func (s settings) Validate() error {
	if err := s.Console.Validate(); err != nil {
		return err
	}
	if s.ConsoleUsers == "" && !s.Sandbox {
		return &config.SettingError{
			Flag: "--console-users", Env: "REELAY_CONSOLE_USERS",
			Err: errors.New("must be set: without --sandbox the console can spend money"),
		}
	}
	return nil
}

func main() {
	var s settings
	if _, err := config.Parse(os.Args[1:], &s, "console", "Shows reelay to people in a browser.",
		config.OpsListen("127.0.0.1:9108")); err != nil {
		os.Exit(config.Report(os.Stderr, "console", err))
	}
	log := s.Logger(os.Stderr)
	os.Exit(proc.Main(context.Background(), log, s.OpsListen, func(_ context.Context, p *proc.Process) error {
		nc, err := s.Open(p, "console", log)
		if err != nil {
			return err
		}
		l, err := net.Listen("tcp", s.ConsoleListen)
		if err != nil {
			return fmt.Errorf("console listener: %w", err)
		}
		return console.Start(p, "console", console.Setup{
			Client: client.New(nc.Conn, client.WithAPIPrefix(nc.APIPrefix)), Listener: l, Users: s.ConsoleUsers,
			Sandbox: s.Sandbox, Log: log,
		})
	}))
}
