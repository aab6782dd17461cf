package bus

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"reelay/events"
	"reelay/events/bucket"
)

// laneBucket keeps the name that simulations know.
func (b *Bus) laneBucket() Bucket { return b.Bucket(bucket.Lanes, "switch") }

// CheckLane asks the leader of the stream, not a cache, whether a lane may send nothing. It fails with a
// *bucket.PausedError, or with another error if the broker did not answer.
func (b *Bus) CheckLane(ctx context.Context, lane string) error {
	keys := []string{bucket.AllLanes, lane}
	var asked sync.WaitGroup
	stops := make([]error, len(keys))
	for i, key := range keys {
		asked.Go(func() { stops[i] = b.checkLaneKey(ctx, key) })
	}
	asked.Wait()
	return cmp.Or(stops...)
}

func (b *Bus) checkLaneKey(ctx context.Context, key string) error {
	entry, err := b.laneBucket().Get(ctx, key)
	if err != nil {
		return fmt.Errorf("pause of lane %s: %w", key, err)
	}
	if p := bucket.DecodeLanePause(entry.Value); entry.Present && p.Stops(time.Now()) {
		return &bucket.PausedError{Key: key, Pause: p}
	}
	return nil
}

// SetLanePause pauses a lane or ends its pause if its key still has the revision that is known, and returns the new
// one. It fails with ErrConflict if somebody else was faster; after any other error it may or may not be set.
func (b *Bus) SetLanePause(ctx context.Context, lane string, p bucket.LanePause, revision uint64) (uint64, error) {
	value, err := events.Marshal(p)
	if err != nil {
		return 0, fmt.Errorf("pause of lane %s: %w", lane, err)
	}
	return b.laneBucket().Update(ctx, lane, value, revision, 0)
}

// A LaneUpdate is one key of bucket.Lanes as WatchLanes sees it.
type LaneUpdate struct {
	// Ready marks the end of the keys that existed when WatchLanes began; nothing else is set.
	Ready bool
	// Lane is the lane or bucket.AllLanes, Revision that of the key.
	Lane     string
	Revision uint64
	// Pause is set if the key is the lane's pause. A key that was deleted pauses nothing, or sets no limits.
	Pause *bucket.LanePause
	// Limits is set if the key is the lane's limits, and Err as well if they cannot be read.
	Limits *events.LaneLimits
	Err    error
}

// WatchLanes calls handle with every key there is, then with Ready, and then with every change, until ctx ends. handle
// must be quick.
func (b *Bus) WatchLanes(ctx context.Context, handle func(LaneUpdate)) error {
	return b.laneBucket().Watch(ctx, func(entry *Entry) {
		if entry == nil {
			handle(LaneUpdate{Ready: true})
			return
		}
		handle(laneUpdate(*entry))
	})
}

func laneUpdate(entry Entry) LaneUpdate {
	u := LaneUpdate{Lane: entry.Key, Revision: entry.Revision}
	lane, limits := bucket.LaneOfLimits(entry.Key)
	switch {
	case limits && entry.Present:
		u.Lane = lane
		l, err := events.DecodeLaneLimits(entry.Value)
		u.Limits, u.Err = &l, err
	case limits:
		u.Lane, u.Limits = lane, &events.LaneLimits{}
	case entry.Present:
		p := bucket.DecodeLanePause(entry.Value)
		u.Pause = &p
	default:
		u.Pause = &bucket.LanePause{}
	}
	return u
}
