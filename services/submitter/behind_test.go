package submitter

import (
	"errors"
	"log/slog"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/natsd"
)

// TestCatchUp: who cannot get to know the records gives up after a while, so that another gets the lane; who can goes
// on at once.
func TestCatchUp(t *testing.T) {
	runtime.GC() // nats.go keeps timers in a pool, which two collections empty: one of another bubble is fatal
	runtime.GC()
	synctest.Test(t, func(t *testing.T) {
		log := slog.New(slog.DiscardHandler)
		srv, err := natsd.Start(natsd.Options{StoreDir: t.TempDir(), Sync: natsd.SyncInterval, Log: log})
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Stop()
		nc, err := srv.Connect("test")
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		b, err := bus.Open(t.Context(), nc, bus.Options{Log: log})
		if err != nil {
			t.Fatal(err)
		}
		revision, err := b.Put(t.Context(),
			bus.Put{Task: events.Task{Schema: events.TaskSchema, Project: "demo", ID: "t1", Phase: events.PhaseWaiting}})
		if err != nil {
			t.Fatal(err)
		}
		s := &Service{o: Options{Bus: b}}
		s.ready.Store(true)
		s.followed.Store(revision - 1)
		began := time.Now()
		if err := s.catchUp(t.Context()); !errors.Is(err, errBehind) || time.Since(began) != catchUpWait {
			t.Errorf("one behind: %v after %v", err, time.Since(began))
		}
		s.followed.Store(revision)
		if err := s.catchUp(t.Context()); err != nil {
			t.Errorf("in time: %v", err)
		}
	})
}
