package bus_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/test/broker"
)

func TestCompareAndSet(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		if _, _, err := on.Get(b.Context(), key); !errors.Is(err, bus.ErrNotFound) {
			b.Errorf("%v, want ErrNotFound", err)
		}
		if _, err := on.Put(b.Context(), bus.Put{Task: record("none"), Revision: 7}); !errors.Is(err, bus.ErrConflict) {
			b.Errorf("update of nothing: %v, want ErrConflict", err)
		}
		first, err := on.Put(b.Context(), bus.Put{Task: record("first")})
		b.OK(err)
		if _, err := on.Put(b.Context(), bus.Put{Task: record("again")}); !errors.Is(err, bus.ErrConflict) {
			b.Errorf("second create: %v, want ErrConflict", err)
		}
		second, err := on.Put(b.Context(), bus.Put{Task: record("second"), Revision: first})
		b.OK(err)
		for _, stale := range []uint64{first, second + 1} {
			if _, err := on.Put(b.Context(), bus.Put{Task: record("stale"), Revision: stale}); !errors.Is(err, bus.ErrConflict) {
				b.Errorf("revision %d: %v, want ErrConflict", stale, err)
			}
		}
		got, revision, err := on.Get(b.Context(), key)
		b.OK(err)
		if got.SceneID != "second" || revision != second {
			b.Errorf("the record is %q at %d, want %q at %d", got.SceneID, revision, "second", second)
		}
	})
}

// TestLostWrite: any other failure of a write is no conflict, because nobody knows whether it happened.
func TestLostWrite(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		on.Conn().Close()
		_, err := on.Put(b.Context(), bus.Put{Task: record("")})
		if err == nil || errors.Is(err, bus.ErrConflict) {
			b.Errorf("%v, want an error that is not ErrConflict", err)
		}
		if _, _, err := on.Get(b.Context(), key); err == nil || errors.Is(err, bus.ErrNotFound) {
			b.Errorf("%v, want an error that is not ErrNotFound", err)
		}
		if err := on.EnsurePollTicket(b.Context(), bus.PollTicket{Lane: "fal", Key: key}); err == nil {
			b.Error("a watch on a closed connection is no error")
		}
		if err := on.Publish(b.Context(), event(events.EventQueued, 1, true)); err == nil {
			b.Error("an event on a closed connection is no error")
		}
	})
}

// TestHeartbeat: a record beats until a write says otherwise, and every write sets the clock anew.
func TestHeartbeat(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		type beat struct {
			at   time.Time
			note string
		}
		var beats []beat
		c := events.HeartbeatConsumer()
		stop := b.consume(on, c, 1, func(_ context.Context, m bus.Message) bus.Outcome {
			if m.Get("Nats-Marker-Reason") != "" {
				return bus.Done()
			}
			k, err := events.ParseHeartbeatSubject(m.Subject)
			b.OK(err)
			t, err := events.DecodeTask(m.Data)
			b.OK(err)
			if k != key {
				b.Errorf("a heartbeat of %v", k)
			}
			beats = append(beats, beat{time.Now(), t.SceneID})
			return bus.Done()
		})
		put := func(note string, revision uint64, every time.Duration) (uint64, time.Time) {
			b.Helper()
			revision, err := on.Put(b.Context(), bus.Put{Task: record(note), Revision: revision, Heartbeat: every})
			b.OK(err)
			return revision, time.Now()
		}
		// The scheduler works in whole seconds and may be half a second early.
		check := func(note string, from time.Time, every time.Duration, n int) {
			b.Helper()
			synctest.Wait()
			if len(beats) != n {
				b.Fatalf("%s: %d beats, want %d", note, len(beats), n)
			}
			for i, got := range beats {
				want := from.Add(time.Duration(i+1) * every)
				if d := got.at.Sub(want); got.note != note || d < -time.Second || d > time.Second {
					b.Errorf("%s: beat %d of %q is %v off", note, i+1, got.note, d)
				}
			}
			beats = nil
		}
		revision, from := put("slow", 0, 30*time.Second)
		time.Sleep(10*time.Minute + 2*time.Second)
		check("slow", from, 30*time.Second, 20)
		time.Sleep(10 * time.Second)
		revision, from = put("fast", revision, 5*time.Second)
		time.Sleep(time.Minute + 2*time.Second)
		check("fast", from, 5*time.Second, 12)
		revision, from = put("none", revision, 0)
		time.Sleep(time.Hour)
		check("none", from, 0, 0)
		_, from = put("again", revision, time.Minute)
		time.Sleep(5*time.Minute + 2*time.Second)
		check("again", from, time.Minute, 5)
		b.OK(stop())
		if n := b.stored(on, events.StreamTasks, events.RecordSubject(key)); n != 1 {
			b.Errorf("%d records of one task", n)
		}
	})
}

