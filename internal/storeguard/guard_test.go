package storeguard

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/bus"
	"reelay/internal/natsd"
	"reelay/internal/test/broker"
	"reelay/internal/test/long"
)

func TestMain(m *testing.M) { broker.Main(m) }

// A bench is a broker in a bubble, and a journal's directory.
type bench struct {
	*testing.T
	store, dir string
	srv        *natsd.Server
	bus        *bus.Bus
	log        *slog.Logger
}

func bubble(t *testing.T, f func(b *bench)) {
	t.Helper()
	broker.Bubble(t, func(t *testing.T) {
		b := &bench{
			T: t, store: filepath.Join(t.TempDir(), "nats"), dir: t.TempDir(),
			log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		}
		b.start()
		defer b.stop()
		f(b)
	})
}

func (b *bench) ok(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bench) start() {
	b.Helper()
	var err error
	b.srv, err = natsd.Start(natsd.Options{StoreDir: b.store, Sync: natsd.SyncInterval, Log: b.log})
	b.ok(err)
	nc, err := b.srv.Connect("test")
	b.ok(err)
	b.bus, err = bus.Open(b.Context(), nc, bus.Options{Log: b.log})
	b.ok(err)
}

func (b *bench) stop() {
	b.bus.Conn().Close()
	b.srv.Stop()
}

// renew gives the broker another store.
func (b *bench) renew(wipe bool) {
	b.Helper()
	b.stop()
	if wipe {
		b.ok(os.RemoveAll(b.store))
		time.Sleep(time.Second)
	}
	b.start()
}

// records writes so many records.
func (b *bench) records(n int) {
	b.Helper()
	for range n {
		_, err := b.bus.JetStream().Publish(b.Context(), "$KV.reelay_tasks.demo.t1", []byte("{}"))
		b.ok(err)
	}
}

func (b *bench) open(o Options) *Guard {
	o.Bus, o.Dir, o.Log = b.bus, b.dir, b.log
	return Open(b.Context(), o)
}

// run runs a guard until the returned function is called.
func (b *bench) run(g *Guard) func() {
	end := broker.Begin(b, g.Run)
	return func() { b.ok(end()) }
}

// stopped checks why nothing is spent; an empty reason is for spending.
func stopped(tb testing.TB, g *Guard, reason Reason, is error) {
	tb.Helper()
	err := g.Allowed()
	if reason == "" {
		if err != nil {
			tb.Errorf("%v, and money may be spent", err)
		}
		return
	}
	var s *StoppedError
	if !errors.As(err, &s) || s.Reason != reason || !errors.Is(err, ErrStopped) || is != nil && !errors.Is(err, is) {
		tb.Errorf("%v, want %s by %v", err, reason, is)
	}
}

func TestNewStoreLong(t *testing.T) {
	long.Only(t)
	bubble(t, func(b *bench) {
		b.records(3)
		stopped(b, b.open(Options{}), "", nil) // the first start, on a store with records
		b.renew(false)
		b.records(3)
		stopped(b, b.open(Options{}), "", nil) // the same store again

		b.renew(true)
		b.records(100)
		g := b.open(Options{})
		stopped(b, g, ReasonStore, ErrNewStore)
		for _, want := range []string{
			"is expected", "--accept-new-store", "REELAY_ACCEPT_NEW_STORE", events.StreamTasks,
			b.dir,
		} {
			if !strings.Contains(g.Allowed().Error(), want) {
				b.Errorf("%q does not say %q", g.Allowed(), want)
			}
		}
		stop := b.run(g)
		time.Sleep(time.Hour)
		stopped(b, g, ReasonStore, ErrNewStore)
		stop()
		stopped(b, b.open(Options{}), ReasonStore, ErrNewStore) // a restart does not help
		stopped(b, b.open(Options{AcceptNewStore: true}), "", nil)
		stopped(b, b.open(Options{}), "", nil) // it is remembered
	})
}

