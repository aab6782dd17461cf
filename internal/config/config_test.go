package config

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"reelay/internal/callbackurl"
	"reelay/internal/version"
)

// everything is a binary that has all settings.
type everything struct {
	NATS      NATS      `embed:""`
	Broker    Broker    `embed:""`
	Providers Providers `embed:""`
	Pipeline  Pipeline  `embed:""`
	Webhook   Webhook   `embed:""`
	MCP       MCP       `embed:""`
	Console   Console   `embed:""`
	Notify    Notify    `embed:""`
	Artifacts Artifacts `embed:""`
	Guard     Guard     `embed:""`
	Ops       Ops       `embed:""`
}

// clearEnv makes the test independent of the environment it runs in.
func clearEnv(t *testing.T) {
	t.Helper()
	settings, err := Settings()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range settings {
		for _, name := range []string{s.Env, s.Env + "_FILE"} {
			t.Setenv(name, "")
			os.Unsetenv(name) // Setenv restores it
		}
	}
}

func parse(t *testing.T, args ...string) (everything, error) {
	t.Helper()
	c := everything{Providers: NewProviders(), Webhook: NewWebhook()}
	_, err := Parse(args, &c, "test", "a test", OpsListen("127.0.0.1:9999"),
		kong.Writers(&bytes.Buffer{}, &bytes.Buffer{}))
	return c, err
}

