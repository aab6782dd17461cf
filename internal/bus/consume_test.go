package bus_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/test/long"
)

// TestVerdictsLong checks what the server makes of each answer to a first delivery.
func TestVerdictsLong(t *testing.T) {
	long.Only(t)
	rows := []struct {
		name    string
		first   func() bus.Outcome
		again   time.Duration // when the second delivery comes; 0 for never
		advised string
	}{
		{"done", bus.Done, 0, ""},
		{"again at once", func() bus.Outcome { return bus.RetryAfter(0) }, time.Nanosecond, ""},
		{"again after a delay", func() bus.Outcome { return bus.RetryAfter(7 * time.Second) }, 7 * time.Second, ""},
		{"again after hours", func() bus.Outcome { return bus.RetryAfter(3 * time.Hour) }, 3 * time.Hour, ""},
		{"drop", func() bus.Outcome { return bus.Terminate("of no use") }, 0, "of no use"},
		{"panic", func() bus.Outcome { panic("bad luck") }, 30 * time.Second, ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			bubble(t, func(b *fixture) {
				on := b.Open(bus.Options{})
				advisories := make(chan *nats.Msg, 10)
				_, err := b.Connect().ChanSubscribe("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>", advisories)
				b.OK(err)
				synctest.Wait()
				var at []time.Time
				stop := b.consume(on, consumer(), 4, func(_ context.Context, m bus.Message) bus.Outcome {
					at = append(at, time.Now())
					if int(m.Delivered) != len(at) {
						b.Errorf("delivery %d counts %d", len(at), m.Delivered)
					}
					if len(at) == 1 {
						return row.first()
					}
					return bus.Done()
				})
				b.send(on, 1)
				time.Sleep(6 * time.Hour)
				b.OK(stop())
				switch {
				case row.again == 0 && len(at) != 1:
					b.Errorf("%d deliveries, want 1", len(at))
				case row.again > 0 && (len(at) != 2 || !about(at[1].Sub(at[0]), row.again.Truncate(time.Millisecond))):
					b.Errorf("deliveries at %v, want a second after %v and no third", at, row.again)
				}
				if n := b.stored(on, events.StreamRequests); n != 0 {
					b.Errorf("%d messages are left in the stream", n)
				}
				var advisory struct{ Reason string }
				if row.advised != "" {
					if len(advisories) != 1 {
						b.Fatalf("%d advisories, want 1", len(advisories))
					}
					b.OK(json.Unmarshal((<-advisories).Data, &advisory))
				}
				if advisory.Reason != row.advised || len(advisories) != 0 {
					b.Errorf("advised %q, want %q", advisory.Reason, row.advised)
				}
			})
		})
	}
}

// TestConsumerVanishesBetweenPulls: a consumer whose stream was removed while no pull waited, and made anew, goes on.
func TestConsumerVanishesBetweenPulls(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		var done atomic.Int64
		b.send(on, 20)
		stop := b.consume(on, consumer(), 4, func(context.Context, bus.Message) bus.Outcome {
			time.Sleep(time.Second)
			done.Add(1)
			return bus.Done()
		})
		time.Sleep(1500 * time.Millisecond) // all that was asked for is delivered, and more is not asked for yet
		b.OK(on.JetStream().DeleteStream(b.Context(), events.StreamRequests))
		_, err := on.Mend(b.Context())
		b.OK(err)
		time.Sleep(time.Second)
		before := done.Load()
		b.send(on, 10)
		time.Sleep(2 * time.Minute)
		if n := b.stored(on, events.StreamRequests); n != 0 || done.Load() < before+10 {
			b.Errorf("%d messages are left, %d were done with since", n, done.Load()-before)
		}
		b.OK(stop())
	})
}

func TestMessage(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		var got bus.Message
		stop := b.consume(on, consumer(), 1, func(_ context.Context, m bus.Message) bus.Outcome {
			got = m
			return bus.Done()
		})
		sent := time.Now()
		_, err := on.JetStream().PublishMsg(b.Context(), &nats.Msg{
			Subject: "reelay.request.demo.video", Data: []byte("body"),
			Header: nats.Header{"Nats-Msg-Id": {"m1"}, "X": {"a", "b"}},
		})
		b.OK(err)
		synctest.Wait()
		b.OK(stop())
		if got.Subject != "reelay.request.demo.video" || string(got.Data) != "body" || got.Sequence != 1 ||
			!got.Time.Equal(sent) {
			b.Errorf("%+v", got)
		}
		if got.Get("Nats-Msg-Id") != "m1" || got.Get("X") != "a" || got.Get("Y") != "" {
			b.Errorf("header %v", got.Header)
		}
	})
}

