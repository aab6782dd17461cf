package bus_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/failpoint"
	"reelay/internal/test/broker"
	"reelay/internal/test/long"
)

// A letter is a dead letter as its stream has it.
type letter struct {
	events.DeadLetter
	at      time.Time
	subject string
}

// letters reads all of REELAY_DEAD.
func (b *fixture) letters(on *bus.Bus) []letter {
	b.Helper()
	s, err := on.JetStream().Stream(b.Context(), events.StreamDead)
	b.OK(err)
	var all []letter
	for seq := uint64(1); seq <= s.CachedInfo().State.LastSeq; seq++ {
		raw, err := s.GetMsg(b.Context(), seq)
		b.OK(err)
		l, err := events.DecodeDeadLetter(raw.Header, raw.Data)
		b.OK(err)
		all = append(all, letter{l, raw.Time, raw.Subject})
	}
	return all
}

// collect runs CollectDead until stop is called.
func (b *fixture) collect(on *bus.Bus) (stop func()) {
	end := broker.Begin(b, on.CollectDead)
	return func() { b.Helper(); b.OK(end()) }
}

// TestGivenUpLong: a message is kept whole before it leaves its stream, and the others go on meanwhile.
func TestGivenUpLong(t *testing.T) {
	long.Only(t)
	for _, row := range []struct {
		name       string
		bad        bus.Handler
		after      time.Duration
		deliveries uint64
		reason     string
	}{
		{"drop", func(context.Context, bus.Message) bus.Outcome { return bus.Terminate("of no use") }, 0, 1, "of no use"},
		{
			"drop without a reason", func(context.Context, bus.Message) bus.Outcome { return bus.Terminate("") }, 0, 1,
			"no reason was given",
		},
		{"drop at last", func(_ context.Context, m bus.Message) bus.Outcome {
			if m.Delivered < 3 {
				return bus.RetryAfter(time.Hour)
			}
			return bus.Terminate("too often")
		}, 2 * time.Hour, 3, "too often"},
		{
			"panic", func(context.Context, bus.Message) bus.Outcome { panic(errors.New("bad luck")) }, 2 * time.Minute, 5,
			"handler panicked in delivery 5: bad luck",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			bubble(t, func(b *fixture) {
				on := b.Open(bus.Options{})
				stopCollecting := b.collect(b.Open(bus.Options{}))
				var others atomic.Int64
				stop := b.consume(on, consumer(), 2, func(ctx context.Context, m bus.Message) bus.Outcome {
					if m.Get("X") == "bad" {
						return row.bad(ctx, m)
					}
					others.Add(1)
					return bus.Done()
				})
				sent := time.Now()
				_, err := on.JetStream().PublishMsg(b.Context(), &nats.Msg{
					Subject: "reelay.request.demo.video", Data: []byte("body"),
					Header: nats.Header{"Nats-Msg-Id": {"m1"}, "X": {"bad"}},
				})
				b.OK(err)
				b.send(on, 20)
				synctest.Wait()
				if others.Load() != 20 {
					b.Errorf("%d of the other 20 messages were handled meanwhile", others.Load())
				}
				if row.after > 0 {
					time.Sleep(row.after - time.Second)
					if n := b.stored(on, events.StreamDead); n != 0 {
						b.Errorf("given up before %v", row.after)
					}
				}
				time.Sleep(6 * time.Hour)
				b.OK(stop())
				stopCollecting()
				all := b.letters(on)
				if len(all) != 1 {
					b.Fatalf("%d letters, want 1: %+v", len(all), all)
				}
				l := all[0]
				if l.subject != "reelay.dead.REELAY_REQUESTS.test" || l.Stream != events.StreamRequests || l.Consumer != "test" ||
					l.Sequence != 1 ||
					l.Deliveries != row.deliveries || l.Reason != row.reason || l.Subject != "reelay.request.demo.video" ||
					string(l.Body) != "body" ||
					!l.StoredAt.Equal(sent) || !slices.Equal(l.Header["Nats-Msg-Id"], []string{"m1"}) ||
					!slices.Equal(l.Header["X"], []string{"bad"}) {
					b.Errorf("%+v", l)
				}
				if late := l.at.Sub(sent); late < row.after || late > row.after+2*time.Second {
					b.Errorf("given up after %v, want %v", late, row.after)
				}
				if n := b.stored(on, events.StreamRequests); n != 0 {
					b.Errorf("%d messages are left in the stream", n)
				}
			})
		})
	}
}