// wantSettings compares what was read with what is wanted, the flags of the providers by their values.
func wantSettings(t *testing.T, got, want everything, calls, callbacks map[string]string) {
	t.Helper()
	r, err := got.Providers.Resolve()
	if err != nil || !maps.Equal(r.Settings, calls) {
		t.Errorf("for calls: got %v, %v, want %v", r.Settings, err, calls)
	}
	if set, err := got.Webhook.Settings(); err != nil || !maps.Equal(set, callbacks) {
		t.Errorf("for callbacks: got %v, %v, want %v", set, err, callbacks)
	}
	got.Providers.Flags, got.Webhook.Flags = nil, nil
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestDefaults(t *testing.T) {
	for _, row := range []struct{ name, empty string }{
		{"unset", ""}, {"set and empty", "REELAY_TIMEOUT REELAY_SYNC REELAY_LISTEN REELAY_SANDBOX FAL_KEY"},
	} {
		t.Run(row.name, func(t *testing.T) {
			clearEnv(t)
			for _, name := range strings.Fields(row.empty) {
				t.Setenv(name, "")
			}
			got, err := parse(t)
			if err != nil {
				t.Fatal(err)
			}
			want := everything{
				Broker:    Broker{StoreDir: ".reelay", Listen: "127.0.0.1:4222", Sync: "always"},
				Pipeline:  Pipeline{PollInterval: 10 * time.Second, Timeout: 30 * time.Minute, Replicas: 1, MaxSends: 32, MaxPolls: 128},
				Webhook:   Webhook{WebhookListen: "127.0.0.1:8090", WebhookConns: 1024},
				MCP:       MCP{MCPListen: "127.0.0.1:8091", MCPProject: "default", ConfirmOver: 1},
				Console:   Console{ConsoleListen: "127.0.0.1:8080"},
				Artifacts: Artifacts{Listen: "127.0.0.1:8092", MaxBytes: 4 << 30, ProjectMaxBytes: "0", Retention: "0"},
				Ops:       Ops{OpsListen: "127.0.0.1:9999", LogLevel: "info", LogFormat: "text"},
			}
			wantSettings(t, got, want, nil, nil)
			if got.NATS.Given() {
				t.Error("NATS counts as given")
			}
		})
	}
}

func TestFlagsAndVariables(t *testing.T) {
	pem := filepath.Join(t.TempDir(), "pem")
	if err := os.WriteFile(pem, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	settings := []struct{ flag, env, value string }{
		{"--server", "NATS_URL", "nats://a:1,tls://b:2"},
		{"--context", "NATS_CONTEXT", "prod"},
		{"--creds", "NATS_CREDS", "/c"},
		{"--nkey", "NATS_NKEY", "/n"},
		{"--tlscert", "NATS_CERT", "/p"},
		{"--tlskey", "NATS_KEY", "/k"},
		{"--tlsca", "NATS_CA", "/a"},
		{"--inbox-prefix", "NATS_INBOX_PREFIX", "_INBOX.me"},
		{"--js-domain", "NATS_JS_DOMAIN", "hub"},
		{"--js-api-prefix", "NATS_JS_API_PREFIX", "js.from.acme"},
		{"--notify-file", "REELAY_NOTIFY_FILE", pem},
		{"--store-dir", "REELAY_STORE_DIR", "/s"},
		{"--listen", "REELAY_LISTEN", ":4333"},
		{"--sync", "REELAY_SYNC", "interval"},
		{"--sandbox", "REELAY_SANDBOX", "true"},
		{"--fal-url", "REELAY_FAL_URL", "https://f"},
		{"--minimax-url", "REELAY_MINIMAX_URL", "http://127.0.0.1:1"},
		{"--comfy-url", "REELAY_COMFY_URL", "http://gpu:8188/"},
		{"--replicate-url", "REELAY_REPLICATE_URL", "https://r/v1/"},
		{"--openai-videos-url", "REELAY_OPENAI_VIDEOS_URL", "http://gpu:8000/"},
		{"--group", "REELAY_GROUPS", "x=a:2,b;y=a,b"},
		{"--lane", "REELAY_LANES", "a=openai-videos:http://10.0.0.5,b=openai-videos:http://10.0.0.6"},
		{"--public-url", "REELAY_PUBLIC_URL", "https://p/x"},
		{"--no-callback", "REELAY_NO_CALLBACK", "fal"},
		{"--fal-platform-url", "REELAY_FAL_PLATFORM_URL", "https://q/"},
		{"--accept-new-store", "REELAY_ACCEPT_NEW_STORE", "true"},
		{"--epoch-dir", "REELAY_EPOCH_DIR", "/e"},
		{"--allow-unsynced-spending", "REELAY_ALLOW_UNSYNCED_SPENDING", "true"},
		{"--poll-interval", "REELAY_POLL_INTERVAL", "30s"},
		{"--timeout", "REELAY_TIMEOUT", "48h"},
		{"--max-sends", "REELAY_MAX_SENDS", "256"},
		{"--max-polls", "REELAY_MAX_POLLS", "1"},
		{"--prices", "REELAY_PRICES", "/p"},
		{"--default", "REELAY_DEFAULT", "video=fal:kling-v3,image=fal:flux-dev"},
		{"--replicas", "REELAY_REPLICAS", "5"},
		{"--join-world", "REELAY_JOIN_WORLD", "true"},
		{"--stream-max-bytes", "REELAY_STREAM_MAX_BYTES", "*=8388608,KV_reelay_tasks=16777216"},
		{"--webhook-listen", "REELAY_WEBHOOK_LISTEN", ":80"},
		{"--webhook-tls-cert", "REELAY_WEBHOOK_TLS_CERT", pem},
		{"--webhook-tls-key", "REELAY_WEBHOOK_TLS_KEY", pem},
		{"--webhook-proxies", "REELAY_WEBHOOK_PROXIES", "10.0.0.0/8, ::1"},
		{"--webhook-conns", "REELAY_WEBHOOK_CONNS", "10"},
		{"--fal-user-id", "REELAY_FAL_USER_ID", "user_abc"},
		{"--fal-jwks-url", "REELAY_FAL_JWKS_URL", "https://j"},
		{"--mcp-listen", "REELAY_MCP_LISTEN", ":81"},
		{"--mcp-tokens", "REELAY_MCP_TOKENS", pem},
		{"--mcp-project", "REELAY_PROJECT", "demo"},
		{"--confirm-over", "REELAY_CONFIRM_OVER", "2.5"},
		{"--console-listen", "REELAY_CONSOLE_LISTEN", ":82"},
		{"--console-users", "REELAY_CONSOLE_USERS", pem},
		{"--artifacts", "REELAY_ARTIFACTS", "nats://kept"},
		{"--archiver-listen", "REELAY_ARCHIVER_LISTEN", ":81"},
		{"--artifact-url", "REELAY_ARTIFACT_URL", "https://m/x"},
		{"--artifact-hosts", "REELAY_ARTIFACT_HOSTS", "10.0.0.1, cdn"},
		{"--artifact-max-bytes", "REELAY_ARTIFACT_MAX_BYTES", "1048576"},
		{"--artifact-project-bytes", "REELAY_ARTIFACT_PROJECT_BYTES", "0,demo=100"},
		{"--inputs-from", "REELAY_INPUTS_FROM", "s3://a?region=b,azblob://c/d"},
		{"--artifact-retention", "REELAY_ARTIFACT_RETENTION", "0,demo=24h"},
		{"--ops-listen", "REELAY_OPS_LISTEN", ":0"},
		{"--broker-tls-cert", "REELAY_BROKER_TLS_CERT", pem},
		{"--broker-tls-key", "REELAY_BROKER_TLS_KEY", pem},
		{"--broker-tls-ca", "REELAY_BROKER_TLS_CA", pem},
		{"--broker-tls-verify", "REELAY_BROKER_TLS_VERIFY", "true"},
		{"--log-level", "REELAY_LOG_LEVEL", "debug"},
		{"--log-format", "REELAY_LOG_FORMAT", "json"},
	}
	want := everything{
		NATS: NATS{
			Server: "nats://a:1,tls://b:2", Context: "prod", Creds: "/c", NKey: "/n", Cert: "/p", Key: "/k", CA: "/a",
			InboxPrefix: "_INBOX.me", JSDomain: "hub", JSAPIPrefix: "js.from.acme",
		},
		Broker: Broker{
			StoreDir: "/s", Listen: ":4333", Sync: "interval", TLSCert: pem, TLSKey: pem, TLSCA: pem, TLSVerify: true,
		},
		Providers: Providers{
			Sandbox: true, PublicURL: "https://p/x", NoCallback: "fal",
			Lanes:  Lanes{Lane: []string{"a=openai-videos:http://10.0.0.5", "b=openai-videos:http://10.0.0.6"}},
			Groups: Groups{Group: []string{"x=a:2,b", "y=a,b"}},
		},
		Pipeline: Pipeline{
			PollInterval: 30 * time.Second, Timeout: 48 * time.Hour, Prices: "/p",
			Default: []string{"video=fal:kling-v3", "image=fal:flux-dev"}, Replicas: 5,
			MaxSends: 256, MaxPolls: 1, JoinWorld: true, StreamMaxBytes: []string{"*=8388608", "KV_reelay_tasks=16777216"},
		},
		Webhook: Webhook{
			WebhookListen: ":80", WebhookTLSCert: pem, WebhookTLSKey: pem, WebhookProxies: "10.0.0.0/8, ::1", WebhookConns: 10,
		},
		MCP:     MCP{MCPListen: ":81", MCPTokens: pem, MCPProject: "demo", ConfirmOver: 2.5},
		Console: Console{ConsoleListen: ":82", ConsoleUsers: pem},
		Notify:  Notify{NotifyFile: pem},
		Artifacts: Artifacts{
			Store: "nats://kept", Listen: ":81", URL: "https://m/x", Hosts: "10.0.0.1, cdn", MaxBytes: 1 << 20,
			ProjectMaxBytes: "0,demo=100", Retention: "0,demo=24h", InputsFrom: []string{"s3://a?region=b", "azblob://c/d"},
		},
		Guard: Guard{AcceptNewStore: true, EpochDir: "/e", AllowUnsyncedSpending: true},
		Ops:   Ops{OpsListen: ":0", LogLevel: "debug", LogFormat: "json"},
	}
	calls := map[string]string{
		"fal-url": "https://f", "fal-platform-url": "https://q",
		"minimax-url": "http://127.0.0.1:1", "openai-videos-url": "http://gpu:8000",
		"replicate-url": "https://r/v1", "comfy-url": "http://gpu:8188",
	}
	callbacks := map[string]string{"fal-user-id": "user_abc", "fal-jwks-url": "https://j"}
	t.Run("table", func(t *testing.T) { // the table of settings has these and no others
		table, err := Settings()
		if err != nil {
			t.Fatal(err)
		}
		table = slices.DeleteFunc(table, func(s Setting) bool { return s.Flag == "" || s.Flag == "--config" }) // see TestFile
		for _, s := range settings {
			i := slices.IndexFunc(table, func(row Setting) bool { return row.Flag == s.flag && row.Env == s.env })
			if i < 0 || table[i].Help == "" || table[i].Section == "" {
				t.Fatalf("%s (%s) is not told as it should be: %+v", s.flag, s.env, table)
			}
			table = slices.Delete(table, i, i+1)
		}
		if len(table) > 0 {
			t.Errorf("not tried here: %+v", table)
		}
	})
	t.Run("flags", func(t *testing.T) {
		clearEnv(t)
		var args []string
		for _, s := range settings {
			args = append(args, s.flag+"="+s.value)
		}
		got, err := parse(t, args...)
		if err != nil {
			t.Fatal(err)
		}
		wantSettings(t, got, want, calls, callbacks)
	})
	t.Run("variables", func(t *testing.T) {
		clearEnv(t)
		for _, s := range settings {
			t.Setenv(s.env, s.value)
		}
		got, err := parse(t)
		if err != nil {
			t.Fatal(err)
		}
		wantSettings(t, got, want, calls, callbacks)
	})
}

func TestWrongValuesNameTheSetting(t *testing.T) {
	for _, row := range []struct{ flag, env, value, why string }{
		{"--server", "NATS_URL", "http://h:4222", `scheme "http" is not`},
		{"--server", "NATS_URL", "nats://u:hush@h:bad", "not a NATS URL"},
		{"--store-dir", "", "", "must not be empty"},
		{"--listen", "REELAY_LISTEN", "4222", "is not host:port"},
		{"--listen", "REELAY_LISTEN", "h:70000", "no port between"},
		{"--sync", "REELAY_SYNC", "never", "must be one of"},
		{"--sandbox", "REELAY_SANDBOX", "maybe", "maybe"},
		{"--fal-url", "REELAY_FAL_URL", "http://fal.example", "must be https"},
		{"--minimax-url", "REELAY_MINIMAX_URL", "minimax", "not an absolute URL"},
		{"--public-url", "REELAY_PUBLIC_URL", "https://u:hush@h", "no user"},
		{"--poll-interval", "REELAY_POLL_INTERVAL", "4s", "4s is not between 5s and 30s"},
		{"--poll-interval", "REELAY_POLL_INTERVAL", "31s", "31s is not between 5s and 30s"},
		{"--max-sends", "REELAY_MAX_SENDS", "3", "3 is not between 4 and 256"},
		{"--max-polls", "REELAY_MAX_POLLS", "0", "0 is not between 1 and 4096"},
		{"--poll-interval", "REELAY_POLL_INTERVAL", "soon", "duration"},
		{"--timeout", "REELAY_TIMEOUT", "999ms", "is not between 1s and 48h"},
		{"--timeout", "REELAY_TIMEOUT", "49h", "is not between 1s and 48h"},
		{"--replicas", "REELAY_REPLICAS", "0", "0 is not between 1 and 5"},
		{"--replicas", "REELAY_REPLICAS", "6", "6 is not between 1 and 5"},
		{"--replicas", "REELAY_REPLICAS", "two", "two"},
		{"--stream-max-bytes", "REELAY_STREAM_MAX_BYTES", "*=8388607", "is not STREAM=BYTES with 8388608 to"},
		{"--stream-max-bytes", "REELAY_STREAM_MAX_BYTES", "OTHER=8388608", "names no stream of reelay"},
		{"--webhook-listen", "REELAY_WEBHOOK_LISTEN", "8090", "is not host:port"},
		{"--webhook-tls-cert", "REELAY_WEBHOOK_TLS_CERT", "/no/such/file", "certificate and key must be given together"},
		{"--server", "NATS_URL", "nats://u:5#hush@h:4222", "not a NATS URL"},
		{"--server", "NATS_URL", "nats://u:5/hush@h:4222", "not a NATS URL"},
		{"--server", "NATS_URL", "nats://u:hu sh@ho st:4222", "not a NATS URL"},
		{"--webhook-proxies", "REELAY_WEBHOOK_PROXIES", "10.0.0.0/8,proxy", `"proxy" is neither an address nor a prefix`},
		{"--webhook-proxies", "REELAY_WEBHOOK_PROXIES", "10.0.0.0/33", `"10.0.0.0/33" is neither`},
		{"--webhook-proxies", "REELAY_WEBHOOK_PROXIES", strings.Repeat("10.0.0.1,", 257), "more than 256"},
		{"--webhook-conns", "REELAY_WEBHOOK_CONNS", "0", "0 is not between 1 and 100000"},
		{"--fal-jwks-url", "REELAY_FAL_JWKS_URL", "http://j", "must be https"},
		{"--mcp-listen", "REELAY_MCP_LISTEN", "8091", "is not host:port"},
		{"--mcp-tokens", "REELAY_MCP_TOKENS", "/no/such/file", "no such file"},
		{"--confirm-over", "REELAY_CONFIRM_OVER", "-1", "must be 0 to 1000000 US dollars"},
		{"--mcp-project", "REELAY_PROJECT", "a.b", "must be 1 to 64 characters"},
		{"--console-listen", "REELAY_CONSOLE_LISTEN", "8080", "is not host:port"},
		{"--console-users", "REELAY_CONSOLE_USERS", "/no/such/file", "no such file"},
		{"--ops-listen", "REELAY_OPS_LISTEN", "localhost", "is not host:port"},
		{"--log-level", "REELAY_LOG_LEVEL", "loud", "must be one of"},
		{"--log-format", "REELAY_LOG_FORMAT", "xml", "must be one of"},
	} {
		check := func(t *testing.T, err error) {
			t.Helper()
			var setting *SettingError
			if !errors.As(err, &setting) {
				t.Fatalf("got %v, want a SettingError", err)
			}
			if setting.Flag != row.flag || row.env != "" && setting.Env != row.env {
				t.Errorf("names %s (%s), want %s (%s)", setting.Flag, setting.Env, row.flag, row.env)
			}
			if !strings.Contains(err.Error(), row.why) {
				t.Errorf("got %q, want %q in it", err, row.why)
			}
			if strings.Contains(err.Error(), "hush") {
				t.Errorf("the error tells a password: %v", err)
			}
		}
		t.Run(row.flag+"="+row.value, func(t *testing.T) {
			clearEnv(t)
			_, err := parse(t, row.flag+"="+row.value)
			check(t, err)
		})
		if row.env == "" {
			continue
		}
		t.Run(row.env+"="+row.value, func(t *testing.T) {
			clearEnv(t)
			t.Setenv(row.env, row.value)
			_, err := parse(t)
			check(t, err)
		})
	}
}

// TestEmptyVariableKeepsItsName gives a wrong flag beside an empty variable.
func TestEmptyVariableKeepsItsName(t *testing.T) {
	clearEnv(t)
	t.Setenv("REELAY_TIMEOUT", "")
	_, err := parse(t, "--timeout=soon")
	if err == nil || !strings.HasPrefix(err.Error(), "--timeout (REELAY_TIMEOUT): ") {
		t.Errorf("got %v", err)
	}
}

func TestKeys(t *testing.T) {
	raw := strings.Repeat("k", callbackurl.KeyBytes)
	good := base64.StdEncoding.EncodeToString([]byte(raw))
	clearEnv(t)
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("mm-hush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("FAL_KEY", "fal-hush")
	t.Setenv("MINIMAX_API_KEY_FILE", file)
	t.Setenv(EnvCallbackKey, "new:"+good+", old:"+good)

	r, err := Providers{}.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Keys) != 2 || r.Keys["fal"].Reveal() != "fal-hush" || r.Keys["minimax"].Reveal() != "mm-hush" {
		t.Errorf("got %d keys, fal %q, minimax %q", len(r.Keys), r.Keys["fal"].Reveal(), r.Keys["minimax"].Reveal())
	}
	if text := fmt.Sprintf("%v %+v %#v", r, r, r); strings.Contains(text, "hush") {
		t.Errorf("a key is printed: %s", text)
	}
	if len(r.CallbackKeys) != 2 || r.CallbackKeys[0].ID != "new" || r.CallbackKeys[1].ID != "old" ||
		r.CallbackKeys[0].Secret.Reveal() != raw {
		t.Errorf("got %d callback keys: %v", len(r.CallbackKeys), r.CallbackKeys)
	}

	r, err = Providers{Sandbox: true}.Resolve()
	if err != nil || len(r.Keys) > 0 {
		t.Errorf("the sandbox holds keys of paid accounts (%v)", err)
	}
}

func TestKeyPair(t *testing.T) {
	clearEnv(t)
	t.Setenv("FAL_KEY_ID", " id\n")
	t.Setenv("FAL_KEY_SECRET", "hush")
	r, err := Providers{}.Resolve()
	if err != nil || len(r.Keys) != 1 || r.Keys["fal"].Reveal() != "id:hush" {
		t.Errorf("got %d keys, fal %q, error %v", len(r.Keys), r.Keys["fal"].Reveal(), err)
	}
	t.Setenv("FAL_KEY", "whole")
	if r, err = (Providers{}).Resolve(); err != nil || r.Keys["fal"].Reveal() != "whole" {
		t.Errorf("fal %q beside a pair, error %v", r.Keys["fal"].Reveal(), err)
	}
}

func TestWrongKeysNameTheVariable(t *testing.T) {
	short := base64.StdEncoding.EncodeToString([]byte("hush"))
	good := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", callbackurl.KeyBytes)))
	for _, row := range []struct{ env, value, want string }{
		{EnvCallbackKey, good, "REELAY_CALLBACK_KEY: key 1 is not <kid>"},
		{EnvCallbackKey, "a b:" + good, "REELAY_CALLBACK_KEY: key 1 is not <kid>"},
		{EnvCallbackKey, "a:" + good + ",b:" + good[:8] + "!", "REELAY_CALLBACK_KEY: key 2 is not base64"},
		{EnvCallbackKey, "a:" + short, "REELAY_CALLBACK_KEY: key 1 has 4 bytes, not 32"},
		{EnvCallbackKey, "a:" + good + ",a:" + good, "REELAY_CALLBACK_KEY: two keys have the same kid"},
		{"FAL_KEY", "Key a:b", "FAL_KEY: set the key alone, without the word Key"},
		{"MINIMAX_API_KEY", `"sk"`, "MINIMAX_API_KEY: the quotes are part of the key"},
		{"FAL_KEY_ID", "a", "FAL_KEY_SECRET: must be set too: the key of fal is FAL_KEY_ID and FAL_KEY_SECRET together"},
		{"FAL_KEY_SECRET", "b", "FAL_KEY_ID: must be set too"},
		{"FAL_KEY_ID", "'a'", "FAL_KEY_ID: the quotes are part of the key"},
		{"FAL_KEY_FILE", "/no/such/file", "FAL_KEY_FILE: "},
		{"MINIMAX_API_KEY_FILE", "/no/such/file", "MINIMAX_API_KEY_FILE: "},
	} {
		t.Run(row.env+" "+row.want, func(t *testing.T) {
			clearEnv(t)
			t.Setenv(row.env, row.value)
			_, err := parse(t)
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Fatalf("got %v, want %q in it", err, row.want)
			}
			for _, secret := range []string{good, short, good[:8]} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error holds a key: %v", err)
				}
			}
		})
	}
}

