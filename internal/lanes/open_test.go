package lanes_test

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/config"
	"reelay/internal/lanes"
	"reelay/internal/provider"
	"reelay/internal/provider/registry"
	"reelay/internal/secret"
)

// keys returns a key for each of the providers.
func keys(providers ...string) map[string]secret.Value {
	all := map[string]secret.Value{}
	for _, name := range providers {
		all[name] = secret.New(name + "-id:" + name + "-secret")
	}
	return all
}

func TestOpen(t *testing.T) {
	rows := []struct {
		name     string
		resolved config.Resolved
		lanes    []string
		emulated bool
		interval time.Duration
	}{
		{"fal alone", config.Resolved{Keys: keys("fal")}, []string{"fal"}, false, 10 * time.Second},
		{"MiniMax alone", config.Resolved{Keys: keys("minimax")}, []string{"minimax"}, false, 10 * time.Second},
		{"both", config.Resolved{Keys: keys("fal", "minimax")}, []string{"fal", "minimax"}, false, 10 * time.Second},
		{"sandbox", config.Resolved{Sandbox: true}, registry.Names(), true, 500 * time.Millisecond},
		{
			"sandbox with keys",
			config.Resolved{Sandbox: true, Keys: keys("fal")},
			registry.Names(),
			true,
			500 * time.Millisecond,
		},
		{
			"sandbox elsewhere",
			config.Resolved{Sandbox: true, Settings: map[string]string{"fal-url": "http://127.0.0.1:9"}},
			registry.Names(),
			true, 500 * time.Millisecond,
		},
	}
	rows = append(rows, []struct {
		name     string
		resolved config.Resolved
		lanes    []string
		emulated bool
		interval time.Duration
	}{
		{
			"a server by its address",
			config.Resolved{Settings: map[string]string{"openai-videos-url": "http://gpu:8000"}},
			[]string{"openai-videos"},
			false, 10 * time.Second,
		},
		{
			"lanes",
			config.Resolved{Keys: keys("fal"), Lanes: []config.Lane{
				{Name: "gpu1", Provider: "openai-videos", URL: "http://10.0.0.5:8000"},
				{Name: "gpu2", Provider: "openai-videos", URL: "http://10.0.0.6:8000", Key: secret.New("sk-2")},
			}},
			[]string{"fal", "gpu1", "gpu2"},
			false, 10 * time.Second,
		},
		{
			"accounts beside those of the providers' own names",
			config.Resolved{Keys: keys("fal"), Lanes: []config.Lane{
				{Name: "fal-team2", Provider: "fal", Key: secret.New("a:b")},
				{Name: "minimax-cn", Provider: "minimax", URL: "https://api.minimaxi.com", Key: secret.New("k")},
			}},
			[]string{"fal", "fal-team2", "minimax-cn"},
			false, 10 * time.Second,
		},
		{
			"an account in the sandbox",
			config.Resolved{Sandbox: true, Lanes: []config.Lane{{Name: "fal-team2", Provider: "fal"}}},
			append(registry.Names(), "fal-team2"),
			true, 500 * time.Millisecond,
		},
		{
			"a lane in the sandbox",
			config.Resolved{Sandbox: true, Lanes: []config.Lane{
				{Name: "gpu1", Provider: "openai-videos", URL: "http://127.0.0.1:8000"},
			}},
			append(registry.Names(), "gpu1"),
			true, 500 * time.Millisecond,
		},
	}...)
	for _, row := range rows {
		all, err := lanes.Open(row.resolved, lanes.Options{PollInterval: 10 * time.Second})
		if err != nil {
			t.Errorf("%s: %v", row.name, err)
			continue
		}
		var names []string
		for _, a := range all {
			names = append(names, a.Name)
			if a.Driver == nil || a.Emulated != row.emulated || a.PollInterval != row.interval ||
				a.Horizon(events.Task{
					TaskType: events.Video, CreatedAt: time.Unix(0, 0), Deadline: time.Unix(1800, 0),
				}) < 15*time.Minute ||
				a.Provider != registry.Find(a.Provider).Name || a.Free != registry.Find(a.Provider).SelfHosted {
				t.Errorf("%s: %+v", row.name, a)
			}
		}
		if !slices.Equal(names, row.lanes) {
			t.Errorf("%s: %v, want %v", row.name, names, row.lanes)
		}
	}
}