// TestExpiry: a record with a lifetime goes, and whoever follows hears of it.
func TestExpiry(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		updates := b.follow(on)
		_, err := on.Put(b.Context(), bus.Put{Task: record("ended"), TTL: 2 * time.Hour})
		b.OK(err)
		time.Sleep(2*time.Hour - time.Second)
		if _, _, err := on.Get(b.Context(), key); err != nil {
			b.Errorf("before its time: %v", err)
		}
		time.Sleep(3 * time.Second)
		if _, _, err := on.Get(b.Context(), key); !errors.Is(err, bus.ErrNotFound) {
			b.Errorf("after its time: %v, want ErrNotFound", err)
		}
		got := updates()
		if len(got) != 3 || !got[0].Ready || got[1].Task == nil || got[2].Task != nil || got[2].Key != key {
			b.Fatalf("updates %+v, want ready, the record and its end", got)
		}
		// Who comes later sees the marker or nothing, and never the record.
		for _, u := range b.follow(on)() {
			if u.Task != nil {
				b.Errorf("a record after its end: %+v", u)
			}
		}
		time.Sleep(events.MarkerAge + time.Minute)
		if n := b.stored(on, events.StreamTasks); n != 0 {
			b.Errorf("%d messages are left of it", n)
		}
		if got := b.follow(on)(); len(got) != 1 || !got[0].Ready {
			b.Errorf("updates %+v, want ready alone", got)
		}
	})
}

// follow follows until the returned function is called, which returns what was seen.
func (b *fixture) follow(on *bus.Bus) func() []bus.Update {
	var seen []bus.Update
	stop := broker.Begin(b, func(ctx context.Context) error {
		return on.WatchTasks(ctx, func(u bus.Update) { seen = append(seen, u) })
	})
	return func() []bus.Update {
		b.Helper()
		synctest.Wait()
		b.OK(stop())
		return seen
	}
}

// TestFollow shows what exists, then Ready, then changes; of what is not a readable record only that it changed.
func TestFollow(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		publish := func(subject, body string) {
			_, err := on.JetStream().Publish(b.Context(), subject, []byte(body))
			b.OK(err)
		}
		other := record("other")
		other.ID = "t2"
		first, err := on.Put(b.Context(), bus.Put{Task: record("first"), Heartbeat: time.Second})
		b.OK(err)
		publish("$KV.reelay_tasks.no-task", "{}")
		publish("$KV.reelay_tasks.demo.broken", "{")
		publish("$KV.reelay_tasks.demo.newer", `{"schema":99}`)
		second, err := on.Put(b.Context(), bus.Put{Task: other})
		b.OK(err)
		updates := b.follow(on)
		time.Sleep(time.Minute) // heartbeats are no changes
		third, err := on.Put(b.Context(), bus.Put{Task: record("third"), Revision: first})
		b.OK(err)
		var story []string
		var revisions []uint64
		for _, u := range updates() {
			switch {
			case u.Ready:
				story = append(story, "ready")
			case u.Key == (events.Key{}):
				story = append(story, "unreadable")
			case u.Task == nil:
				story = append(story, "gone "+u.Key.String())
			default:
				story = append(story, u.Key.ID+" "+u.Task.SceneID)
				revisions = append(revisions, u.Revision)
			}
		}
		if want := []string{
			"t1 first", "unreadable", "unreadable", "unreadable", "t2 other", "ready",
			"t1 third",
		}; !slices.Equal(story, want) {
			b.Errorf("%v, want %v", story, want)
		}
		if !slices.Equal(revisions, []uint64{first, second, third}) {
			b.Errorf("revisions %v, want %v", revisions, []uint64{first, second, third})
		}
	})
}