func TestHelpAndReport(t *testing.T) {
	clearEnv(t)
	var out, report bytes.Buffer
	var c everything
	_, err := Parse([]string{"--help"}, &c, "test", "a test of help", kong.Writers(&out, &out))
	if !errors.Is(err, ErrHelp) {
		t.Fatalf("got %v, want ErrHelp", err)
	}
	for _, want := range []string{"a test of help", "--poll-interval", "$REELAY_POLL_INTERVAL", "127.0.0.1:4222"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the usage lacks %q:\n%s", want, &out)
		}
	}
	if code := Report(&report, "test", err); code != 0 || report.Len() > 0 {
		t.Errorf("help: code %d, text %q", code, &report)
	}
	_, err = parse(t, "--nonsense")
	if code := Report(&report, "test", err); code != ExitUsage || !strings.Contains(report.String(), "--nonsense") {
		t.Errorf("unknown flag: code %d, text %q", code, &report)
	}
}

// TestVersion: every binary tells its version and does nothing else.
func TestVersion(t *testing.T) {
	clearEnv(t)
	var out bytes.Buffer
	var c everything
	_, err := Parse([]string{"--version"}, &c, "test", "a test", kong.Writers(&out, &out))
	if !errors.Is(err, ErrHelp) || out.String() != version.Get().Version+"\n" {
		t.Errorf("got %v and %q", err, &out)
	}
}

