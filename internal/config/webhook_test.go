package config

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"reelay/internal/callbackurl"
)

func TestWebhookProxies(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "[]",
		" , ":                           "[]",
		"10.1.2.3":                      "[10.1.2.3/32]",
		"10.1.2.3/8, ::1,2001:db8::/32": "[10.0.0.0/8 ::1/128 2001:db8::/32]",
	} {
		got, err := Webhook{WebhookProxies: text}.Proxies()
		if err != nil || fmt.Sprint(got) != want {
			t.Errorf("%q: %v, %v, want %s", text, got, err, want)
		}
	}
}

func TestWebhookFiles(t *testing.T) {
	there := filepath.Join(t.TempDir(), "pem")
	if err := os.WriteFile(there, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ cert, key, want string }{
		{"/no/such/file", there, "--webhook-tls-cert (REELAY_WEBHOOK_TLS_CERT): "},
		{there, "/no/such/file", "--webhook-tls-key (REELAY_WEBHOOK_TLS_KEY): "},
	} {
		err := Webhook{WebhookListen: ":0", WebhookConns: 1, WebhookTLSCert: row.cert, WebhookTLSKey: row.key}.Validate()
		if err == nil || !strings.HasPrefix(err.Error(), row.want) {
			t.Errorf("%v: %v", row, err)
		}
	}
}

// TestSharedKeys: a key that is set is used, and one is made only in the sandbox, once for all processes of the
// machine.
func TestSharedKeys(t *testing.T) {
	clearEnv(t)
	dir := t.TempDir()
	if keys, err := SharedKeys(false, dir); !isSetting(err, EnvCallbackKey) || len(keys) > 0 {
		t.Errorf("none is set: %d keys, %v", len(keys), err)
	}
	made, err := SharedKeys(true, dir)
	if err != nil || len(made) != 1 {
		t.Fatalf("in the sandbox: %d keys, %v", len(made), err)
	}
	if again, err := SharedKeys(true, dir); err != nil || len(again) != 1 ||
		again[0].Secret.Reveal() != made[0].Secret.Reveal() {
		t.Errorf("of another process: %d keys, %v", len(again), err)
	}
	t.Setenv(EnvCallbackKey, "k1:"+base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("k"), callbackurl.KeyBytes)))
	for _, sandbox := range []bool{false, true} {
		if keys, err := SharedKeys(sandbox, dir); err != nil || len(keys) != 1 || keys[0].ID != "k1" {
			t.Errorf("one is set, sandbox %v: %d keys, %v", sandbox, len(keys), err)
		}
	}
	t.Setenv(EnvCallbackKey, "k1")
	if _, err := SharedKeys(true, dir); !isSetting(err, EnvCallbackKey) {
		t.Errorf("a wrong one is set: %v", err)
	}
}

func isSetting(err error, env string) bool {
	var setting *SettingError
	return errors.As(err, &setting) && setting.Env == env
}
