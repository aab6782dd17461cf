package main

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"reelay/events/rights"
	"reelay/internal/accounts"
	"reelay/internal/natsd"
)

// TestDoctorRights: the doctor tells of a service that lacks what it needs or has more, of a stranger in reelay's account
// and of a key that others can read; of an installation as it is made it tells nothing of that.
func TestDoctorRights(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "auth")
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listen := free.Addr().String()
	_ = free.Close()
	tenant := accounts.Tenant{Project: "acme", Role: rights.Tenant}
	if err := accounts.Init(dir, accounts.Server{Listen: listen, URL: "nats://" + listen, StoreDir: dir}, []accounts.Tenant{tenant}); err != nil {
		t.Fatal(err)
	}
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	doctor := func(config string) string {
		t.Helper()
		s, err := natsd.Start(natsd.Options{
			StoreDir: t.TempDir(), Listen: listen, Sync: natsd.SyncInterval, Config: config, Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Stop()
		if nc, err := s.Connect("a tenant", nats.Nkey(stranger, pair.Sign)); err == nil {
			defer nc.Close()
		}
		e, stdout, stderr := testEnv()
		execute(t.Context(), e, []string{"doctor", "--context", accounts.ContextFile(dir, accounts.Operator), "--auth", dir})
		return stdout.String() + stderr.String()
	}
	config := filepath.Join(dir, accounts.ConfigFile)
	out := doctor(config)
	for _, service := range rights.Services() {
		if lines(out, "ok", "rights of "+service, "what it needs, and no more") != 1 {
			t.Errorf("of %s:\n%s", service, out)
		}
	}
	if lines(out, "ok", "who connects", "the broker asks") != 1 || lines(out, "ok", "reelay's account") != 1 || lines(out, "fail", "rights") != 0 {
		t.Errorf("of an installation as it was made:\n%s", out)
	}

	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), `"reelay.callback.*.*.*"`, `"reelay.poll.>"`, 1)
	changed = strings.Replace(changed, "# operator\n", "# operator\n { nkey: "+stranger+" }\n", 1)
	other := filepath.Join(t.TempDir(), "other.conf")
	if err := os.WriteFile(other, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(accounts.KeyFile(dir, "acme"), 0o640); err != nil {
		t.Fatal(err)
	}
	out = doctor(other)
	for _, want := range [][]string{
		{"fail", "rights of ", "it lacks 1 subjects (reelay.callback.*.*.*) and has 1 that it does not need (reelay.poll.>)"},
		{"fail", "reelay's account", stranger + " (a tenant) is connected to it"},
		{"fail", "rights", "others than its owner can read the file", "acme.nk"},
	} {
		if lines(out, want...) != 1 {
			t.Errorf("not one line with %q:\n%s", want, out)
		}
	}
}
