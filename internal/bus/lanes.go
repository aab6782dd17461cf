package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// LaneBucket is the KV bucket of the switches by which a person keeps lanes from spending: one key per lane, and AllLanes. A
	// key that is absent pauses nothing.
	LaneBucket = "reelay_lanes"
	// AllLanes is the key that counts for every lane, also for those to come.
	AllLanes = "_all"
	// laneHistory is how many settings of each switch are kept, so that one can see who did what.
	laneHistory = 16
)

// A LaneSwitch is the value of a key in LaneBucket, as JSON.
type LaneSwitch struct {
	Paused bool `json:"paused"`
	// Reason and By say why and who, for people.
	Reason string    `json:"reason,omitempty"`
	By     string    `json:"by,omitempty"`
	At     time.Time `json:"at,omitzero"`
}

// DecodeLaneSwitch reads a value of LaneBucket. One that cannot be read pauses: whoever wrote it wanted something, and going on
// costs money.
func DecodeLaneSwitch(value []byte) LaneSwitch {
	var s LaneSwitch
	if err := json.Unmarshal(value, &s); err != nil {
		return LaneSwitch{Paused: true, Reason: "the switch holds no readable JSON"}
	}
	return s
}

// ErrPaused is matched by every PausedError.
var ErrPaused = errors.New("the lane is paused")

// A PausedError says which switch keeps a lane from spending.
type PausedError struct {
	// Key is the lane or AllLanes.
	Key    string
	Switch LaneSwitch
}

// Error returns "the lane is paused: <key>: <reason> (by <who>)".
func (e *PausedError) Error() string {
	text := fmt.Sprintf("%v: %s", ErrPaused, e.Key)
	if e.Switch.Reason != "" {
		text += ": " + e.Switch.Reason
	}
	if e.Switch.By != "" {
		text += " (by " + e.Switch.By + ")"
	}
	return text
}

// Is matches ErrPaused.
func (e *PausedError) Is(target error) bool { return target == ErrPaused }

// CheckLane asks the broker, not a cache, whether a lane is paused. It fails with a *PausedError, or with another error if the
// broker did not answer.
func (b *Bus) CheckLane(ctx context.Context, lane string) error {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	for _, key := range []string{AllLanes, lane} {
		entry, err := b.lanes.Get(ctx, key)
		switch {
		case errors.Is(err, jetstream.ErrKeyNotFound):
		case err != nil:
			return fmt.Errorf("switch of lane %s: %w", key, err)
		default:
			if s := DecodeLaneSwitch(entry.Value()); s.Paused {
				return &PausedError{key, s}
			}
		}
	}
	return nil
}

// FollowLanes calls handle with every switch there is, then with an empty key, and then with every change, until ctx ends. A
// key that was deleted is a switch that pauses nothing. handle must be quick.
func (b *Bus) FollowLanes(ctx context.Context, handle func(key string, s LaneSwitch)) error {
	w, err := b.lanes.WatchAll(ctx)
	if err != nil {
		return fmt.Errorf("watch of %s: %w", LaneBucket, err)
	}
	defer func() { _ = w.Stop() }() // it ends with ctx anyway
	for {
		select {
		case <-ctx.Done():
			return nil
		case entry, ok := <-w.Updates():
			switch {
			case !ok:
				return fmt.Errorf("watch of %s ended", LaneBucket)
			case entry == nil:
				handle("", LaneSwitch{})
			case entry.Operation() == jetstream.KeyValuePut:
				handle(entry.Key(), DecodeLaneSwitch(entry.Value()))
			default:
				handle(entry.Key(), LaneSwitch{})
			}
		}
	}
}

func (b *Bus) openLanes(ctx context.Context, replicas int) (jetstream.KeyValue, error) {
	return b.openBucket(ctx, jetstream.KeyValueConfig{
		Bucket: LaneBucket, Description: "switches that keep lanes from spending", History: laneHistory, Replicas: replicas,
	})
}
