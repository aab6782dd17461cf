package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestEdgeProxies(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "[]",
		" , ":                           "[]",
		"10.1.2.3":                      "[10.1.2.3/32]",
		"10.1.2.3/8, ::1,2001:db8::/32": "[10.0.0.0/8 ::1/128 2001:db8::/32]",
	} {
		got, err := Edge{HookProxies: text}.Proxies()
		if err != nil || fmt.Sprint(got) != want {
			t.Errorf("%q: %v, %v, want %s", text, got, err, want)
		}
	}
}

func TestEdgeFiles(t *testing.T) {
	there := filepath.Join(t.TempDir(), "pem")
	if err := os.WriteFile(there, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ cert, key, want string }{
		{"/no/such/file", there, "--hook-tls-cert (REELAY_HOOK_TLS_CERT): "},
		{there, "/no/such/file", "--hook-tls-key (REELAY_HOOK_TLS_KEY): "},
	} {
		err := Edge{HookListen: ":0", HookConns: 1, HookTLSCert: row.cert, HookTLSKey: row.key}.Validate()
		if err == nil || !strings.HasPrefix(err.Error(), row.want) {
			t.Errorf("%v: %v", row, err)
		}
	}
}
