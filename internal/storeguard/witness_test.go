package storeguard

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"reelay/events"
)

// putBack has the broker and the journal's directory as they were when it was called, once the result is called.
func (b *bench) putBack() func() {
	b.Helper()
	b.stop()
	saved := b.TempDir()
	dirs := []string{b.store, b.dir}
	for i, dir := range dirs {
		b.ok(os.CopyFS(filepath.Join(saved, string(rune('a'+i))), os.DirFS(dir)))
	}
	b.start()
	return func() {
		b.Helper()
		b.stop()
		for i, dir := range dirs {
			b.ok(os.RemoveAll(dir))
			b.ok(os.CopyFS(dir, os.DirFS(filepath.Join(saved, string(rune('a'+i))))))
		}
		b.start()
	}
}

// TestPutBackAsAWhole: the store and the file beside the journal agree, and the witness knows better: by what was sent,
// by the seconds that went by, or by a clean stop.
func TestPutBackAsAWhole(t *testing.T) {
	for name, work := range map[string]func(b *bench, g *Guard){
		"sent": func(b *bench, g *Guard) {
			b.records(1)
			g.Sending(4)
		},
		"went by": func(b *bench, g *Guard) {
			stop := b.run(g)
			b.records(1)
			time.Sleep(2*noteWait + settled)
			b.bus.Conn().Close() // which keeps the stop from being noted
			stop()
		},
		"stopped": func(b *bench, g *Guard) {
			stop := b.run(g)
			b.records(1)
			stop()
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(b *bench) {
				o := Options{EpochDir: filepath.Join(b.TempDir(), "epochs")}
				b.records(3)
				stopped(b, b.open(o), "", nil)
				putBack := b.putBack()
				g := b.open(o)
				stopped(b, g, "", nil)
				work(b, g)
				putBack()
				stopped(b, b.open(o), ReasonStore, ErrForgetful)
				b.records(100)
				stopped(b, b.open(o), ReasonStore, ErrForgetful) // new records do not hide it
				accepted := o
				accepted.AcceptNewStore = true
				stopped(b, b.open(accepted), "", nil)
				stopped(b, b.open(o), "", nil)
			})
		})
	}
}

// TestSeveralWitnesses: what the guard of any journal knows counts for all, and a person accepts for all.
func TestSeveralWitnesses(t *testing.T) {
	bubble(t, func(b *bench) {
		o := Options{EpochDir: b.TempDir()}
		b.records(3)
		putBack := b.putBack()
		b.records(1)
		own := b.dir
		b.dir = b.TempDir()
		b.open(o).Sending(4)
		b.dir = own
		putBack()
		stopped(b, b.open(o), ReasonStore, ErrForgetful)
		o.AcceptNewStore = true
		stopped(b, b.open(o), "", nil)
		o.AcceptNewStore = false
		stopped(b, b.open(o), "", nil)
	})
}

// TestWitnessOutOfReach: it is the second one, and without it the first goes on.
func TestWitnessOutOfReach(t *testing.T) {
	bubble(t, func(b *bench) {
		file := filepath.Join(b.TempDir(), "file")
		b.ok(os.WriteFile(file, nil, 0o600))
		b.records(3)
		g := b.open(Options{EpochDir: filepath.Join(file, "epochs")})
		g.Sending(3)
		stopped(b, g, "", nil)
	})
}

// TestWitnessUnreadable: an empty file, as a full disk leaves it, stops nothing, and is written whole. The directory may
// have any name.
func TestWitnessUnreadable(t *testing.T) {
	bubble(t, func(b *bench) {
		o := Options{EpochDir: filepath.Join(b.TempDir(), "epochs[1")}
		b.records(3)
		stopped(b, b.open(o), "", nil)
		files, err := os.ReadDir(o.EpochDir)
		b.ok(err)
		if len(files) != 1 {
			b.Fatalf("%d files", len(files))
		}
		path := filepath.Join(o.EpochDir, files[0].Name())
		b.ok(os.Truncate(path, 0))
		stopped(b, b.open(o), "", nil)
		if _, err := readMemory(path); err != nil {
			b.Error(err)
		}
	})
}

// TestEachGuardAcceptsARestore: that one of another journal has accepted it before does not keep a guard from that.
func TestEachGuardAcceptsARestore(t *testing.T) {
	bubble(t, func(b *bench) {
		o := Options{EpochDir: b.TempDir()}
		b.records(3)
		first, second := b.dir, b.TempDir()
		putBack := b.putBack()
		b.records(1)
		for _, b.dir = range []string{first, second} {
			g := b.open(o)
			b.ok(g.epoch.write(memory{Stream: events.StreamTasks, Created: g.epoch.witness.known().Created, LastSequence: 4}))
		}
		b.dir = first
		putBack()
		js := b.bus.JetStream()
		s, err := js.Stream(b.Context(), events.StreamTasks)
		b.ok(err)
		c := s.CachedInfo().Config
		c.Metadata[events.RecordsRestoredKey] = time.Now().UTC().Format(time.RFC3339)
		_, err = js.UpdateStream(b.Context(), c)
		b.ok(err)
		for _, b.dir = range []string{first, second} {
			stopped(b, b.open(o), "", nil)
		}
	})
}

// TestVanishedRecords: a record that is gone in the middle of a stream is told and stops spending, until a person accepts
// the loss; one that was deleted, or that has ended, is not missed.
func TestVanishedRecords(t *testing.T) {
	bubble(t, func(b *bench) {
		js := b.bus.JetStream()
		lost, deleted, ended, kept := task("lost"), task("deleted"), task("ended"), task("kept")
		for _, k := range []events.Key{lost, deleted, ended, kept} {
			b.ok(b.bus.Publish(b.Context(), events.Event{Type: events.EventQueued, Project: k.Project, TaskID: k.ID, Once: true}))
		}
		b.ok(b.bus.Publish(b.Context(), events.Event{Type: events.EventFailed, Project: "demo", TaskID: ended.ID, Once: true}))
		ack, err := js.Publish(b.Context(), events.RecordSubject(lost), []byte("{}"))
		b.ok(err)
		_, err = js.Publish(b.Context(), events.RecordSubject(kept), []byte("{}"))
		b.ok(err)
		kv, err := js.KeyValue(b.Context(), events.TaskBucket)
		b.ok(err)
		b.ok(kv.Delete(b.Context(), deleted.String()))
		b.compared(Options{}, "", "")
		stream, err := js.Stream(b.Context(), events.StreamTasks)
		b.ok(err)
		b.ok(stream.DeleteMsg(b.Context(), ack.Sequence))
		b.compared(Options{}, ReasonStore, "1 tasks that were announced as queued have no record: demo.lost;")
		b.compared(Options{AcceptNewStore: true}, "", "")
		b.compared(Options{}, "", "")
	})
}

func task(id string) events.Key { return events.Key{Project: "demo", ID: id} }

// compared runs a guard for a while and checks why nothing is spent.
func (b *bench) compared(o Options, reason Reason, says string) {
	b.Helper()
	g := b.open(o)
	stop := b.run(g)
	time.Sleep(settled)
	stopped(b, g, reason, nil)
	if err := g.Allowed(); err != nil && !strings.Contains(err.Error(), says) {
		b.Errorf("%q does not say %q", err, says)
	}
	stop()
}