// TestGivenUpIsKeptFirst: while the letter cannot be stored the message stays, and a lost answer makes no second
// letter.
func TestGivenUpIsKeptFirst(t *testing.T) {
	bubble(t, func(b *fixture) {
		var tries atomic.Int64
		on := b.Open(bus.Options{Faults: func(point string) failpoint.Outcome {
			if point != "dead/test" {
				return failpoint.Outcome{}
			}
			n := tries.Add(1)
			return failpoint.Outcome{Lose: n <= 2, LoseAnswer: n == 3}
		}})
		stop := b.consume(on, consumer(), 1, func(context.Context, bus.Message) bus.Outcome {
			return bus.Terminate("of no use")
		})
		b.send(on, 1)
		for try, want := range []struct{ letters, left uint64 }{{0, 1}, {0, 1}, {1, 1}, {1, 0}, {1, 0}} {
			time.Sleep(time.Second)
			if n, left := b.stored(on, events.StreamDead), b.stored(on, events.StreamRequests); n != want.letters ||
				left != want.left {
				b.Errorf("after try %d: %d letters and %d messages left, want %+v", try+1, n, left, want)
			}
			time.Sleep(30 * time.Second)
		}
		b.OK(stop())
		if l := b.letters(on); len(l) != 1 || l[0].Deliveries != 3 {
			b.Errorf("%+v", l)
		}
	})
}

// TestOverlargeLetter: a message as large as the server takes is given up all the same.
func TestOverlargeLetter(t *testing.T) {
	for _, row := range []struct {
		name          string
		body, headers int
	}{
		{"body", 0, 10},
		{"headers", 10, 1<<16 - 100},
		{"both", 0, 1<<16 - 100},
	} {
		t.Run(row.name, func(t *testing.T) {
			bubble(t, func(b *fixture) {
				on := b.Open(bus.Options{})
				if row.body == 0 { // as much as there is room for
					row.body = int(on.Conn().MaxPayload()) - row.headers - 100
				}
				stop := b.consume(on, consumer(), 1, func(context.Context, bus.Message) bus.Outcome {
					return bus.Terminate("too much")
				})
				_, err := on.JetStream().PublishMsg(b.Context(), &nats.Msg{
					Subject: "reelay.request.demo.video", Data: []byte(strings.Repeat("x", row.body)),
					Header: nats.Header{"X": {strings.Repeat("y", row.headers)}},
				})
				b.OK(err)
				synctest.Wait()
				b.OK(stop())
				all := b.letters(on)
				if len(all) != 1 {
					b.Fatalf("%d letters", len(all))
				}
				if all[0].CutFrom < row.body+row.headers || len(all[0].Body) < row.body-4096 {
					b.Errorf("cut from %d to %d", all[0].CutFrom, len(all[0].Body))
				}
				if n := b.stored(on, events.StreamRequests); n != 0 {
					b.Error("the message is stuck")
				}
			})
		})
	}
}

// foreign takes one message of a stream with a consumer of its own.
func (b *fixture) foreign(js jetstream.JetStream, stream, filter string, maxDeliver int) jetstream.Consumer {
	b.Helper()
	c, err := js.CreateOrUpdateConsumer(b.Context(), stream, jetstream.ConsumerConfig{
		Durable: "foreign", FilterSubject: filter, AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Second,
		MaxDeliver: maxDeliver,
	})
	b.OK(err)
	return c
}

func (b *fixture) next(c jetstream.Consumer) jetstream.Msg {
	b.Helper()
	batch, err := c.FetchNoWait(1)
	b.OK(err)
	for msg := range batch.Messages() {
		return msg
	}
	b.Fatalf("no message: %v", batch.Error())
	return nil
}

