package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"reelay/internal/accounts"
	"reelay/internal/certificate"
)

// Broker is how the embedded NATS server is run.
type Broker struct {
	StoreDir string `help:"Directory of the embedded broker's store." env:"REELAY_STORE_DIR" default:".reelay" placeholder:"DIR"`
	Listen   string `help:"Address the embedded broker listens on." env:"REELAY_LISTEN" default:"127.0.0.1:4222" placeholder:"HOST:PORT"`
	// TLSCert and TLSKey are PEM files, read again when they change. TLSCA has those who sign the certificates of the broker
	// and, with TLSVerify, of clients.
	TLSCert   string `name:"broker-tls-cert" help:"Certificate of the embedded broker, a PEM file; needed beyond loopback." env:"REELAY_BROKER_TLS_CERT" placeholder:"FILE"`
	TLSKey    string `name:"broker-tls-key" help:"Key of that certificate, a PEM file." env:"REELAY_BROKER_TLS_KEY" placeholder:"FILE"`
	TLSCA     string `name:"broker-tls-ca" help:"Certificates of those who sign that certificate, and those of clients, a PEM file." env:"REELAY_BROKER_TLS_CA" placeholder:"FILE"`
	TLSVerify bool   `name:"broker-tls-verify" help:"The embedded broker asks clients for certificates as well." env:"REELAY_BROKER_TLS_VERIFY"`
	Sync      string `help:"When the embedded broker syncs writes to disk: always or interval." env:"REELAY_SYNC" enum:"always,interval" default:"always"`
}

// Validate checks every field. Its error is a SettingError.
func (b Broker) Validate() error {
	if b.StoreDir == "" {
		return wrong("--store-dir", "REELAY_STORE_DIR", errEmpty)
	}
	for _, f := range []struct{ flag, env, file string }{
		{"--broker-tls-cert", "REELAY_BROKER_TLS_CERT", b.TLSCert},
		{"--broker-tls-key", "REELAY_BROKER_TLS_KEY", b.TLSKey},
		{"--broker-tls-ca", "REELAY_BROKER_TLS_CA", b.TLSCA},
	} {
		if f.file == "" {
			continue
		}
		if _, err := os.Stat(f.file); err != nil {
			return wrong(f.flag, f.env, err)
		}
	}
	if (b.TLSCert == "") != (b.TLSKey == "") {
		return wrong("--broker-tls-cert", "REELAY_BROKER_TLS_CERT", errors.New("certificate and key must be given together"))
	}
	if b.TLSVerify && (b.TLSCert == "" || b.TLSCA == "") {
		return wrong("--broker-tls-verify", "REELAY_BROKER_TLS_VERIFY",
			errors.New("needs --broker-tls-cert and --broker-tls-ca"))
	}
	return wrong("--listen", "REELAY_LISTEN", checkHostPort(b.Listen))
}

// TLS returns how the broker serves clients of other processes; nil for plain connections.
func (b Broker) TLS(log *slog.Logger) (*tls.Config, error) {
	if b.TLSCert == "" {
		return nil, nil
	}
	c, err := certificate.Serve(b.TLSCert, b.TLSKey, log)
	if err != nil || !b.TLSVerify {
		return c, wrong("--broker-tls-cert", "REELAY_BROKER_TLS_CERT", err)
	}
	signers, err := os.ReadFile(b.TLSCA)
	if err != nil {
		return nil, wrong("--broker-tls-ca", "REELAY_BROKER_TLS_CA", err)
	}
	c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	if !c.ClientCAs.AppendCertsFromPEM(signers) {
		return nil, wrong("--broker-tls-ca", "REELAY_BROKER_TLS_CA", errors.New("has no certificate"))
	}
	return c, nil
}

// Context is how this machine's programs reach the broker, with the key in a file.
func (b Broker) Context(name, url, keyFile string) (accounts.Context, error) {
	c := accounts.Context{Description: "reelay: " + name + " on this machine", URL: url, NKey: keyFile}
	if b.TLSCA == "" {
		return c, nil
	}
	var err error
	c.CA, err = filepath.Abs(b.TLSCA)
	return c, err
}

// SyncAlways reports whether every write is synced before it is acknowledged.
func (b Broker) SyncAlways() bool { return b.Sync == "always" }

// HostPort returns the two halves of Listen, which Validate has accepted.
func (b Broker) HostPort() (host string, port int) {
	host, text, _ := net.SplitHostPort(b.Listen)
	port, _ = strconv.Atoi(text)
	return host, port
}