func event(t events.EventType, version uint64, once bool) events.Event {
	return events.Event{
		Type: t, Project: key.Project, TaskID: key.ID, Version: version, Time: time.Now().UTC(),
		Once: once,
	}
}

// story returns the stored events.
func (b *fixture) story(on *bus.Bus) []events.Event {
	b.Helper()
	s, err := on.JetStream().Stream(b.Context(), events.StreamEvents)
	b.OK(err)
	var all []events.Event
	state := s.CachedInfo().State
	for seq := state.FirstSeq; seq <= state.LastSeq; seq++ {
		m, err := s.GetMsg(b.Context(), seq)
		b.OK(err)
		e, err := events.DecodeEvent(m.Header.Get(events.HeaderType), m.Data)
		b.OK(err)
		if m.Subject != e.Subject() {
			b.Errorf("%s is stored on %s", e.Type, m.Subject)
		}
		if m.Header.Get(events.HeaderID) != e.ID() {
			b.Errorf("ce-id %q, want %q", m.Header.Get(events.HeaderID), e.ID())
		}
		all = append(all, e)
	}
	return all
}

func types(all []events.Event) []events.EventType {
	var t []events.EventType
	for _, e := range all {
		t = append(t, e.Type)
	}
	return t
}

// repairs marks events as such that an earlier step may have published.
func repairs(all ...events.Event) []events.Event {
	for i := range all {
		all[i].Repair = true
	}
	return all
}

// TestPublish stores events in order and each once. A subscriber hears each once too, unless two publishers did not
// know of each other.
func TestPublish(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		heard := make(chan *nats.Msg, 100)
		nc := b.Connect()
		_, err := nc.ChanSubscribe("reelay.event.>", heard)
		b.OK(err)
		b.OK(nc.FlushWithContext(ctx(b)))

		queued, submitted, done := event(events.EventQueued, 1, true), event(events.EventSubmitted, 3, true),
			event(events.EventCompleted, 9, true)
		p4, p5 := event(events.EventProgress, 4, false), event(events.EventProgress, 5, false)
		b.OK(on.Publish(b.Context(), repairs(queued)...))
		b.OK(on.Publish(b.Context(), append(repairs(queued), submitted, p4)...))
		b.OK(on.Publish(b.Context(), append(repairs(queued, submitted, p4), p5)...)) // a crash has repeated it
		b.OK(on.Publish(b.Context(), repairs(queued, submitted, p5)...))
		late := queued
		late.Version, late.Message = 77, "a later one"
		b.OK(on.Publish(b.Context(), append(repairs(late), done)...))
		b.OK(on.Publish(b.Context(), repairs(queued, submitted, done)...))
		b.OK(on.Publish(b.Context()))
		got := b.story(on)
		want := []events.EventType{
			events.EventQueued, events.EventSubmitted, events.EventProgress, events.EventProgress, events.EventCompleted,
		}
		if !slices.Equal(types(got), want) {
			b.Errorf("%v, want %v", types(got), want)
		}
		if got[0].Version != 1 || got[0].Message != "" {
			b.Errorf("the first event was replaced: %+v", got[0])
		}
		synctest.Wait()
		if len(heard) != len(want) {
			b.Errorf("%d events were heard, want %d", len(heard), len(want))
		}
		for len(heard) > 0 {
			<-heard
		}

		// A publisher that stalled before its first attempt: the stream refuses what it brings, and a subscriber hears it
		// twice.
		b.OK(on.Publish(b.Context(), p5, done))
		synctest.Wait()
		if got := types(b.story(on)); !slices.Equal(got, want) || len(heard) != 2 {
			b.Errorf("%v, %d events were heard", got, len(heard))
		}
		if m := <-heard; m.Header.Get(events.HeaderID) != p5.ID() {
			b.Errorf("heard again as %s, want %s", m.Header.Get(events.HeaderID), p5.ID())
		}

		// Past the window a message id is forgotten; a subject is not.
		time.Sleep(events.EventDuplicates + time.Minute)
		b.OK(on.Publish(b.Context(), repairs(queued, p5)...))
		b.OK(on.Publish(b.Context(), repairs(done)...))
		if got := types(b.story(on)); !slices.Equal(got, append(want, events.EventProgress)) {
			b.Errorf("after the window: %v", got)
		}
	})
}