func TestLogger(t *testing.T) {
	for _, row := range []struct{ level, format, want string }{
		{"info", "text", "level=INFO msg=hello n=1\nlevel=WARN"},
		{"warn", "text", "level=WARN"},
		{"debug", "json", `"level":"DEBUG"`},
	} {
		var b bytes.Buffer
		log := Ops{LogLevel: row.level, LogFormat: row.format}.Logger(&b)
		log.Debug("details")
		log.Info("hello", "n", 1)
		log.Warn("careful")
		var got []string
		for line := range strings.Lines(b.String()) {
			_, rest, _ := strings.Cut(line, " ") // the time
			if row.format == "json" {
				rest = line
			}
			got = append(got, rest)
		}
		if text := strings.Join(got, ""); !strings.Contains(text, row.want) || strings.HasPrefix(row.want, "level") &&
			!strings.HasPrefix(text, row.want) {
			t.Errorf("%s %s: got %q, want %q", row.level, row.format, text, row.want)
		}
	}
}

// TestIgnoredProxy: the variable is named, its value, which may hold a password, is not.
func TestIgnoredProxy(t *testing.T) {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"} {
		t.Setenv(name, "")
	}
	if got := IgnoredProxy(); got != "" {
		t.Errorf("%q, and none is set", got)
	}
	t.Setenv("all_proxy", "http://user:hush@proxy.test:3128")
	if got := IgnoredProxy(); got != "all_proxy" {
		t.Errorf("%q, want all_proxy", got)
	}
}

