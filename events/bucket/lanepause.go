package bucket

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	// Lanes is the KV bucket of what is set for lanes: the keys <lane> and AllLanes hold a LanePause, the key
	// LimitsKey(lane) holds LaneLimits. A key that is absent pauses nothing and changes no limit.
	Lanes = "reelay_lanes"
	// AllLanes is the key whose LanePause counts for every lane, also for those to come.
	AllLanes = "_all"
	// LaneWriter is LanePause.By of what reelay sets by itself.
	LaneWriter = "reelay itself"

	limitsSuffix = ".limits"
)

// LimitsKey is the key of a lane's limits in Lanes.
func LimitsKey(lane string) string { return lane + limitsSuffix }

// LaneOfLimits returns the lane whose limits a key of Lanes holds; false for the key of a pause.
func LaneOfLimits(key string) (string, bool) { return strings.CutSuffix(key, limitsSuffix) }

// A LanePause says whether a lane may send: the value of the keys <lane> and AllLanes in Lanes, as JSON.
type LanePause struct {
	Paused bool `json:"paused"`
	// Reason and By say why and who, for people.
	Reason string    `json:"reason,omitempty"`
	By     string    `json:"by,omitempty"`
	At     time.Time `json:"at,omitzero"`
	// Until is set where reelay itself has paused the lane because the provider refuses the account: from then on one task
	// at a time is sent, to see whether the provider still does. Tries counts the refusals in a row.
	Until time.Time `json:"until,omitzero"`
	Tries int       `json:"tries,omitempty"`
}

// Probing reports whether the lane is paused and yet one task may be sent, to see whether the provider accepts it.
func (p LanePause) Probing(now time.Time) bool {
	return p.Paused && !p.Until.IsZero() && !now.Before(p.Until)
}

// Stops reports whether nothing at all may be sent.
func (p LanePause) Stops(now time.Time) bool { return p.Paused && !p.Probing(now) }

// DecodeLanePause reads a value of Lanes. One that cannot be read pauses: whoever wrote it wanted something, and
// going on costs money.
func DecodeLanePause(value []byte) LanePause {
	var p LanePause
	if err := json.Unmarshal(value, &p); err != nil {
		return LanePause{Paused: true, Reason: "the pause holds no readable JSON"}
	}
	p.Tries = max(p.Tries, 0)
	return p
}

// ErrPaused is matched by every PausedError.
var ErrPaused = errors.New("the lane is paused")

// A PausedError says which key of Lanes keeps a lane from sending.
type PausedError struct {
	// Key is the lane, AllLanes, or the key of limits that cannot be read.
	Key   string
	Pause LanePause
}

// Error returns "the lane is paused: <key>: <reason> (by <who>)".
func (e *PausedError) Error() string {
	text := fmt.Sprintf("%v: %s", ErrPaused, e.Key)
	if e.Pause.Reason != "" {
		text += ": " + e.Pause.Reason
	}
	if e.Pause.By != "" {
		text += " (by " + e.Pause.By + ")"
	}
	return text
}

// Is matches ErrPaused.
func (e *PausedError) Is(target error) bool { return target == ErrPaused }