// TestPublishFillsGaps: the next publisher stores what an earlier one left out, before its own, and nothing twice.
func TestPublishFillsGaps(t *testing.T) {
	story := []events.EventType{events.EventQueued, events.EventInDoubt, events.EventSubmitted, events.EventCompleted}
	for stored := range len(story) {
		bubble(t, func(b *fixture) {
			on := b.Open(bus.Options{})
			heard := make(chan *nats.Msg, 100)
			nc := b.Connect()
			_, err := nc.ChanSubscribe("reelay.event.>", heard)
			b.OK(err)
			b.OK(nc.FlushWithContext(ctx(b)))
			var all []events.Event
			for i, of := range story {
				all = append(all, event(of, uint64(i+1), true))
			}
			b.OK(on.Publish(b.Context(), all[:stored]...))
			last := len(all) - 1
			b.OK(on.Publish(b.Context(), append(repairs(slices.Clone(all[:last])...), all[last])...))
			synctest.Wait()
			if got := types(b.story(on)); !slices.Equal(got, story) || len(heard) != len(story) {
				b.Errorf("%d were stored: now %v, and %d were heard", stored, got, len(heard))
			}
		})
	}
}

// TestOvertakenEvent: an event that may happen again is not stored behind one of a later version, whenever its publisher
// comes back.
func TestOvertakenEvent(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		doubt := event(events.EventInDoubt, 2, false)
		doubt.Transition = &events.Transition{Version: 2}
		later := doubt
		later.Version = 4
		b.OK(on.Publish(b.Context(), event(events.EventQueued, 1, true), doubt))
		b.OK(on.Publish(b.Context(), event(events.EventSubmitted, 5, true)))
		b.OK(on.Publish(b.Context(), later))
		if got, want := types(b.story(on)), []events.EventType{events.EventQueued, events.EventInDoubt, events.EventSubmitted}; !slices.Equal(got, want) {
			b.Errorf("%v, want %v", got, want)
		}
		later.Version = 6
		b.OK(on.Publish(b.Context(), later))
		b.OK(on.Publish(b.Context(), later))
		if got := types(b.story(on)); len(got) != 4 || got[3] != events.EventInDoubt {
			b.Errorf("%v, want one in_doubt more", got)
		}
	})
}

// TestEventsAreFound: client libraries find the stream by the subject on which events are heard, and replay from it.
func TestEventsAreFound(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		b.OK(on.Publish(b.Context(), event(events.EventQueued, 1, true)))
		const subject = "reelay.event.demo.>"
		for _, subject := range []string{
			subject, "reelay.event.*.*.completed",
			event(events.EventQueued, 1, true).Subject(),
		} {
			if name, err := on.JetStream().StreamNameBySubject(b.Context(), subject); name != events.StreamEvents {
				b.Errorf("%s is in %q, %v", subject, name, err)
			}
		}
		nc := b.Connect()
		js, err := nc.JetStream()
		b.OK(err)
		heard := make(chan *nats.Msg, 1)
		sub, err := js.ChanSubscribe(subject, heard, nats.OrderedConsumer()) // as `nats sub --all` does
		b.OK(err)
		if m := <-heard; m.Header.Get(events.HeaderID) != "demo/t1/1/queued" {
			b.Errorf("replayed %v", m.Header)
		}
		b.OK(sub.Unsubscribe())
	})
}

// TestPublishByMany: fifty writers of one terminal event store it once.
func TestPublishByMany(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				if err := on.Publish(b.Context(), event(events.EventQueued, 1, true),
					event(events.EventFailed, uint64(i), true)); err != nil {
					b.Error(err)
				}
			})
		}
		wg.Wait()
		if got := types(b.story(on)); !slices.Equal(got, []events.EventType{events.EventQueued, events.EventFailed}) {
			b.Errorf("stored %v", got)
		}
	})
}