// TestFile: a file of settings has the names of the flags; a flag wins over a variable, and that over the file. What is
// no setting of any binary is refused by name.
func TestFile(t *testing.T) {
	clearEnv(t)
	path := filepath.Join(t.TempDir(), "reelay.yaml")
	text := "replicas: 3\nlisten: 127.0.0.1:4333\nsync: interval\nlane:\n  - gpu1=openai-videos:http://10.0.0.5:8000\n" +
		"  - gpu2=openai-videos:http://gpu2:30000\npoll-interval: 7s\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("REELAY_SYNC", "always")
	for _, by := range []string{"flag", "variable"} {
		args := []string{"--listen", "127.0.0.1:4444"}
		if by == "flag" {
			args = append(args, "--config", path)
		} else {
			t.Setenv("REELAY_CONFIG", path)
		}
		got, err := parse(t, args...)
		if err != nil {
			t.Fatal(err)
		}
		if got.Pipeline.Replicas != 3 || got.Broker.Listen != "127.0.0.1:4444" || got.Broker.Sync != "always" ||
			len(got.Providers.Lane) != 2 || got.Pipeline.PollInterval != 7*time.Second {
			t.Errorf("by %s: %+v", by, got)
		}
	}
	for text, want := range map[string]string{
		"replicaz: 3":                       "replicaz: there is no such setting",
		"fal-key: secret":                   "fal-key: there is no such setting",
		"provider: fal":                     "provider: there is no such setting",
		"accept-new-store: true":            "accept-new-store: it is for one start only",
		"replicas: many":                    "--replicas",
		"replicas: [":                       "--config",
		"- a":                               "--config",
		strings.Repeat("#", maxFileBytes+1): "larger than",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := parse(t); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, want %q", text, err, want)
		}
	}
	t.Setenv("REELAY_CONFIG", filepath.Join(t.TempDir(), "none"))
	var setting *SettingError
	if _, err := parse(t); !errors.As(err, &setting) {
		t.Errorf("a file that is not there: %v", err)
	}
}

// TestPerProject: a setting is one for all projects, and others for single ones.
func TestPerProject(t *testing.T) {
	all, of, err := Artifacts{Retention: "720h, demo=24h"}.Retentions()
	if err != nil || all != 720*time.Hour || !reflect.DeepEqual(of, map[string]time.Duration{"demo": 24 * time.Hour}) {
		t.Errorf("%v, %v, %v", all, of, err)
	}
	if most, maxima, err := (Artifacts{ProjectMaxBytes: "demo=5"}).ProjectBytes(); err != nil || most != 0 || maxima["demo"] != 5 {
		t.Errorf("%v, %v, %v", most, maxima, err)
	}
	for _, bad := range []string{"1h", "0,demo", "0,a.b=24h", "0,demo=-24h", "x"} {
		if _, _, err := (Artifacts{Retention: bad}).Retentions(); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
