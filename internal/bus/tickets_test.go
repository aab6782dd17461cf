package bus_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"reelay/events"
	"reelay/internal/bus"
)

// TestPollTicketBringsTheRecord: as it was when the ticket was made, if it is short.
func TestPollTicketBringsTheRecord(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		value, err := events.Marshal(record("as it was"))
		b.OK(err)
		long, err := events.Marshal(record(strings.Repeat("x", 4<<10)))
		b.OK(err)
		other := events.Key{Project: "demo", ID: "t2"}
		for _, ticket := range []bus.PollTicket{
			{Lane: "fal", Key: key, Record: value, Revision: 7, Stored: 3},
			{Lane: "fal", Key: key, Record: value, Revision: 8, Stored: 4}, // one that is there stays
			{Lane: "fal", Key: other, Record: long, Revision: 9},
		} {
			b.OK(on.EnsurePollTicket(b.Context(), ticket))
		}
		stop := b.consume(on, events.PollConsumer("fal"), 1, func(_ context.Context, m bus.Message) bus.Outcome {
			_, k, err := events.ParsePollSubject(m.Subject)
			b.OK(err)
			got, revision, stored, ok := bus.ReadPollTicket(m)
			if ok != (k == key) {
				b.Errorf("%s: a record that can be read: %v", k, ok)
			}
			if ok && (got.Key() != key || got.SceneID != "as it was" || revision != 7 || stored != 3) {
				b.Errorf("record %s %q, revision %d, events up to %d", got.Key(), got.SceneID, revision, stored)
			}
			return bus.Done()
		})
		synctest.Wait()
		b.OK(stop())
	})
}

// TestWatchOfOwnWrites: what this process has written itself is not decoded again; what another has, is.
func TestWatchOfOwnWrites(t *testing.T) {
	bubble(t, func(b *fixture) {
		on, other := b.Open(bus.Options{}), b.Open(bus.Options{})
		var seen []events.Task
		ctx, cancel := context.WithCancel(b.Context())
		defer cancel()
		done := make(chan error)
		go func() {
			done <- on.WatchTasks(ctx, func(u bus.Update) {
				if u.Task != nil {
					seen = append(seen, *u.Task)
				}
			})
		}()
		synctest.Wait()
		mine := record("mine")
		mine.Warnings = []string{"w"}
		revision, err := on.Put(b.Context(), bus.Put{Task: mine})
		b.OK(err)
		synctest.Wait()
		theirs := record("theirs")
		theirs.Warnings = []string{"w"}
		_, err = other.Put(b.Context(), bus.Put{Task: theirs, Revision: revision})
		b.OK(err)
		synctest.Wait()
		cancel()
		b.OK(<-done)
		if len(seen) != 2 || seen[0].SceneID != "mine" || seen[1].SceneID != "theirs" {
			b.Fatalf("seen %+v", seen)
		}
		if &seen[0].Warnings[0] != &mine.Warnings[0] {
			b.Error("a record of this process was decoded")
		}
	})
}
