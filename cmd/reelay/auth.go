package main

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"

	"reelay/events/rights"
	"reelay/internal/accounts"
	"reelay/internal/address"
)

// authCmd makes and changes an operator's folder. It needs no NATS.
type authCmd struct {
	Init   authInitCmd   `cmd:"" help:"Make keys, contexts and a nats-server configuration: an account for reelay, one for each tenant."`
	Add    authAddCmd    `cmd:"" help:"Add a tenant, or change its role."`
	Revoke authRevokeCmd `cmd:"" help:"Take a tenant's access away, or give a service a new key."`
}

// authDir is the folder.
type authDir struct {
	Dir string `arg:"" help:"The operator's folder." placeholder:"DIR"`
}

type authInitCmd struct {
	authDir
	Tenant   []string `help:"A tenant: its project, and what it may do: read, tenant (default) or resolve. May be repeated." placeholder:"PROJECT[:ROLE]"`
	Listen   string   `help:"Where the server listens." default:"127.0.0.1:4222" placeholder:"HOST:PORT"`
	URL      string   `name:"url" help:"How others reach it (default: where it listens)." placeholder:"URL"`
	StoreDir string   `help:"Where the server keeps its streams (default: the folder's jetstream)." placeholder:"DIR"`
	TLSCert  string   `name:"server-cert" help:"The server's certificate, PEM." placeholder:"FILE"`
	TLSKey   string   `name:"server-key" help:"Its private key, PEM." placeholder:"FILE"`
	TLSCA    string   `name:"server-ca" help:"Certificates of those who sign certificates, PEM." placeholder:"FILE"`
	Verify   bool     `help:"Ask clients for certificates as well."`
}

func (c *authInitCmd) Run(e *env) error {
	server := accounts.Server{
		Listen: c.Listen, URL: c.URL, StoreDir: c.StoreDir, Cert: c.TLSCert, Key: c.TLSKey, CA: c.TLSCA, Verify: c.Verify,
	}
	_, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return usagef("--listen: %w", err)
	}
	if c.TLSCert == "" && !address.IsLocal(c.Listen) {
		return usagef("--listen %s: others reach it; it needs --server-cert and --server-key", c.Listen)
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return usagef("--server-cert and --server-key belong together")
	}
	scheme := "nats://"
	for _, file := range []*string{&server.Cert, &server.Key, &server.CA} {
		if *file == "" {
			continue
		}
		if *file, err = filepath.Abs(*file); err != nil {
			return err
		}
		scheme = "tls://"
	}
	if server.URL == "" {
		server.URL = scheme + c.Listen
	}
	if server.StoreDir == "" {
		server.StoreDir = filepath.Join(c.Dir, "jetstream")
	}
	if server.StoreDir, err = filepath.Abs(server.StoreDir); err != nil {
		return err
	}
	var tenants []accounts.Tenant
	for _, text := range c.Tenant {
		t, err := accounts.ParseTenant(text)
		if err != nil {
			return usagef("--tenant: %w", err)
		}
		tenants = append(tenants, t)
	}
	if err := accounts.Init(c.Dir, server, tenants); err != nil {
		return err
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "nats-server -c %s\n", filepath.Join(dir, accounts.ConfigFile))
	for _, name := range rights.Services() {
		fmt.Fprintf(e.stdout, "%s --context %s\n", name, filepath.Join(dir, name+".json"))
	}
	fmt.Fprintf(e.stdout, "reelay doctor --context %s\n", filepath.Join(dir, accounts.Operator+".json"))
	for _, t := range tenants {
		fmt.Fprintf(e.stdout, "nats --context %s sub 'reelay.event.%s.>'\n", filepath.Join(dir, t.Project+".json"), t.Project)
	}
	return nil
}

type authAddCmd struct {
	authDir
	Tenant string `arg:"" help:"Its project, and what it may do: read, tenant (default) or resolve." placeholder:"PROJECT[:ROLE]"`
}

func (c *authAddCmd) Run(e *env) error {
	t, err := accounts.ParseTenant(c.Tenant)
	if err != nil {
		return &usageError{err}
	}
	if err := accounts.Add(c.Dir, t); err != nil {
		return err
	}
	return c.told(e, t.Project+" may do as "+string(t.Role))
}

type authRevokeCmd struct {
	authDir
	Name string `arg:"" help:"A tenant's project, or a service." placeholder:"NAME"`
}

func (c *authRevokeCmd) Run(e *env) error {
	if err := accounts.Revoke(c.Dir, c.Name); err != nil {
		return err
	}
	return c.told(e, "the former key of "+c.Name+" opens nothing")
}

// told says from when on a change holds.
func (d authDir) told(e *env, what string) error {
	fmt.Fprintf(e.stderr, "%s once the server has read its configuration anew: nats-server --signal reload\n", strings.TrimSpace(what))
	return nil
}
