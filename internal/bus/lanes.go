package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
)

// CheckLane asks the leader of the stream, not a cache, whether a lane may send nothing. It fails with a *events.PausedError, or with
// another error if the broker did not answer.
func (b *Bus) CheckLane(ctx context.Context, lane string) error {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	for _, key := range []string{events.AllLanes, lane} {
		entry, err := b.key(ctx, events.LaneBucket, key)
		switch {
		case errors.Is(err, jetstream.ErrKeyNotFound):
		case err != nil:
			return fmt.Errorf("switch of lane %s: %w", key, err)
		default:
			if s := events.DecodeLanePause(entry.Value()); s.Stops(time.Now()) {
				return &events.PausedError{Key: key, Pause: s}
			}
		}
	}
	return nil
}

// SetLane sets the switch of a lane if it still has the revision that is known, 0 for one that was never set, and returns the new
// one. It fails with ErrConflict if somebody else was faster; after any other error it may or may not be set.
func (b *Bus) SetLane(ctx context.Context, lane string, s events.LanePause, revision uint64) (uint64, error) {
	value, err := events.Marshal(s)
	if err != nil {
		return 0, fmt.Errorf("switch of lane %s: %w", lane, err)
	}
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	err = b.faults.Do(ctx, "switch", func() (err error) {
		revision, err = b.lanes.Update(ctx, lane, value, revision)
		return err
	})
	if isConflict(err) {
		return 0, fmt.Errorf("%w: switch of lane %s", ErrConflict, lane)
	}
	if err != nil {
		return 0, fmt.Errorf("switch of lane %s: %w", lane, err)
	}
	return revision, nil
}

// A LaneUpdate is one key of events.LaneBucket as FollowLanes sees it.
type LaneUpdate struct {
	// Ready marks the end of the keys that existed when FollowLanes began; nothing else is set.
	Ready bool
	// Lane is the lane or events.AllLanes, Revision that of the key.
	Lane     string
	Revision uint64
	// Pause is set if the key is the lane's switch. A key that was deleted is a switch that pauses nothing, or no limits.
	Pause *events.LanePause
	// Limits is set if the key is the lane's limits, and Err as well if they cannot be read.
	Limits *events.LaneLimits
	Err    error
}

// FollowLanes calls handle with every key there is, then with Ready, and then with every change, until ctx ends. handle must be
// quick.
func (b *Bus) FollowLanes(ctx context.Context, handle func(LaneUpdate)) error {
	return follow(ctx, b.lanes, func(entry jetstream.KeyValueEntry) {
		switch {
		case entry == nil:
			handle(LaneUpdate{Ready: true})
		default:
			handle(laneUpdate(entry))
		}
	})
}

func laneUpdate(entry jetstream.KeyValueEntry) LaneUpdate {
	u := LaneUpdate{Lane: entry.Key(), Revision: entry.Revision()}
	there := entry.Operation() == jetstream.KeyValuePut
	lane, limits := events.LaneOfLimits(u.Lane)
	switch {
	case limits && there:
		u.Lane = lane
		l, err := events.DecodeLaneLimits(entry.Value())
		u.Limits, u.Err = &l, err
	case limits:
		u.Lane, u.Limits = lane, &events.LaneLimits{}
	case there:
		s := events.DecodeLanePause(entry.Value())
		u.Pause = &s
	default:
		u.Pause = &events.LanePause{}
	}
	return u
}
