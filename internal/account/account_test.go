package account_test

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/account"
	"reelay/internal/config"
	"reelay/internal/secret"
)

var (
	falKey     = secret.New("fal-id:fal-secret")
	minimaxKey = secret.New("minimax-secret")
)

func TestOpen(t *testing.T) {
	rows := []struct {
		name     string
		resolved config.Resolved
		lanes    []string
		emulated bool
		interval time.Duration
	}{
		{"fal alone", config.Resolved{FalKey: falKey}, []string{"fal"}, false, 10 * time.Second},
		{"MiniMax alone", config.Resolved{MinimaxKey: minimaxKey}, []string{"minimax"}, false, 10 * time.Second},
		{"both", config.Resolved{FalKey: falKey, MinimaxKey: minimaxKey}, []string{"fal", "minimax"}, false, 10 * time.Second},
		{"sandbox", config.Resolved{Sandbox: true}, []string{"fal", "minimax"}, true, 500 * time.Millisecond},
		{"sandbox with keys", config.Resolved{Sandbox: true, FalKey: falKey}, []string{"fal", "minimax"}, true, 500 * time.Millisecond},
		{"sandbox elsewhere", config.Resolved{Sandbox: true, FalURL: "http://127.0.0.1:9"}, []string{"fal", "minimax"}, true, 500 * time.Millisecond},
	}
	for _, row := range rows {
		all, err := account.Open(row.resolved, account.Options{Interval: 10 * time.Second})
		if err != nil {
			t.Errorf("%s: %v", row.name, err)
			continue
		}
		var lanes []string
		for _, a := range all {
			lanes = append(lanes, a.Name)
			if a.Driver == nil || a.Emulated != row.emulated || a.PollInterval != row.interval || a.Horizon(events.Task{CreatedAt: time.Unix(0, 0), Deadline: time.Unix(1800, 0)}) < time.Hour || a.Provider != a.Name {
				t.Errorf("%s: %+v", row.name, a)
			}
			if !slices.Contains(account.Known(), a.Provider) {
				t.Errorf("%s: %s is not known", row.name, a.Provider)
			}
		}
		if !slices.Equal(lanes, row.lanes) {
			t.Errorf("%s: %v, want %v", row.name, lanes, row.lanes)
		}
	}
}

func TestOpenFails(t *testing.T) {
	if _, err := account.Open(config.Resolved{}, account.Options{}); !errors.Is(err, account.ErrNone) {
		t.Errorf("nothing configured: %v, want ErrNone", err)
	}
	rows := []struct {
		resolved  config.Resolved
		flag, env string
	}{
		{config.Resolved{Sandbox: true, FalURL: "https://queue.fal.run"}, "--fal-url", "REELAY_FAL_URL"},
		{config.Resolved{Sandbox: true, MinimaxURL: "https://api.minimax.io"}, "--minimax-url", "REELAY_MINIMAX_URL"},
		{config.Resolved{Sandbox: true, FalURL: "http://127.0.0.1.evil.test"}, "--fal-url", "REELAY_FAL_URL"},
		{config.Resolved{Sandbox: true, FalURL: "http://localhost@evil.test"}, "--fal-url", "REELAY_FAL_URL"},
	}
	for _, row := range rows {
		_, err := account.Open(row.resolved, account.Options{})
		var setting *config.SettingError
		if !errors.As(err, &setting) || setting.Flag != row.flag || setting.Env != row.env {
			t.Errorf("%+v: %v, want an error of %s", row.resolved, err, row.flag)
		}
	}
	for name, r := range map[string]config.Resolved{
		"fal": {FalKey: falKey, FalURL: "ftp://127.0.0.1"}, "minimax": {MinimaxKey: minimaxKey, MinimaxURL: "ftp://127.0.0.1"},
	} {
		_, err := account.Open(r, account.Options{})
		if err == nil {
			t.Errorf("%s accepts a base URL that is no HTTP", name)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the key is in the error: %v", name, err)
		}
	}
}

// a wiretap answers nothing and remembers what was asked.
type wiretap struct{ seen []*http.Request }

func (w *wiretap) RoundTrip(r *http.Request) (*http.Response, error) {
	w.seen = append(w.seen, r)
	return nil, io.ErrUnexpectedEOF
}

// TestSandboxSendsNoKey: whatever keys the environment holds, in the sandbox they go nowhere, and nothing leaves the machine.
func TestSandboxSendsNoKey(t *testing.T) {
	tap := &wiretap{}
	all, err := account.Open(config.Resolved{Sandbox: true, FalKey: falKey, MinimaxKey: minimaxKey}, account.Options{Transport: tap})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		model := map[string]string{"fal": "fal-ai/kling-video/v3/pro/text-to-video", "minimax": "MiniMax-Hailuo-2.3"}[a.Provider]
		ref, err := a.Driver.Ref(model, "123")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Driver.Poll(t.Context(), ref); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v, want the tap's error", a.Name, err)
		}
	}
	if len(tap.seen) < len(all) {
		t.Fatalf("%d calls by %d accounts", len(tap.seen), len(all))
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
