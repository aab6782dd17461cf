package accounts

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestKeptKey: the key of a broker is made once, for its owner only. One that its group can read is closed again, one that
// everybody can read is refused, and an empty one is made anew.
func TestKeptKey(t *testing.T) {
	store := filepath.Join(t.TempDir(), "live")
	file, err := KeptKey(store, slog.New(slog.DiscardHandler))
	must(t, err)
	seed := text(t, file)
	if again, err := KeptKey(store, slog.New(slog.DiscardHandler)); err != nil || again != file || text(t, file) != seed || !strings.HasPrefix(seed, "SU") {
		t.Errorf("%s, then %s, %v", file, again, err)
	}
	must(t, os.Chmod(file, 0o660))
	if again, err := KeptKey(store, slog.New(slog.DiscardHandler)); err != nil || text(t, again) != seed {
		t.Errorf("a key that the group can read: %v", err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the group can still read it: %v, %v", info, err)
	}
	must(t, os.Chmod(file, 0o604))
	if _, err := KeptKey(store, slog.New(slog.DiscardHandler)); !errors.Is(err, ErrReadable) {
		t.Errorf("a key that everybody can read: %v", err)
	}
	must(t, os.Chmod(file, 0o600))
	must(t, os.Truncate(file, 0))
	if _, err := KeptKey(store, slog.New(slog.DiscardHandler)); err != nil || !strings.HasPrefix(text(t, file), "SU") {
		t.Errorf("an empty key: %v", err)
	}
}

// TestContexts: a context is found again by its server alone, and only while its key is there.
func TestContexts(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	store := t.TempDir()
	key, err := KeptKey(store, slog.New(slog.DiscardHandler))
	must(t, err)
	saved := Context{Description: "x", URL: "nats://127.0.0.1:4333", NKey: key, CA: "/ca.pem"}
	if as, err := SaveContext(store, LiveContext, saved); err != nil || as != LiveContext {
		t.Errorf("saved as %q, %v", as, err)
	}
	for server, want := range map[string]bool{
		"nats://127.0.0.1:4333": true, "127.0.0.1:4333": true, "tls://localhost:4333": true, "nats://[::1]:4333": true,
		"nats://127.0.0.1:4222": false, "127.0.0.1": false, "nats://10.0.0.1:4333": false, "nats://me@127.0.0.1:4333": false,
		"nats://": false, "": false, "://": false,
	} {
		if c, ok := FindContext(server); ok != want || ok && c != saved {
			t.Errorf("%q: %+v, %v, want %v", server, c, ok, want)
		}
	}
	first, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer first.Close()
	saved.URL = "nats://" + first.Addr().String()
	_, err = SaveContext(store, LiveContext, saved)
	must(t, err)
	otherStore := t.TempDir()
	other := Context{URL: "nats://127.0.0.1:1"}
	other.NKey, err = KeptKey(otherStore, slog.New(slog.DiscardHandler))
	must(t, err)
	if as, err := SaveContext(otherStore, LiveContext, other); err != nil || as != LiveContext+"-1" {
		t.Errorf("beside a broker that answers: %q, %v", as, err)
	}
	for _, want := range []Context{saved, other} {
		if c, ok := FindContext(want.URL); !ok || c != want {
			t.Errorf("%s: %+v, %v", want.URL, c, ok)
		}
	}
	must(t, first.Close())
	if as, err := SaveContext(otherStore, LiveContext, other); err != nil || as != LiveContext {
		t.Errorf("after the first has ended: %q, %v", as, err)
	}
	_, err = SaveContext(store, LiveContext, saved)
	must(t, err)
	must(t, os.Remove(key))
	if _, ok := FindContext(saved.URL); ok {
		t.Error("found without its key")
	}
	notADirectory := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(notADirectory, nil, 0o600))
	t.Setenv("XDG_CONFIG_HOME", notADirectory)
	if as, err := SaveContext(store, LiveContext, saved); err == nil || as != filepath.Join(store, brokerContext) {
		t.Errorf("where nothing can be saved: %q, %v", as, err)
	}
}
