package config

import (
	"io"
	"log/slog"

	"github.com/alecthomas/kong"

	"reelay/internal/trace"
)

// Ops is how a process is watched.
type Ops struct {
	// OpsListen serves /healthz, /readyz and /metrics; empty serves none of them. Its default is the main's (OpsListen).
	OpsListen string `help:"Address of /healthz, /readyz and /metrics; empty for none." env:"REELAY_OPS_LISTEN" default:"${ops_listen}" placeholder:"HOST:PORT"`
	LogLevel  string `help:"Least level that is logged: debug, info, warn or error." env:"REELAY_LOG_LEVEL" enum:"debug,info,warn,error" default:"info"`
	LogFormat string `help:"Form of the log: text or json." env:"REELAY_LOG_FORMAT" enum:"text,json" default:"text"`
}

// OpsListen sets a main's default for Ops.OpsListen. It should be a loopback address: the endpoints ask for no
// password.
func OpsListen(hostPort string) kong.Option { return kong.Vars{"ops_listen": hostPort} }

// Validate checks the address. Its error is a SettingError.
func (o Ops) Validate() error {
	if o.OpsListen == "" {
		return nil
	}
	return wrong("--ops-listen", "REELAY_OPS_LISTEN", checkHostPort(o.OpsListen))
}

// Logger returns the process's logger, which writes to w.
func (o Ops) Logger(w io.Writer) *slog.Logger {
	var level slog.Level // info
	_ = level.UnmarshalText([]byte(o.LogLevel))
	options := &slog.HandlerOptions{Level: level}
	if o.LogFormat == "json" {
		return slog.New(trace.Handler(slog.NewJSONHandler(w, options)))
	}
	return slog.New(trace.Handler(slog.NewTextHandler(w, options)))
}
