package ops_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"reelay/events"
	"reelay/events/operator"
	"reelay/internal/backup"
	"reelay/internal/config"
	"reelay/internal/natsd"
	"reelay/internal/test/sim"
)

// held are tasks that wait when the store is copied.
const held = 4

func heldID(i int) string { return fmt.Sprintf("held-%d", i) }

// pause pauses the lane, or ends that.
func pause(t *testing.T, w *sim.World, on bool) {
	t.Helper()
	verb := operator.VerbLanesResume
	if on {
		verb = operator.VerbLanesPause
	}
	var reply operator.PauseReply
	if e := w.Ask(&reply, verb, `{"lane":"fal","reason":"the test","by":"test"}`); e != nil {
		t.Fatal(e)
	}
}

// inBetween runs a world. copy is called when some tasks wait; then they are sent and end, and putBack is called in the
// state of before, everything stopped. Both get the broker's directory and the journal's.
func inBetween(t *testing.T, copyOf func(w *sim.World, dirs ...string), putBack func(w *sim.World, dirs ...string)) {
	t.Helper()
	epochs := t.TempDir()
	sim.Run(t, sim.Options{Quiet: true, Guard: config.Guard{EpochDir: epochs}}, func(t *testing.T, w *sim.World) {
		dirs := []string{filepath.Join(w.Dir(), "nats"), filepath.Join(w.Dir(), "journal")}
		request(w, "early")
		w.Settle(10 * time.Second)
		pause(t, w, true)
		for i := range held {
			request(w, heldID(i))
		}
		w.Settle(time.Minute)
		copyOf(w, dirs...)
		pause(t, w, false)
		w.Settle(150 * time.Second)
		w.Stop()
		w.Start()
		if n := len(w.Stack.Ledger("fal").Jobs()); n != held+1 {
			t.Fatalf("%d of %d tasks were sent", n, held+1)
		}
		w.Stop()
		putBack(w, dirs...)
		pause(t, w, false)
		request(w, "late")
		for _, id := range []string{"early", heldID(0), heldID(1), heldID(2), heldID(3), "late"} {
			if task := w.AwaitEnd("demo", id); task.Status != events.StatusCompleted {
				t.Errorf("%s is %s: %v", id, task.Status, task.Error)
			}
		}
		if n := len(w.Stack.Ledger("fal").Jobs()); n != held+2 {
			t.Errorf("%d tasks were paid for %d times", held+2, n)
		}
	})
}

// onBroker calls f with the broker of a world that is stopped.
func onBroker(t *testing.T, dir string, f func(b *backup.Broker)) {
	t.Helper()
	srv, err := natsd.Start(natsd.Options{StoreDir: dir, Sync: natsd.SyncInterval, Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	defer srv.Stop()
	nc, err := srv.Connect("restore")
	must(t, err)
	defer nc.Close()
	b, err := backup.New(nc, "")
	must(t, err)
	f(b)
}

// TestBackupRestored: the journal has outlived the broker, and knows what the records of the backup do not.
func TestBackupRestored(t *testing.T) {
	backups := filepath.Join(t.TempDir(), "backup")
	inBetween(t, func(w *sim.World, _ ...string) {
		b, err := backup.New(w.NC, "")
		must(t, err)
		_, err = b.Take(context.Background(), backups)
		must(t, err)
	}, func(w *sim.World, dirs ...string) {
		onBroker(t, dirs[0], func(b *backup.Broker) {
			_, err := b.Restore(context.Background(), backups, true)
			must(t, err)
		})
		w.Start()
	})
}

// TestDirectoryPutBack: journal and store agree that nothing was sent. Nothing is, until a person says that they were put
// back; then the provider's list tells what was.
func TestDirectoryPutBack(t *testing.T) {
	saved := t.TempDir()
	inBetween(t, func(w *sim.World, dirs ...string) {
		w.Stop()
		copyTo(t, saved, dirs)
		w.Start()
	}, func(w *sim.World, dirs ...string) {
		copyBack(t, saved, dirs)
		w.Start()
		pause(t, w, false)
		w.Settle(time.Hour)
		if n := len(w.Stack.Ledger("fal").Jobs()); n != held+1 {
			t.Fatalf("%d tasks were paid for %d times before a person said anything", held+1, n)
		}
		if task := w.Get("demo", heldID(0)); task.Blocked == nil || task.Blocked.Reason != events.BlockedSpendingStopped {
			t.Errorf("it is blocked by %+v", task.Blocked)
		}
		w.Stop()
		onBroker(t, dirs[0], func(b *backup.Broker) { must(t, b.Mark()) })
		w.Start()
	})
}

func copyTo(t *testing.T, saved string, dirs []string) {
	t.Helper()
	for _, dir := range dirs {
		must(t, os.CopyFS(filepath.Join(saved, filepath.Base(dir)), os.DirFS(dir)))
	}
}

func copyBack(t *testing.T, saved string, dirs []string) {
	t.Helper()
	for _, dir := range dirs {
		must(t, os.RemoveAll(dir))
		must(t, os.CopyFS(dir, os.DirFS(filepath.Join(saved, filepath.Base(dir)))))
	}
}

// TestPutBackWhileRunning: the copy is hours old, and what was sent a minute before it is put back still runs, which the
// provider's list does not show. It is found when it has ended, and bought once.
func TestPutBackWhileRunning(t *testing.T) {
	saved := t.TempDir()
	sim.Run(t, sim.Options{Quiet: true}, func(t *testing.T, w *sim.World) {
		dirs := []string{filepath.Join(w.Dir(), "nats"), filepath.Join(w.Dir(), "journal")}
		pause(t, w, true)
		for i := range held {
			w.Publish(events.RequestSubject("demo", events.Video), fmt.Sprintf(`{"id":%q,"provider":"fal",
				"model":"fal-ai/kling-video/v3/pro/text-to-video","input":{"prompt":%[1]q,"emulate":{"run_ms":3000000}},
				"timeout":"12h"}`, heldID(i)))
		}
		w.Settle(time.Minute)
		w.Stop()
		copyTo(t, saved, dirs)
		w.Start()
		w.Settle(2 * time.Hour)
		pause(t, w, false)
		w.Settle(time.Minute)
		w.Stop()
		copyBack(t, saved, dirs)
		onBroker(t, dirs[0], func(b *backup.Broker) { must(t, b.Mark()) })
		w.Start()
		pause(t, w, false)
		for i := range held {
			if task := w.AwaitEnd("demo", heldID(i)); task.Status != events.StatusCompleted || len(task.Attempts) != 1 {
				t.Errorf("%s is %s after %d attempts: %v", task.ID, task.Status, len(task.Attempts), task.Error)
			}
		}
		if n := len(w.Stack.Ledger("fal").Jobs()); n != held {
			t.Errorf("%d tasks were paid for %d times", held, n)
		}
	})
}

// TestPutBackUnsent: what was never sent goes on once the provider's lists have shown nothing.
func TestPutBackUnsent(t *testing.T) {
	sim.Run(t, sim.Options{Quiet: true}, func(t *testing.T, w *sim.World) {
		pause(t, w, true)
		request(w, heldID(0))
		w.Settle(time.Minute)
		w.Stop()
		onBroker(t, filepath.Join(w.Dir(), "nats"), func(b *backup.Broker) { must(t, b.Mark()) })
		w.Start()
		pause(t, w, false)
		if task := w.AwaitEnd("demo", heldID(0)); task.Status != events.StatusCompleted || len(task.Attempts) != 2 {
			t.Errorf("it is %s after %d attempts: %v", task.Status, len(task.Attempts), task.Error)
		}
	})
}
