package all_test

import (
	"log/slog"
	"net"
	"net/http"
	"os"
	"testing"

	"reelay/internal/emulator/all"
	"reelay/internal/proc"
	"reelay/internal/provider/registry"
)

// TestEveryProvider: each row of the registry has an emulator, which serves its ledger.
func TestEveryProvider(t *testing.T) {
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	p := proc.New(log)
	dir := t.TempDir()
	listen := func(string) (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }
	started, err := all.Start(p, registry.Names(), dir, listen, all.Options{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	for i, provider := range registry.All() {
		if started[i].Provider != provider.Name {
			t.Errorf("%s stands where %s should", started[i].Provider, provider.Name)
		}
		res, err := http.Get(started[i].URL + "/_emulator/ledger")
		if err != nil {
			t.Fatal(err)
		}
		if res.Body.Close(); res.StatusCode != http.StatusOK {
			t.Errorf("the ledger of %s: status %d", provider.Name, res.StatusCode)
		}
	}
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != len(started) {
		t.Errorf("%d ledgers of %d emulators are kept, %v", len(files), len(started), err)
	}
	if _, err := all.Start(proc.New(log), []string{"nobody"}, dir, listen, all.Options{Log: log}); err == nil {
		t.Error("an emulator of nobody starts")
	}
}