// TestRestoredStoreLong: a store that was put back from a copy has forgotten records, and new ones do not hide that.
func TestRestoredStoreLong(t *testing.T) {
	long.Only(t)
	bubble(t, func(b *bench) {
		b.records(3)
		b.open(Options{})
		b.stop()
		saved := filepath.Join(b.TempDir(), "copy")
		b.ok(os.CopyFS(saved, os.DirFS(b.store)))
		b.start()
		b.records(5)
		g := b.open(Options{})
		stop := b.run(g)
		time.Sleep(2 * time.Minute)
		stopped(b, g, "", nil)
		stop()
		b.stop()
		b.ok(os.RemoveAll(b.store))
		b.ok(os.CopyFS(b.store, os.DirFS(saved)))
		b.start()
		g = b.open(Options{})
		stopped(b, g, ReasonStore, ErrForgetful)
		if text := g.Allowed().Error(); !strings.Contains(text, "was 3, and 8 or more is expected") {
			b.Errorf("%q does not say what was expected", text)
		}
		b.records(100)
		stop = b.run(g)
		time.Sleep(time.Hour)
		stop()
		stopped(b, g, ReasonStore, ErrForgetful)
		stopped(b, b.open(Options{}), ReasonStore, ErrForgetful)
		stopped(b, b.open(Options{AcceptNewStore: true}), "", nil)
		stopped(b, b.open(Options{}), "", nil)
	})
}

// TestChangedBehindOurBack: a stream that is made anew under a running guard, with and without a new connection.
func TestChangedBehindOurBack(t *testing.T) {
	t.Run("deleted", func(t *testing.T) {
		bubble(t, func(b *bench) {
			g := b.open(Options{AcceptNewStore: true}) // which counts for the start alone
			stop := b.run(g)
			defer stop()
			time.Sleep(10 * time.Minute)
			stopped(b, g, "", nil)
			b.ok(b.bus.JetStream().DeleteStream(b.Context(), events.StreamTasks))
			time.Sleep(usualWait + troubledWait)
			stopped(b, g, ReasonStore, jetstream.ErrStreamNotFound)
			nc, err := b.srv.Connect("another service")
			b.ok(err)
			defer nc.Close()
			_, err = bus.Open(b.Context(), nc, bus.Options{Log: b.log})
			b.ok(err)
			time.Sleep(2 * troubledWait)
			stopped(b, g, ReasonStore, ErrNewStore)
		})
	})
	t.Run("behind a new connection", func(t *testing.T) {
		bubble(t, func(b *bench) {
			g := b.open(Options{})
			b.ok(b.bus.Conn().ForceReconnect())
			time.Sleep(time.Second)
			if !b.bus.Connected() {
				b.Fatal("not connected again")
			}
			stopped(b, g, ReasonStore, errNotSeen)
			stop := b.run(g)
			defer stop()
			synctest.Wait()
			stopped(b, g, "", nil) // it was the same
		})
	})
}

