package natsd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/internal/disk"
)

// A pace says when Watch acts.
type pace struct {
	// every is the time between two checks of the store, and the longest time that a write may take.
	every time.Duration
	// patience is how long writes must have failed, with room on the disk, before the server is restarted. It doubles
	// after each restart that did not help, up to maxPatience.
	patience, maxPatience time.Duration
}

var usualPace = pace{every: 5 * time.Second, patience: 30 * time.Second, maxPatience: 10 * time.Minute}

const (
	// Below lowPercent and lowBytes of free disk Watch warns.
	lowPercent, lowBytes = 20, 2 << 30
	// roomBytes is how much must be free again for a restart to be worth while.
	roomBytes = 16 << 20
	// canaryBytes is a page: a smaller write may find room in the last page of a full disk.
	canaryBytes = 4 << 10
)

// Watch writes to the store every five seconds until ctx ends. When writes have failed for 30 s although the disk has
// room, as they do for ever after the disk was full, it restarts the server in place: on the same store and address,
// which takes a second or less. Connections of Connect and those of other processes reconnect by themselves; no
// acknowledged message is lost.
func (s *Server) Watch(ctx context.Context) error {
	nc, err := s.Connect("watchdog")
	if err != nil {
		return fmt.Errorf("watchdog: %w", err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("watchdog: %w", err)
	}
	w := watchdog{Server: s, js: js, patience: s.pace.patience}
	tick := time.NewTicker(s.pace.every)
	defer tick.Stop()
	for {
		w.check(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

type watchdog struct {
	*Server
	js jetstream.JetStream

	described bool
	low       bool
	// failing is how many checks in a row have failed. One alone tells nothing: the server takes a stream that is just
	// being made for one that it could not recover.
	failing int
	// failed is how long writes have failed with room on the disk.
	failed   time.Duration
	patience time.Duration
}

func (w *watchdog) check(ctx context.Context) {
	w.measure()
	err := w.write(ctx)
	if ctx.Err() != nil {
		return
	}
	if err == nil {
		if w.failing > 1 {
			w.o.Log.Info("the broker's store takes writes again")
		}
		w.failing, w.failed, w.patience = 0, 0, w.pace.patience
		w.metrics.writable.Set(1)
		return
	}
	if w.failing++; w.failing == 2 {
		w.o.Log.Error("the broker's store takes no writes", "store", w.o.StoreDir, "error", err)
		w.metrics.writable.Set(0)
	}
	if w.room() != nil {
		w.failed = 0
		return
	}
	if w.failed += w.pace.every; w.failed < w.patience {
		return
	}
	w.o.Log.Warn("restarting the broker: there is room on its disk, and its store takes no writes", "error", err, "after",
		w.failed)
	began := time.Now()
	if err := w.restart(); err != nil {
		w.o.Log.Error("the broker could not be restarted", "error", err) // the next check tries again
		return
	}
	w.metrics.restarts.Inc()
	w.o.Log.Info("the broker was restarted", "took", time.Since(began).Round(time.Millisecond))
	w.failed, w.patience = 0, min(2*w.patience, w.pace.maxPatience)
}

// write fails if any stream has stopped taking writes, or if a write cannot be made now.
func (w *watchdog) write(ctx context.Context) error {
	// The server remembers the failed write of each stream; a canary alone would see only its own.
	if h := w.current.Load().Healthz(&server.HealthzOptions{}); h.Error != "" {
		return errors.New(h.Error)
	}
	ctx, cancel := context.WithTimeout(ctx, w.pace.every)
	defer cancel()
	if !w.described {
		if err := w.describe(ctx); err != nil {
			return fmt.Errorf("stream %s: %w", events.StreamBroker, err)
		}
		w.described = true
	}
	if _, err := w.js.Publish(ctx, events.BrokerSubject, make([]byte, canaryBytes)); err != nil {
		return fmt.Errorf("write to %s: %w", events.StreamBroker, err)
	}
	return nil
}

// describe makes the stream that tells others how this broker syncs.
func (w *watchdog) describe(ctx context.Context) error {
	sync := w.o.Sync
	if sync == "" {
		sync = SyncAlways
	}
	_, err := w.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: events.StreamBroker, Description: "the embedded broker's own: does its store take writes?",
		Subjects: []string{events.BrokerSubject}, Storage: jetstream.FileStorage, MaxMsgs: 1,
		Metadata: map[string]string{events.BrokerSyncKey: string(sync)},
	})
	return err
}

// room fails while a restarted server would find no room on its disk either.
func (w *watchdog) room() error {
	switch disk, err := disk.Space(w.o.StoreDir); {
	case errors.Is(err, errors.ErrUnsupported):
	case err != nil:
		return err
	case disk.Free < roomBytes:
		return errors.New(disk.String())
	}
	return disk.Probe(w.o.StoreDir)
}

// measure tells how much room there is, and warns once each time it becomes little.
func (w *watchdog) measure() {
	disk, err := disk.Space(w.o.StoreDir)
	if err != nil {
		return // what matters is whether writes succeed
	}
	w.metrics.free.Set(float64(disk.Free))
	low := disk.Under(lowPercent, lowBytes)
	if low && !w.low {
		w.o.Log.Warn("there is little room on the disk of the broker's store", "store", w.o.StoreDir, "room", disk.String())
	}
	w.low = low
}
