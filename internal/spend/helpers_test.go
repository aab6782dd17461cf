package spend_test

import (
	"encoding/json"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"reelay/events/bucket"
	"reelay/internal/bus"
	"reelay/internal/spend"
	"reelay/internal/test/broker"
)

func TestMain(m *testing.M) { broker.Main(m) }

// A lab is a real broker in a bubble, and budgets that share it.
type lab struct{ *broker.Broker }

func bubble(t *testing.T, f func(l *lab)) {
	t.Helper()
	broker.Run(t, func(b *broker.Broker) { f(&lab{b}) })
}

// budget returns a budget that follows the caps.
func (l *lab) budget(b *bus.Bus) *spend.Reserver {
	l.Helper()
	k := spend.New(b, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	broker.Begin(l, k.Watch)
	return k
}

// cap sets a cap, or takes it away for a negative amount, and returns it as everybody then knows it.
func (l *lab) cap(b *bus.Bus, s bucket.Scope, usd float64) bucket.Cap {
	l.Helper()
	kv, err := b.JetStream().KeyValue(l.Context(), bucket.Caps)
	l.OK(err)
	if usd < 0 {
		l.OK(kv.Delete(l.Context(), string(s)))
		synctest.Wait()
		return bucket.Cap{}
	}
	data, err := json.Marshal(bucket.Cap{DailyUSD: usd, UnknownUSD: bucket.DefaultUnknownUSD})
	l.OK(err)
	revision, err := kv.Put(l.Context(), string(s), data)
	l.OK(err)
	synctest.Wait()
	entry, err := kv.GetRevision(l.Context(), string(s), revision)
	l.OK(err)
	c := bucket.DecodeCap(entry.Value())
	c.Revision, c.SetAt = revision, entry.Created()
	return c
}

// taken reads what is taken of a scope today.
func (l *lab) taken(b *bus.Bus, s bucket.Scope) float64 {
	l.Helper()
	c, err := spend.Taken(l.Context(), b, s, time.Now().UTC().Format(time.DateOnly))
	l.OK(err)
	return c.Total().USD()
}

// writes counts the messages that a bucket has ever stored.
func (l *lab) writes(b *bus.Bus, bucket string) uint64 {
	l.Helper()
	s, err := b.JetStream().Stream(l.Context(), "KV_"+bucket)
	l.OK(err)
	return s.CachedInfo().State.LastSeq
}
