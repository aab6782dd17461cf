package budget_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/prometheus/client_golang/prometheus"

	"reelay/internal/budget"
	"reelay/internal/bus"
	"reelay/internal/failpoint"
	"reelay/internal/natsd"
)

// TestMain keeps the broker's own ticker outside of every bubble.
func TestMain(m *testing.M) {
	ats.Register()
	code := m.Run()
	ats.Unregister()
	os.Exit(code)
}

// A lab is a real broker in a bubble, and budgets that share it.
type lab struct {
	*testing.T
	srv *natsd.Server
}

func bubble(t *testing.T, f func(l *lab)) {
	t.Helper()
	// nats.go keeps timers in a sync.Pool of the process; two collections empty it.
	runtime.GC()
	runtime.GC()
	today := time.Now().Round(0)
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(today)) // the broker takes the age of messages from a clock outside
		l := &lab{T: t}
		var err error
		l.srv, err = natsd.Start(natsd.Options{StoreDir: t.TempDir(), Sync: natsd.SyncInterval, Log: slog.New(slog.DiscardHandler)})
		l.must(err)
		defer l.srv.Stop()
		f(l)
	})
}

func (l *lab) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

func (l *lab) bus(faults failpoint.Plan) *bus.Bus {
	l.Helper()
	nc, err := l.srv.Connect("test")
	l.must(err)
	l.Cleanup(nc.Close)
	b, err := bus.Open(l.Context(), nc, bus.Options{Log: slog.New(slog.DiscardHandler), Faults: faults})
	l.must(err)
	return b
}

// budget returns a budget that follows the caps.
func (l *lab) budget(b *bus.Bus) *budget.Budget {
	l.Helper()
	k := budget.New(b, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	ctx, cancel := context.WithCancel(l.Context())
	var wg sync.WaitGroup
	wg.Go(func() { l.must(k.Follow(ctx)) })
	l.Cleanup(func() { cancel(); wg.Wait() })
	synctest.Wait()
	return k
}

// cap sets a cap, or takes it away for a negative amount, and returns it as everybody then knows it.
func (l *lab) cap(b *bus.Bus, s bus.Scope, usd float64) bus.Cap {
	l.Helper()
	kv, err := b.JetStream().KeyValue(l.Context(), bus.BudgetBucket)
	l.must(err)
	if usd < 0 {
		l.must(kv.Delete(l.Context(), string(s)))
		synctest.Wait()
		return bus.Cap{}
	}
	data, err := json.Marshal(bus.Cap{DailyUSD: usd})
	l.must(err)
	revision, err := kv.Put(l.Context(), string(s), data)
	l.must(err)
	synctest.Wait()
	entry, err := kv.GetRevision(l.Context(), string(s), revision)
	l.must(err)
	c := bus.DecodeCap(entry.Value())
	c.Revision, c.SetAt = revision, entry.Created()
	return c
}

// taken reads what is taken of a scope today.
func (l *lab) taken(b *bus.Bus, s bus.Scope) float64 {
	l.Helper()
	var c budget.Counter
	_, err := b.Counter(l.Context(), s, time.Now().UTC().Format(time.DateOnly), &c)
	l.must(err)
	return c.USD()
}

// writes counts the messages that a bucket has ever stored.
func (l *lab) writes(b *bus.Bus, bucket string) uint64 {
	l.Helper()
	s, err := b.JetStream().Stream(l.Context(), "KV_"+bucket)
	l.must(err)
	return s.CachedInfo().State.LastSeq
}