// TestCollectDeadLong: what the server or another client has given up is kept, whether or not anybody listened at that
// time, and no work queue is left with a message that nobody takes.
func TestCollectDeadLong(t *testing.T) {
	long.Only(t)
	watch, request := events.PollSubject("fal", key), events.RequestSubject("demo", events.Video)
	rows := []struct {
		name, stream, subject string
		maxDeliver            int
		do                    func(b *fixture, c jetstream.Consumer)
		letters               int
		reason, body          string
		left                  uint64
	}{
		{"too many deliveries of a request", events.StreamRequests, request, 2, func(b *fixture, c jetstream.Consumer) {
			b.next(c)
			time.Sleep(2 * time.Second)
			b.next(c)
			time.Sleep(2 * time.Second)
			if batch, err := c.FetchNoWait(1); err == nil { // the limit is noticed when the next delivery is due
				for range batch.Messages() {
					b.Error("a third delivery")
				}
			}
		}, 1, "not acknowledged in 2 deliveries, the limit of its consumer", "body", 0},
		{"too many deliveries of a watch", events.StreamPolls, watch, 1, func(b *fixture, c jetstream.Consumer) {
			b.next(c)
			time.Sleep(2 * time.Second)
			_, _ = c.FetchNoWait(1)
		}, 1, "not acknowledged in 1 deliveries, the limit of its consumer", "body", 0},
		{"acknowledged after all", events.StreamRequests, request, 1, func(b *fixture, c jetstream.Consumer) {
			msg := b.next(c)
			time.Sleep(2 * time.Second)
			_, _ = c.FetchNoWait(1)
			time.Sleep(time.Second)
			b.OK(msg.DoubleAck(b.Context()))
		}, 0, "", "", 0},
		{"ended by another client", events.StreamRequests, request, -1, func(b *fixture, c jetstream.Consumer) {
			b.OK(b.next(c).TermWithReason("because"))
		}, 1, "ended by a client: because", "", 0},
		{"deleted while it was in hand", events.StreamRequests, request, -1, func(b *fixture, c jetstream.Consumer) {
			b.next(c)
			stream, err := b.Open(bus.Options{}).JetStream().Stream(b.Context(), events.StreamRequests)
			b.OK(err)
			b.OK(stream.DeleteMsg(b.Context(), 1))
		}, 0, "", "", 0},
		{"ended without a reason", events.StreamPolls, watch, -1, func(b *fixture, c jetstream.Consumer) {
			b.OK(b.next(c).Term())
		}, 1, "ended by a client, which gave no reason", "", 0},
	}
	for _, row := range rows {
		for _, late := range []bool{false, true} {
			name := row.name
			if late {
				name += ", collected later"
			}
			t.Run(name, func(t *testing.T) {
				bubble(t, func(b *fixture) {
					on := b.Open(bus.Options{})
					stop := func() {}
					// Acknowledged too late only if nobody has collected it meanwhile.
					if !late && row.letters > 0 {
						stop = b.collect(on)
					}
					c := b.foreign(on.JetStream(), row.stream, row.subject, row.maxDeliver)
					_, err := on.JetStream().Publish(b.Context(), row.subject, []byte("body"))
					b.OK(err)
					synctest.Wait() // the consumer hears of the message
					row.do(b, c)
					if late {
						time.Sleep(2 * time.Hour)
					}
					if late || row.letters == 0 {
						stop = b.collect(on)
					}
					time.Sleep(time.Minute)
					stop()
					all := b.letters(on)
					if len(all) != row.letters {
						b.Fatalf("%d letters, want %d: %+v", len(all), row.letters, all)
					}
					if n := b.stored(on, row.stream, row.subject); n != row.left {
						b.Errorf("%d messages are left, want %d", n, row.left)
					}
					if n := b.stored(on, events.StreamAdvisories); n != 1 {
						b.Errorf("%d advisories, want 1", n)
					}
					if len(all) == 0 {
						return
					}
					l := all[0]
					if l.Reason != row.reason || string(l.Body) != row.body || l.Stream != row.stream || l.Consumer != "foreign" ||
						l.Sequence != 1 {
						b.Errorf("%+v", l)
					}
					if want := map[bool]string{true: row.subject}[row.body != ""]; l.Subject != want {
						b.Errorf("subject %q, want %q", l.Subject, want)
					}
				})
			})
		}
	}
}