// TestSettings: a limit by which the broker drops records is found within a minute and taken off, and stops spending
// until a person accepts the loss. What cannot be mended stops it as well.
func TestSettings(t *testing.T) {
	edit := func(b *bench, change func(c *jetstream.StreamConfig)) {
		s, err := b.bus.JetStream().Stream(b.Context(), events.StreamTasks)
		b.ok(err)
		c := s.CachedInfo().Config
		change(&c)
		_, err = b.bus.JetStream().UpdateStream(b.Context(), c)
		b.ok(err)
	}
	t.Run("evicts", func(t *testing.T) {
		bubble(t, func(b *bench) {
			g := b.open(Options{})
			stop := b.run(g)
			b.records(1)
			edit(b, func(c *jetstream.StreamConfig) { c.MaxMsgs = 1 })
			time.Sleep(time.Second) // the broker says so
			stopped(b, g, ReasonStore, ErrForgetful)
			time.Sleep(time.Hour)
			stopped(b, g, ReasonStore, ErrForgetful)
			stop()
			s, err := b.bus.JetStream().Stream(b.Context(), events.StreamTasks)
			b.ok(err)
			if c := s.CachedInfo().Config; c.MaxMsgs != -1 {
				b.Errorf("the limit is still %d", c.MaxMsgs)
			}
			stopped(b, b.open(Options{}), ReasonStore, ErrForgetful)
			stopped(b, b.open(Options{AcceptNewStore: true}), "", nil)
			stopped(b, b.open(Options{}), "", nil)
		})
	})
	t.Run("full", func(t *testing.T) {
		bubble(t, func(b *bench) {
			g := b.open(Options{})
			defer b.run(g)()
			for i := range 9 { // of 100 KB each
				_, err := b.bus.JetStream().Publish(b.Context(), "$KV.reelay_tasks.demo.t"+strconv.Itoa(i), make([]byte, 100<<10))
				b.ok(err)
			}
			b.ok(g.Intake())
			edit(b, func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 20 }) // which the broker tells at once
			time.Sleep(usualWait + time.Second)
			stopped(b, g, ReasonFull, nil)
			if err := g.Intake(); !errors.Is(err, ErrStopped) || !strings.Contains(err.Error(), "nats stream edit") {
				b.Errorf("intake: %v", err)
			}
			edit(b, func(c *jetstream.StreamConfig) { c.MaxBytes = 2 << 20 })
			time.Sleep(troubledWait + time.Second)
			stopped(b, g, "", nil)
			b.ok(g.Intake())
		})
	})
	t.Run("caps vanish", func(t *testing.T) {
		bubble(t, func(b *bench) {
			g := b.open(Options{})
			stop := b.run(g)
			b.ok(b.bus.Bucket(bucket.Caps, "caps").Put(b.Context(), "all", []byte(`{"daily_usd":5}`)))
			time.Sleep(usualWait + time.Second)
			b.ok(b.bus.JetStream().DeleteStream(b.Context(), bucket.Stream(bucket.Caps)))
			time.Sleep(2*usualWait + time.Second) // it is made anew, empty
			stopped(b, g, ReasonStore, ErrSettingsLost)
			if text := g.Allowed().Error(); !strings.Contains(text, "reelay_caps held 1 keys") {
				b.Error(text)
			}
			stop()
			stopped(b, b.open(Options{AcceptNewStore: true}), "", nil)
			stopped(b, b.open(Options{}), "", nil)
		})
	})
	t.Run("memory", func(t *testing.T) {
		bubble(t, func(b *bench) {
			name := "KV_reelay_caps"
			b.ok(b.bus.JetStream().DeleteStream(b.Context(), name))
			_, err := b.bus.JetStream().CreateKeyValue(b.Context(), jetstream.KeyValueConfig{
				Bucket: "reelay_caps", Storage: jetstream.MemoryStorage,
			})
			b.ok(err)
			stopped(b, b.open(Options{}), ReasonSettings, nil)
		})
	})
}

// TestEpochFile holds what is done with a file that is not as it was left.
func TestEpochFile(t *testing.T) {
	rows := []struct {
		name, text string
		want       error
	}{
		{"empty", "", ErrBadEpoch},
		{"cut off", `{"stream":"KV_ree`, ErrBadEpoch},
		{"nothing in it", `{}`, ErrBadEpoch},
		{"too large", `{"stream":"` + strings.Repeat("x", maxEpochBytes) + `"}`, ErrBadEpoch},
		{"another stream", `{"stream":"OTHER","created":"2020-01-01T00:00:00Z","last_sequence":1}`, ErrNewStore},
		{"older than it was", `{"stream":"KV_reelay_tasks","created":"2999-01-01T00:00:00Z","last_sequence":0}`, ErrNewStore},
	}
	bubble(t, func(b *bench) {
		for _, row := range rows {
			b.ok(os.WriteFile(filepath.Join(b.dir, epochFile), []byte(row.text), 0o600))
			stopped(b, b.open(Options{}), ReasonStore, row.want)
			stopped(b, b.open(Options{AcceptNewStore: true}), "", nil)
			stopped(b, b.open(Options{}), "", nil)
		}
		text, err := os.ReadFile(filepath.Join(b.dir, epochFile))
		b.ok(err)
		var m memory
		b.ok(json.Unmarshal(text, &m))
		if m.Stream != events.StreamTasks || m.Created.IsZero() || m.ForgotTo != nil {
			b.Errorf("remembered is %s", text)
		}
		left, err := os.ReadDir(b.dir)
		b.ok(err)
		if len(left) != 1 {
			b.Errorf("files are left over: %v", left)
		}
	})
}

