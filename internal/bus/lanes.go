package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
)

const (
	// LaneBucket is the KV bucket of what is set for lanes: one key per lane, and AllLanes, for the switch that keeps it from
	// spending, and <lane>.limits for its limits, as events.LaneLimits. A key that is absent pauses nothing and changes no limit.
	LaneBucket = "reelay_lanes"
	// LaneWriter is who sets a switch in reelay's own name.
	LaneWriter = "reelay"
	// AllLanes is the key that counts for every lane, also for those to come.
	AllLanes = "_all"
	// laneHistory is how many settings of each switch are kept, so that one can see who did what.
	laneHistory = 16
	// limitsSuffix ends the key of a lane's limits.
	limitsSuffix = ".limits"
)

// LimitsKey is the key of a lane's limits in LaneBucket.
func LimitsKey(lane string) string { return lane + limitsSuffix }

// LaneOfLimits returns the lane whose limits a key of LaneBucket holds; false for a key that is a switch.
func LaneOfLimits(key string) (string, bool) { return strings.CutSuffix(key, limitsSuffix) }

// A LaneSwitch is the value of a key in LaneBucket, as JSON.
type LaneSwitch struct {
	Paused bool `json:"paused"`
	// Reason and By say why and who, for people.
	Reason string    `json:"reason,omitempty"`
	By     string    `json:"by,omitempty"`
	At     time.Time `json:"at,omitzero"`
	// Until is set where reelay itself has paused the lane because the provider refuses the account: from then on one task at a
	// time is sent to see whether it still does. Tries counts how often it did.
	Until time.Time `json:"until,omitzero"`
	Tries int       `json:"tries,omitempty"`
}

// Probing reports whether the lane is paused and yet one task may be sent, to see whether the provider takes it.
func (s LaneSwitch) Probing(now time.Time) bool {
	return s.Paused && !s.Until.IsZero() && !now.Before(s.Until)
}

// Stops reports whether nothing at all may be sent.
func (s LaneSwitch) Stops(now time.Time) bool { return s.Paused && !s.Probing(now) }

// DecodeLaneSwitch reads a value of LaneBucket. One that cannot be read pauses: whoever wrote it wanted something, and going on
// costs money.
func DecodeLaneSwitch(value []byte) LaneSwitch {
	var s LaneSwitch
	if err := json.Unmarshal(value, &s); err != nil {
		return LaneSwitch{Paused: true, Reason: "the switch holds no readable JSON"}
	}
	s.Tries = max(s.Tries, 0)
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

// CheckLane asks the leader of the stream, not a cache, whether a lane may send nothing. It fails with a *PausedError, or with
// another error if the broker did not answer.
func (b *Bus) CheckLane(ctx context.Context, lane string) error {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	for _, key := range []string{AllLanes, lane} {
		entry, err := b.key(ctx, LaneBucket, key)
		switch {
		case errors.Is(err, jetstream.ErrKeyNotFound):
		case err != nil:
			return fmt.Errorf("switch of lane %s: %w", key, err)
		default:
			if s := DecodeLaneSwitch(entry.Value()); s.Stops(time.Now()) {
				return &PausedError{key, s}
			}
		}
	}
	return nil
}

// SetLane sets the switch of a lane if it still has the revision that is known, 0 for one that was never set, and returns the new
// one. It fails with ErrConflict if somebody else was faster; after any other error it may or may not be set.
func (b *Bus) SetLane(ctx context.Context, lane string, s LaneSwitch, revision uint64) (uint64, error) {
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

// A LaneUpdate is one key of LaneBucket as FollowLanes sees it.
type LaneUpdate struct {
	// Ready marks the end of the keys that existed when FollowLanes began; nothing else is set.
	Ready bool
	// Lane is the lane or AllLanes, Revision that of the key.
	Lane     string
	Revision uint64
	// Switch is set if the key is the lane's switch. A key that was deleted is a switch that pauses nothing, or no limits.
	Switch *LaneSwitch
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
	lane, limits := LaneOfLimits(u.Lane)
	switch {
	case limits && there:
		u.Lane = lane
		l, err := events.DecodeLaneLimits(entry.Value())
		u.Limits, u.Err = &l, err
	case limits:
		u.Lane, u.Limits = lane, &events.LaneLimits{}
	case there:
		s := DecodeLaneSwitch(entry.Value())
		u.Switch = &s
	default:
		u.Switch = &LaneSwitch{}
	}
	return u
}

func (b *Bus) openLanes(ctx context.Context, replicas int) (jetstream.KeyValue, error) {
	return b.openBucket(ctx, jetstream.KeyValueConfig{
		Bucket: LaneBucket, Description: "switches and limits of lanes", History: laneHistory, Replicas: replicas,
	})
}