// TestOneLetterPerMessage: reelay's own drop is advised by the server as well; a collector that was away for hours
// knows it delay.
func TestOneLetterPerMessage(t *testing.T) {
	bubble(t, func(b *fixture) {
		registry := prometheus.NewRegistry()
		on := b.Open(bus.Options{Registerer: registry})
		stop := b.consume(on, consumer(), 1, func(context.Context, bus.Message) bus.Outcome {
			return bus.Terminate("of no use")
		})
		b.send(on, 3)
		time.Sleep(3 * time.Hour)
		if n := b.stored(on, events.StreamAdvisories); n != 3 {
			b.Errorf("%d advisories, want 3", n)
		}
		stopCollecting := b.collect(on)
		time.Sleep(time.Hour)
		b.OK(stop())
		stopCollecting()
		for _, l := range b.letters(on) {
			if l.Reason != "of no use" || string(l.Body) != "{}" {
				b.Errorf("%+v", l)
			}
		}
		if n := b.stored(on, events.StreamDead); n != 3 {
			b.Errorf("%d letters, want 3", n)
		}
		families, err := registry.Gather()
		b.OK(err)
		if len(families) != 1 || families[0].GetName() != "reelay_dead_letters_total" || len(families[0].GetMetric()) != 1 ||
			families[0].GetMetric()[0].GetCounter().GetValue() != 3 {
			b.Errorf("metrics: %v", families)
		}
	})
}

// TestForgedAdvisory: one that cannot be read does not hold up the rest, and one about nothing does nothing.
func TestForgedAdvisory(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		stop := b.collect(on)
		subject := events.AdvisorySubject(events.AdvisoryMaxDeliveries, events.StreamRequests, "intake")
		for _, body := range []string{"nonsense", `{"stream_seq":"x"}`, `{"stream_seq":99}`, `{}`} {
			_, err := on.JetStream().Publish(b.Context(), subject, []byte(body))
			b.OK(err)
		}
		b.send(on, 1)
		_, err := on.JetStream().Publish(b.Context(), subject, []byte(`{"stream_seq":1,"deliveries":3}`))
		b.OK(err)
		time.Sleep(time.Hour)
		stop()
		var got []string
		for _, l := range b.letters(on) {
			got = append(got, l.Stream+" "+string(l.Body))
		}
		want := []string{`REELAY_ADVISORIES nonsense`, `REELAY_ADVISORIES {"stream_seq":"x"}`, `REELAY_REQUESTS {}`}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			b.Errorf("%q, want %q", got, want)
		}
	})
}

// TestCollectorSurvivesCrash: a collector that dies between the copy and the removal leaves both to the next.
func TestCollectorSurvivesCrash(t *testing.T) {
	bubble(t, func(b *fixture) {
		var tries atomic.Int64
		on := b.Open(bus.Options{Log: slog.New(slog.DiscardHandler), Faults: func(point string) failpoint.Outcome {
			return failpoint.Outcome{LoseAnswer: point == "dead/intake" && tries.Add(1) <= 3}
		}})
		stop := b.collect(on)
		b.send(on, 1)
		_, err := on.JetStream().Publish(b.Context(),
			events.AdvisorySubject(events.AdvisoryMaxDeliveries, events.StreamRequests, "intake"),
			[]byte(`{"stream_seq":1,"deliveries":3}`))
		b.OK(err)
		time.Sleep(time.Second)
		if n, left := b.stored(on, events.StreamDead), b.stored(on, events.StreamRequests); n != 1 || left != 1 {
			b.Errorf("%d letters and %d messages left, want both", n, left)
		}
		time.Sleep(10 * time.Minute)
		stop()
		if n, left := b.stored(on, events.StreamDead), b.stored(on, events.StreamRequests); n != 1 || left != 0 {
			b.Errorf("%d letters and %d messages left, want only the letter", n, left)
		}
	})
}