// TestNewLeader: a server that has just taken over a replicated stream may be behind for a moment.
func TestNewLeader(t *testing.T) {
	old := memory{Stream: "S", Created: time.Unix(1, 0), LastSequence: 9}
	behind := memory{Stream: "S", Created: time.Unix(1, 0), LastSequence: 8}
	e := epoch{path: filepath.Join(t.TempDir(), epochFile), witness: newWitness("", "", nil)}
	for range sureAfter - 1 {
		if err := e.compare(old, behind, 3); !errors.Is(err, ErrForgetful) {
			t.Errorf("%v, want ErrForgetful", err)
		}
	}
	if err := e.compare(old, old, 3); err != nil {
		t.Errorf("it has caught up: %v", err)
	}
	if _, err := e.read(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a moment was held against it for ever: %v", err)
	}
	for range sureAfter {
		_ = e.compare(old, behind, 3)
	}
	if m, err := e.read(old); err != nil || m.ForgotTo == nil || *m.ForgotTo != 8 {
		t.Errorf("it stayed behind, and remembered is %+v, %v", m, err)
	}
}

func TestUnsynced(t *testing.T) {
	rows := []struct {
		name  string
		o     Options
		says  string // what the broker says of itself
		stale bool
		want  Reason
	}{
		{"ours, synced", Options{Paid: true, Sync: SyncAlways}, "", false, ""},
		{"ours, not synced", Options{Paid: true, Sync: SyncInterval}, "", false, ReasonUnsynced},
		{"no money", Options{Sync: SyncInterval}, "", false, ""},
		{"allowed by a person", Options{Paid: true, Sync: SyncInterval, AllowUnsyncedSpending: true}, "", false, ""},
		{"not ours", Options{Paid: true}, "", false, ""},
		{"ours elsewhere, synced", Options{Paid: true}, "always", false, ""},
		{"ours elsewhere, not synced", Options{Paid: true}, "interval", false, ReasonUnsynced},
		{"ours elsewhere, long ago", Options{Paid: true}, "interval", true, ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			bubble(t, func(b *bench) {
				if row.says != "" {
					_, err := b.bus.JetStream().CreateStream(b.Context(), jetstream.StreamConfig{
						Name: events.StreamBroker, Subjects: []string{events.BrokerSubject},
						Metadata: map[string]string{events.BrokerSyncKey: row.says},
					})
					b.ok(err)
					_, err = b.bus.JetStream().Publish(b.Context(), events.BrokerSubject, nil)
					b.ok(err)
				}
				if row.stale {
					time.Sleep(2 * events.BrokerFresh)
				}
				var is error
				if row.want != "" {
					is = errUnsynced
				}
				stopped(b, b.open(row.o), row.want, is)
			})
		})
	}
}

// TestJournalGone: nothing is spent without a journal, and all goes on when it is back. The metric follows.
func TestJournalGone(t *testing.T) {
	bubble(t, func(b *bench) {
		registry := prometheus.NewRegistry()
		var told bytes.Buffer
		b.log = slog.New(slog.NewTextHandler(&told, nil))
		g := b.open(Options{Registerer: registry})
		stop := b.run(g)
		defer stop()
		metric(b, registry, 1)
		aside := b.dir + ".aside"
		b.ok(os.Rename(b.dir, aside))
		time.Sleep(usualWait + time.Second)
		stopped(b, g, ReasonDisk, os.ErrNotExist) // there is no disk to be asked
		metric(b, registry, 0)
		time.Sleep(time.Hour)
		if n := strings.Count(told.String(), "reason=journal"); n != 1 {
			b.Errorf("it is told %d times in an hour:\n%s", n, told.String())
		}
		b.ok(os.Rename(aside, b.dir))
		time.Sleep(troubledWait + time.Second)
		stopped(b, g, "", nil)
		metric(b, registry, 1)
	})
}

// metric checks the metric of the journal, and that each reason has one.
func metric(b *bench, registry *prometheus.Registry, want float64) {
	b.Helper()
	families, err := registry.Gather()
	b.ok(err)
	if len(families) != 1 || len(families[0].GetMetric()) != len(Reasons()) {
		b.Fatalf("metrics %v", families)
	}
	for _, m := range families[0].GetMetric() {
		if m.GetLabel()[0].GetValue() == string(ReasonJournal) && m.GetGauge().GetValue() != want {
			b.Errorf("the metric is %v, want %v", m.GetGauge().GetValue(), want)
		}
	}
}