func TestOpenFails(t *testing.T) {
	if _, err := lanes.Open(config.Resolved{}, lanes.Options{}); !errors.Is(err, lanes.ErrNone) {
		t.Errorf("nothing configured: %v, want ErrNone", err)
	}
	rows := []struct {
		resolved  config.Resolved
		flag, env string
	}{
		{
			config.Resolved{Sandbox: true, Settings: map[string]string{"fal-url": "https://queue.fal.run"}},
			"--fal-url",
			"REELAY_FAL_URL",
		},
		{
			config.Resolved{Sandbox: true, Settings: map[string]string{"minimax-url": "https://api.minimax.io"}},
			"--minimax-url", "REELAY_MINIMAX_URL",
		},
		{
			config.Resolved{Sandbox: true, Settings: map[string]string{"fal-url": "http://127.0.0.1.evil.test"}},
			"--fal-url",
			"REELAY_FAL_URL",
		},
		{
			config.Resolved{Sandbox: true, Settings: map[string]string{"fal-url": "http://localhost@evil.test"}},
			"--fal-url",
			"REELAY_FAL_URL",
		},
	}
	away := config.Lane{Name: "gpu1", Provider: "openai-videos", URL: "http://10.0.0.5:8000"}
	rows = append(rows, struct {
		resolved  config.Resolved
		flag, env string
	}{config.Resolved{Sandbox: true, Lanes: []config.Lane{away}}, "--lane", "REELAY_LANES"})
	for _, row := range rows {
		_, err := lanes.Open(row.resolved, lanes.Options{})
		var setting *config.SettingError
		if !errors.As(err, &setting) || setting.Flag != row.flag || setting.Env != row.env {
			t.Errorf("%+v: %v, want an error of %s", row.resolved, err, row.flag)
		}
	}
	for name, r := range map[string]config.Resolved{
		"fal":     {Keys: keys("fal"), Settings: map[string]string{"fal-url": "ftp://127.0.0.1"}},
		"minimax": {Keys: keys("minimax"), Settings: map[string]string{"minimax-url": "ftp://127.0.0.1"}},
	} {
		_, err := lanes.Open(r, lanes.Options{})
		if err == nil {
			t.Errorf("%s accepts a base URL that is no HTTP", name)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the key is in the error: %v", name, err)
		}
	}
}

// TestEveryProvider: each row of the registry has a driver, and callbacks that are taken without an API key.
func TestEveryProvider(t *testing.T) {
	opened, err := lanes.Open(config.Resolved{Sandbox: true}, lanes.Options{})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	taken, err := lanes.OpenCallbacks(lanes.CallbackOptions{Sandbox: true, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range registry.All() {
		if l := opened[i]; l.Name != p.Name || l.Handshake != p.Handshake || len(l.Limits) != len(p.Limits) {
			t.Errorf("%s is opened as %+v", p.Name, l)
		}
		if l := taken[i]; l.Name != p.Name || (l.Handshake != nil) != p.Handshake {
			t.Errorf("%s is heard as %+v", p.Name, l)
		}
	}
}

// TestCallbackAccounts: another account's callbacks are told by what is its own, and not by what the first has.
func TestCallbackAccounts(t *testing.T) {
	for _, env := range []string{"REPLICATE_WEBHOOK_SECRET", "TEAM3_WEBHOOK_SECRET", "TEAM3_WEBHOOK_SECRET_FILE"} {
		t.Setenv(env, "")
	}
	t.Setenv("FAL_TEAM2_USER_ID", "user_two")
	t.Setenv("TEAM3_WEBHOOK_SECRET", "whsec_c2VjcmV0LW9mLXRlYW0tdGhyZWU=")
	all, err := lanes.OpenCallbacks(lanes.CallbackOptions{
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Lanes: []config.Lane{
			{Name: "fal-team2", Provider: "fal"}, {Name: "team3", Provider: "replicate"}, {Name: "team4", Provider: "replicate"},
		},
	})
	if err != nil || len(all) != len(registry.All())+3 {
		t.Fatalf("%d lanes, %v", len(all), err)
	}
	byName := map[string]provider.CallbackLane{}
	for _, l := range all {
		byName[l.Name] = l
	}
	if byName["team3"].Verifier == nil || byName["team4"].Verifier != nil || byName["replicate"].Verifier != nil {
		t.Error("of Replicate's accounts, not just the one with a secret has its webhooks verified")
	}
	for user, want := range map[string]error{"user_one": provider.ErrCallbackAccount, "user_two": provider.ErrCallbackTime} {
		err := byName["fal-team2"].Verifier.Verify(t.Context(), http.Header{
			"X-Fal-Webhook-Request-Id": {"r"}, "X-Fal-Webhook-User-Id": {user}, "X-Fal-Webhook-Timestamp": {"1000"},
			"X-Fal-Webhook-Signature": {strings.Repeat("ab", 64)},
		}, nil, time.Now())
		if !errors.Is(err, want) {
			t.Errorf("signed for %s: %v, want %v", user, err, want)
		}
	}
}

// a wiretap answers nothing and remembers what was asked.
type wiretap struct{ seen []*http.Request }

func (w *wiretap) RoundTrip(r *http.Request) (*http.Response, error) {
	w.seen = append(w.seen, r)
	return nil, io.ErrUnexpectedEOF
}

// TestSandboxSendsNoKey: whatever keys the environment holds, in the sandbox they go nowhere, and nothing leaves the
// machine.
func TestSandboxSendsNoKey(t *testing.T) {
	tap := &wiretap{}
	all, err := lanes.Open(config.Resolved{Sandbox: true, Keys: keys("fal", "minimax")}, lanes.Options{Transport: tap})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		ref, err := a.Driver.Ref(registry.Find(a.Provider).ExampleModel, "123")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Driver.Poll(t.Context(), ref); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v, want the tap's error", a.Name, err)
		}
	}
	if len(tap.seen) < len(all) {
		t.Fatalf("%d calls by %d lanes", len(tap.seen), len(all))
	}
	for _, r := range tap.seen {
		if r.URL.Hostname() != "127.0.0.1" {
			t.Errorf("asked %s", r.URL.Host)
		}
		if auth := r.Header.Get("Authorization"); !strings.HasSuffix(auth, " sandbox") {
			t.Errorf("%s is asked with a key that is not the sandbox's", r.URL.Host)
		}
	}
}
