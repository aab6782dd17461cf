package config

import (
	"net"
	"strconv"
)

// Broker is how the embedded NATS server is run.
type Broker struct {
	StoreDir string `help:"Directory of the embedded broker's store." env:"REELAY_STORE_DIR" default:".reelay" placeholder:"DIR"`
	Listen   string `help:"Address the embedded broker listens on." env:"REELAY_LISTEN" default:"127.0.0.1:4222" placeholder:"HOST:PORT"`
	Sync     string `help:"When the embedded broker syncs writes to disk: always or interval." env:"REELAY_SYNC" enum:"always,interval" default:"always"`
}

// Validate checks every field. Its error is a SettingError.
func (b Broker) Validate() error {
	if b.StoreDir == "" {
		return wrong("--store-dir", "REELAY_STORE_DIR", errEmpty)
	}
	return wrong("--listen", "REELAY_LISTEN", checkHostPort(b.Listen))
}

// SyncAlways reports whether every write is synced before it is acknowledged.
func (b Broker) SyncAlways() bool { return b.Sync == "always" }

// HostPort returns the two halves of Listen, which Validate has accepted.
func (b Broker) HostPort() (host string, port int) {
	host, text, _ := net.SplitHostPort(b.Listen)
	port, _ = strconv.Atoi(text)
	return host, port
}
