package mixin_test

import (
	"encoding/json"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"reelay/internal/allinone"
	"reelay/internal/callbackurl"
	"reelay/internal/config"
	"reelay/internal/emulator"
	"reelay/internal/mixin"
	"reelay/internal/natsd"
	"reelay/internal/proc"
	"reelay/internal/secret"
	"reelay/internal/test/broker"
	"reelay/internal/test/sim"
)

func TestMain(m *testing.M) { sim.Main(m) }

var (
	named    = regexp.MustCompile(`\breelay_[a-z_]+[a-z]`)
	selector = regexp.MustCompile(`\b(reelay_[a-z_]+[a-z])\{([^}]*)\}`)
	matcher  = regexp.MustCompile(`([a-z_]+)(?:=~|!~|!=|=)`)
	desc     = regexp.MustCompile(`^Desc\{fqName: "([^"]+)".*variableLabels: \{([^}]*)\}`)
)

// TestMetrics: every metric that is named is registered by a service with the labels that it is selected by.
func TestMetrics(t *testing.T) {
	broker.Bubble(t, func(t *testing.T) {
		p := proc.New(slog.New(slog.DiscardHandler))
		t.Cleanup(func() {
			if err := p.Stop(); err != nil {
				t.Error(err)
			}
		})
		known := registered(t, p)
		for _, text := range []string{string(mixin.Rules()), string(mixin.Dashboard())} {
			for _, name := range named.FindAllString(text, -1) {
				if strings.HasSuffix(name, "_rate") || strings.HasSuffix(name, "_increase") ||
					slices.Contains([]string{"reelay_polls_per_task", "reelay_task_success", "reelay_forecast_inside"}, name) {
					continue // what a rule records
				}
				if _, ok := known[family(name, known)]; !ok {
					t.Errorf("no service registers %s", name)
				}
			}
			for _, s := range selector.FindAllStringSubmatch(strings.ReplaceAll(text, `\"`, `"`), -1) {
				for _, m := range matcher.FindAllStringSubmatch(s[2], -1) {
					if labels := known[family(s[1], known)]; !slices.Contains(labels, m[1]) {
						t.Errorf("%s is selected by %s and has the labels %v", s[1], m[1], labels)
					}
				}
			}
		}
	})
}

// family is the metric of a name: those of a histogram have endings.
func family(name string, known map[string][]string) string {
	for _, end := range []string{"_bucket", "_sum", "_count"} {
		if base, ok := strings.CutSuffix(name, end); ok && known[name] == nil {
			return base
		}
	}
	return name
}

// registered starts a sandbox, and returns the metrics of all its services with their labels.
func registered(t *testing.T, p *proc.Process) map[string][]string {
	t.Helper()
	network := &sim.Network{}
	providers := config.Resolved{Sandbox: true, CallbackKeys: []callbackurl.Key{{
		ID: "k1", Secret: secret.New(strings.Repeat("k", callbackurl.KeyBytes)),
	}}}
	_, err := allinone.Start(t.Context(), p, allinone.Options{
		Artifacts: config.Artifacts{
			Store: "file://" + t.TempDir(), Listen: config.ArchiverListen, MaxBytes: config.MaxArtifactBytes,
		},
		StoreDir: t.TempDir(), Sync: natsd.SyncInterval, Providers: providers, ListenWebhook: network.Listen,
		Speed:           emulator.Speed{Queue: 10 * time.Second, Run: 20 * time.Second, Position: 3},
		SandboxInterval: 2 * time.Second, LeaseTTL: 30 * time.Second, ListenEmulator: network.Listen,
		ListenArchiver: network.Listen, Dial: network.Dial, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	known := map[string][]string{"reelay_build_info": nil}
	descs := make(chan *prometheus.Desc, 1_000)
	p.Describe(descs)
	close(descs)
	for d := range descs {
		if m := desc.FindStringSubmatch(d.String()); m != nil {
			known[m[1]] = append(strings.Split(m[2], ","), "service")
		}
	}
	return known
}

// TestDashboard: it can be read, and no two panels have one place or one id.
func TestDashboard(t *testing.T) {
	var d struct {
		Panels []struct {
			ID      int
			Title   string
			GridPos struct{ X, Y int }
		}
	}
	if err := json.Unmarshal(mixin.Dashboard(), &d); err != nil || len(d.Panels) < 20 {
		t.Fatalf("%d panels, %v", len(d.Panels), err)
	}
	seen := map[any]string{}
	for _, p := range d.Panels {
		for _, key := range []any{p.ID, p.GridPos} {
			if other, ok := seen[key]; ok {
				t.Errorf("%q and %q have the same %v", other, p.Title, key)
			}
			seen[key] = p.Title
		}
	}
}

// TestSummaries: each alert has a severity, a summary and a description of what to do.
func TestSummaries(t *testing.T) {
	alerts := strings.Split(string(mixin.Rules()), "- alert: ")[1:]
	if len(alerts) < 10 {
		t.Fatalf("%d alerts", len(alerts))
	}
	for _, a := range alerts {
		for _, part := range []string{"severity: ", "summary: ", "description: "} {
			if strings.Count(a, part) != 1 {
				t.Errorf("not one %q in %s", part, a)
			}
		}
	}
}