// TestPanicHurtsNobodyElse: one message whose handler always panics does not stop the others.
func TestPanicHurtsNobodyElse(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		var done atomic.Int64
		stop := b.consume(on, consumer(), 2, func(_ context.Context, m bus.Message) bus.Outcome {
			if m.Sequence == 1 {
				panic("bad luck")
			}
			done.Add(1)
			return bus.Done()
		})
		b.send(on, 20)
		synctest.Wait()
		if done.Load() != 19 {
			b.Errorf("%d of the other 19 messages were handled", done.Load())
		}
		b.OK(stop())
	})
}

func TestInFlight(t *testing.T) {
	bubble(t, func(b *fixture) {
		const limit, messages = 7, 200
		on := b.Open(bus.Options{})
		var now, peak, done atomic.Int64
		stop := b.consume(on, consumer(), limit, func(context.Context, bus.Message) bus.Outcome {
			n := now.Add(1)
			for old := peak.Load(); n > old && !peak.CompareAndSwap(old, n); old = peak.Load() {
			}
			time.Sleep(time.Second)
			now.Add(-1)
			done.Add(1)
			return bus.Done()
		})
		b.send(on, messages)
		time.Sleep((messages/limit + 2) * time.Second)
		b.OK(stop())
		if peak.Load() != limit || done.Load() != messages {
			b.Errorf("at most %d at once and %d done, want %d and %d", peak.Load(), done.Load(), limit, messages)
		}
	})
}

// TestStopHandsBack: what a stopping consumer has not begun goes to another at once, what it has begun is finished.
func TestStopHandsBack(t *testing.T) {
	bubble(t, func(b *fixture) {
		const limit, messages = 3, 20
		leaving, staying := b.Open(bus.Options{}), b.Open(bus.Options{})
		var begun, finished atomic.Int64
		stop := b.consume(leaving, consumer(), limit, func(ctx context.Context, _ bus.Message) bus.Outcome {
			begun.Add(1)
			time.Sleep(10 * time.Second)
			if ctx.Err() == nil {
				finished.Add(1)
			}
			return bus.Done()
		})
		b.send(leaving, messages)
		synctest.Wait() // three have begun, others wait in the connection's buffer
		stopped := time.Now()
		var mu sync.Mutex
		var late time.Duration
		taken := map[uint64]int{}
		stopOther := b.consume(staying, consumer(), messages, func(_ context.Context, m bus.Message) bus.Outcome {
			mu.Lock()
			defer mu.Unlock()
			taken[m.Sequence]++
			late = max(late, time.Since(stopped))
			return bus.Done()
		})
		b.OK(stop())
		if took := time.Since(stopped); took != 10*time.Second {
			b.Errorf("the stop took %v, its handlers needed 10s", took)
		}
		if begun.Load() != limit || finished.Load() != limit {
			b.Errorf("%d handlers begun and %d finished, want %d", begun.Load(), finished.Load(), limit)
		}
		synctest.Wait()
		if len(taken) != messages-limit {
			b.Errorf("the other consumer got %d messages, want %d", len(taken), messages-limit)
		}
		if late >= time.Second {
			b.Errorf("the last message was handed over after %v", late)
		}
		time.Sleep(time.Hour)
		b.OK(stopOther())
		if len(taken) != messages-limit || b.stored(staying, events.StreamRequests) != 0 {
			b.Errorf("later the other consumer has %d messages, and %d are left", len(taken),
				b.stored(staying, events.StreamRequests))
		}
	})
}

