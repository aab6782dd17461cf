package bus_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/internal/bus"
)

// followingSummaries follows records and returns what was heard since it was last asked, and what stops it.
func (b *fixture) followingSummaries(on *bus.Bus) (heard func() []bus.SummaryUpdate, stop func() error) {
	var all []bus.SummaryUpdate
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- on.FollowTasks(ctx, func(u bus.SummaryUpdate) { all = append(all, u) }) }()
	synctest.Wait()
	heard = func() []bus.SummaryUpdate {
		synctest.Wait()
		news := all
		all = nil
		return news
	}
	return heard, func() error { cancel(); return <-done }
}

// TestFollowSummaries: whoever follows hears of every record, its changes and its end, without a body.
func TestFollowSummaries(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		heard, stop := b.followingSummaries(on)
		if news := heard(); len(news) != 1 || !news[0].Ready {
			b.Fatalf("of an empty bucket: %+v", news)
		}
		b.OK(stop())
		task := record("s ü\r\n")
		task.BatchID, task.BatchSize, task.Lane = "b", 3, "fal"
		first, err := on.Put(b.Context(), bus.Put{Task: task})
		b.OK(err)
		heard, stop = b.followingSummaries(on)
		defer func() { b.OK(stop()) }()
		want := []bus.SummaryUpdate{{Key: key, Revision: first, Summary: bus.Summarize(&task)}, {Ready: true}}
		if news := heard(); !reflect.DeepEqual(news, want) {
			b.Fatalf("%+v, want %+v", news, want)
		}
		task.Phase, task.Status = events.PhaseDone, events.StatusFailed
		second, err := on.Put(b.Context(), bus.Put{Task: task, Revision: first})
		b.OK(err)
		kv, err := on.JetStream().KeyValue(b.Context(), events.TaskBucket)
		b.OK(err)
		b.OK(kv.Delete(b.Context(), key.String()))
		want = []bus.SummaryUpdate{{Key: key, Revision: second, Summary: bus.Summarize(&task)}, {Key: key, Revision: second + 1}}
		if news := heard(); !reflect.DeepEqual(news, want) {
			b.Errorf("%+v, want %+v", news, want)
		}
	})
}

// TestFollowOlderBuild: records without a summary, or with one of an older version, are followed as a whole, after one
// interruption.
func TestFollowOlderBuild(t *testing.T) {
	for name, header := range map[string]nats.Header{
		"no summary": nil, "an older one": {"Reelay-Summary": {`{"l":"fal","s":"queued"}`}},
	} {
		t.Run(name, func(t *testing.T) { followOlderBuild(t, header) })
	}
}

func followOlderBuild(t *testing.T, header nats.Header) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		heard, stop := b.followingSummaries(on)
		heard()
		task := record("old")
		data, err := events.Marshal(task)
		b.OK(err)
		_, err = on.JetStream().PublishMsg(b.Context(), &nats.Msg{Subject: events.RecordSubject(key), Header: header, Data: data})
		b.OK(err)
		synctest.Wait()
		if err := stop(); err == nil || errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "older build") {
			b.Errorf("%v, want an error about an older build", err)
		}
		heard, stop = b.followingSummaries(on)
		defer func() { b.OK(stop()) }()
		if news := heard(); len(news) != 2 || !reflect.DeepEqual(news[0].Summary, bus.Summarize(&task)) || !news[1].Ready {
			b.Errorf("%+v", news)
		}
	})
}

// TestFollowAnotherStream: what follows a stream that is removed ends.
func TestFollowAnotherStream(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		ended := make(chan error, 1)
		go func() { ended <- on.FollowTasks(b.Context(), func(bus.SummaryUpdate) {}) }()
		synctest.Wait()
		b.OK(on.JetStream().DeleteStream(b.Context(), events.StreamTasks))
		if err := <-ended; err == nil || errors.Is(err, jetstream.ErrStreamNotFound) {
			b.Errorf("%v, want that it is another stream", err)
		}
	})
}