// TestPublishStops when ctx ends, and says which event is not known to be stored.
func TestPublishStops(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		ctx, cancel := context.WithCancel(b.Context())
		cancel()
		if err := on.Publish(ctx, event(events.EventQueued, 1, true)); err != nil && !errors.Is(err, context.Canceled) {
			b.Errorf("%v, want Canceled", err)
		}
	})
}

func TestEnsureWatch(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		for range 3 {
			b.OK(on.EnsurePollTicket(b.Context(), bus.PollTicket{Lane: "fal", Key: key}))
		}
		b.OK(on.EnsurePollTicket(b.Context(), bus.PollTicket{Lane: "fal", Key: events.Key{Project: "demo", ID: "t2"}}))
		if n := b.stored(on, events.StreamPolls); n != 2 {
			b.Errorf("%d poll tickets, want one per task", n)
		}
		// One that is held back by a delay is still there; one that was acknowledged can be made again.
		polls := map[string]int{}
		stop := b.consume(on, events.PollConsumer("fal"), 1, func(_ context.Context, m bus.Message) bus.Outcome {
			lane, k, err := events.ParsePollSubject(m.Subject)
			b.OK(err)
			polls[lane+" "+k.ID]++
			if k == key {
				return bus.RetryAfter(time.Minute)
			}
			return bus.Done()
		})
		time.Sleep(10*time.Minute + time.Second)
		b.OK(on.EnsurePollTicket(b.Context(), bus.PollTicket{Lane: "fal", Key: key}))
		b.OK(on.EnsurePollTicket(b.Context(), bus.PollTicket{Lane: "fal", Key: events.Key{Project: "demo", ID: "t2"}}))
		synctest.Wait()
		b.OK(stop())
		if polls["fal t1"] != 11 || polls["fal t2"] != 2 {
			b.Errorf("polls %v, want 11 and 2", polls)
		}
	})
}

func TestObjects(t *testing.T) {
	// Not in a bubble: now and then nats.go v1.55 leaves a goroutine behind that reads from a nil channel, when the end of
	// a Put is faster than the start of its status listener (jetStream.cleanupReplySub).
	broker.ForgetTimers()
	b := broker.Start(t)
	on, other := b.Open(bus.Options{}), b.Open(bus.Options{})
	last := func() uint64 {
		s, err := on.JetStream().Stream(b.Context(), "OBJ_"+events.ObjectBucket)
		b.OK(err)
		return s.CachedInfo().State.LastSeq
	}
	for _, size := range []int{0, 1, 300 << 10} {
		want := bytes.Repeat([]byte("ab"), size)
		name := "digest" + string(rune('a'+size%26))
		b.OK(on.PutObject(b.Context(), name, want))
		written := last()
		b.OK(other.PutObject(b.Context(), name, want))
		if n := last(); n != written {
			b.Errorf("%d more messages for an object that was there", n-written)
		}
		got, err := other.GetObject(b.Context(), name)
		b.OK(err)
		if !bytes.Equal(got, want) {
			b.Errorf("%d bytes came back as %d", len(want), len(got))
		}
	}
	if _, err := on.GetObject(b.Context(), "none"); !errors.Is(err, jetstream.ErrObjectNotFound) {
		b.Errorf("%v, want ErrObjectNotFound", err)
	}
}

// TestLastChange is the revision of the newest record, whatever else the stream holds.
func TestLastChange(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		want := func(revision uint64) {
			b.Helper()
			if got, err := on.LastChange(b.Context()); err != nil || got != revision {
				b.Errorf("%d, %v, want %d", got, err, revision)
			}
		}
		want(0)
		first, err := on.Put(b.Context(), bus.Put{Task: record("first"), Heartbeat: time.Second})
		b.OK(err)
		want(first)
		time.Sleep(time.Minute) // heartbeats are no changes
		want(first)
		other := record("other")
		other.ID = "t2"
		second, err := on.Put(b.Context(), bus.Put{Task: other})
		b.OK(err)
		want(second)
		on.Conn().Close()
		if _, err := on.LastChange(b.Context()); err == nil {
			b.Error("no error without a broker")
		}
	})
}