// TestStopBeginsNothing: slots that come free while a consumer stops take no more messages.
func TestStopBeginsNothing(t *testing.T) {
	bubble(t, func(b *fixture) {
		const limit, messages = 50, 120
		on := b.Open(bus.Options{})
		ctx, cancel := context.WithCancel(b.Context())
		done := make(chan error, 1)
		var begun atomic.Int64
		go func() {
			done <- on.Consume(ctx, consumer(), limit, func(context.Context, bus.Message) bus.Outcome {
				begun.Add(1)
				<-ctx.Done()
				return bus.Done()
			})
		}()
		b.send(on, messages)
		synctest.Wait()
		cancel()
		b.OK(<-done)
		if n := begun.Load(); n != limit {
			b.Errorf("%d messages were begun after the stop", n-limit)
		}
		synctest.Wait()
		if n := b.stored(on, events.StreamRequests); n != messages-limit {
			b.Errorf("%d messages are left, want %d", n, messages-limit)
		}
	})
}

// TestStopIsBounded: a handler that does not end has its context ended after twenty seconds, and is left behind after
// five more.
func TestStopIsBounded(t *testing.T) {
	for _, row := range []struct {
		name  string
		heeds bool
		took  time.Duration
	}{{"a handler that heeds its context", true, 20 * time.Second}, {"a handler that does not", false, 25 * time.Second}} {
		t.Run(row.name, func(t *testing.T) {
			bubble(t, func(b *fixture) {
				on := b.Open(bus.Options{})
				ended, let := make(chan struct{}), make(chan struct{})
				stop := b.consume(on, consumer(), 1, func(ctx context.Context, _ bus.Message) bus.Outcome {
					<-ctx.Done()
					close(ended)
					if !row.heeds {
						<-let
					}
					return bus.RetryAfter(0)
				})
				b.send(on, 1)
				synctest.Wait()
				start := time.Now()
				err := stop()
				if row.heeds != (err == nil) ||
					err != nil && !strings.Contains(err.Error(), "consumer test: handlers were still busy") {
					b.Errorf("%v", err)
				}
				if took := time.Since(start); took != row.took {
					b.Errorf("stopped after %v, want %v", took, row.took)
				}
				<-ended
				close(let)
			})
		})
	}
}

// TestLongWork: a handler that takes many AckWaits is not raced by a second delivery.
func TestLongWork(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		var deliveries atomic.Int64
		stop := b.consume(on, consumer(), 4, func(context.Context, bus.Message) bus.Outcome {
			deliveries.Add(1)
			time.Sleep(5 * time.Minute)
			return bus.Done()
		})
		b.send(on, 3)
		time.Sleep(time.Hour)
		b.OK(stop())
		if n := deliveries.Load(); n != 3 {
			b.Errorf("%d deliveries of 3 messages", n)
		}
	})
}

// TestKilledConsumer: what a consumer was working on when its connection died goes to another after AckWait.
func TestKilledConsumer(t *testing.T) {
	bubble(t, func(b *fixture) {
		dying, staying := b.Open(bus.Options{}), b.Open(bus.Options{})
		released := make(chan struct{})
		stop := b.consume(dying, consumer(), 1, func(context.Context, bus.Message) bus.Outcome {
			<-released
			return bus.Done()
		})
		b.send(staying, 1)
		synctest.Wait()
		dying.Conn().Close()
		died := time.Now()
		var after time.Duration
		stopOther := b.consume(staying, consumer(), 1, func(context.Context, bus.Message) bus.Outcome {
			after = time.Since(died)
			return bus.Done()
		})
		time.Sleep(time.Hour)
		synctest.Wait()
		if after < time.Second || after > 2*consumer().AckWait {
			b.Errorf("delivered again after %v, want about AckWait", after)
		}
		close(released)
		_ = stop() // its connection is gone
		b.OK(stopOther())
	})
}

// TestConsumerIsMadeAgain deletes the consumer behind its back.
func TestConsumerIsMadeAgain(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		var done atomic.Int64
		stop := b.consume(on, consumer(), 2, func(context.Context, bus.Message) bus.Outcome {
			done.Add(1)
			return bus.Done()
		})
		for round := int64(1); round <= 3; round++ {
			b.send(on, 5)
			time.Sleep(time.Minute)
			if done.Load() != 5*round {
				b.Fatalf("round %d: %d messages handled, want %d", round, done.Load(), 5*round)
			}
			b.OK(on.JetStream().DeleteConsumer(b.Context(), events.StreamRequests, "test"))
		}
		b.OK(stop())
	})
}
