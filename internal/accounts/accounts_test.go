package accounts

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"reelay/events/rights"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func text(t *testing.T, path ...string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(path...))
	must(t, err)
	return string(content)
}

// TestFolder: each user has a key that only the owner reads and that stands in no other file; a folder is made once.
func TestFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "auth")
	server := Server{Listen: "127.0.0.1:4222", URL: "nats://127.0.0.1:4222", StoreDir: `/var/"odd"`}
	must(t, Init(dir, server, []Tenant{{"a", rights.Tenant}}))
	config := text(t, dir, ConfigFile)
	for _, name := range append(reserved(), "a") {
		seed := strings.TrimSpace(text(t, dir, name+".nk"))
		if !strings.HasPrefix(seed, "SU") || strings.Contains(config+text(t, dir, stateFile)+text(t, dir, name+".json"), seed) {
			t.Errorf("%s: the key is %.2s..., or is somewhere else too", name, seed)
		}
	}
	files, err := os.ReadDir(dir)
	must(t, err)
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", f.Name(), info.Mode(), err)
		}
	}
	if err := Init(dir, server, nil); !errors.Is(err, ErrExists) {
		t.Errorf("made again: %v", err)
	}
}

// TestChanges: a role is changed without a new key; what is revoked is gone, and a service gets another key.
func TestChanges(t *testing.T) {
	dir := t.TempDir()
	if err := Add(dir, Tenant{"a", rights.Tenant}); !errors.Is(err, ErrMissing) {
		t.Errorf("added to nothing: %v", err)
	}
	must(t, Init(dir, Server{}, nil))
	must(t, Add(dir, Tenant{"a", rights.ReadOnly}))
	must(t, Add(dir, Tenant{"b", rights.Tenant}))
	key := text(t, dir, "a.nk")
	if config := text(t, dir, ConfigFile); strings.Contains(config, `"reelay.request.a.*"`) || !strings.Contains(config, `"reelay.request.b.*"`) {
		t.Error(config)
	}
	must(t, Add(dir, Tenant{"a", rights.Tenant}))
	if text(t, dir, "a.nk") != key || !strings.Contains(text(t, dir, ConfigFile), `"reelay.request.a.*"`) {
		t.Error("a changed role has another key, or no effect")
	}
	must(t, Revoke(dir, "a"))
	if config := text(t, dir, ConfigFile); strings.Contains(config, "TENANT_a") {
		t.Error(config)
	}
	if _, err := os.Stat(filepath.Join(dir, "a.nk")); err == nil {
		t.Error("the key of a revoked tenant is still there")
	}
	poller := text(t, dir, "poller.nk")
	must(t, Revoke(dir, "poller"))
	if text(t, dir, "poller.nk") == poller {
		t.Error("a revoked service has its former key")
	}
	if err := Revoke(dir, "nobody"); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
}

func TestParseTenant(t *testing.T) {
	for in, want := range map[string]Tenant{
		"a": {"a", rights.Tenant}, "a:read": {"a", rights.ReadOnly}, "film-1:resolve": {"film-1", rights.Resolver},
	} {
		if got, err := ParseTenant(in); err != nil || got != want {
			t.Errorf("%s: %+v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "a.b", "a:", "a:all", "operator", "submitter:read", "*", strings.Repeat("x", 65)} {
		if got, err := ParseTenant(in); err == nil {
			t.Errorf("%q was taken for %+v", in, got)
		}
	}
}
