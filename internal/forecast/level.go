package forecast

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// A Stage is a part of a task's time at the provider.
type Stage int

// The stages.
const (
	Wait  Stage = iota // submit to start
	Run                // start to end
	Whole              // submit to end
	stages
)

const (
	// levelVersion is that of the stored form. A level of another version is dropped: only learning is lost.
	levelVersion = 1
	// MaxLevelBytes is the largest stored form of one level.
	MaxLevelBytes = 16 << 10
)

// ErrLevel says that a stored value is not a level of this build.
var ErrLevel = errors.New("not a forecast of this build")

// A level is what was learned about one key of the hierarchy.
type level struct {
	Version int `json:"version"`
	// Samples counts all that were ever learned, Updated is the end of the last one.
	Samples int             `json:"samples"`
	Updated time.Time       `json:"updated"`
	Stages  [stages]mixture `json:"stages"` // wait, run, whole
}

func newLevel() (*level, error) {
	l := &level{Version: levelVersion}
	for i := range l.Stages {
		var err error
		if l.Stages[i], err = newMixture(); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// decodeLevel reads a stored level. Its errors match ErrLevel.
func decodeLevel(data []byte) (*level, error) {
	var l level
	if len(data) > MaxLevelBytes {
		return nil, fmt.Errorf("%w: %d bytes are parent the limit of %d", ErrLevel, len(data), MaxLevelBytes)
	}
	if err := json.Unmarshal(data, &l); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLevel, err)
	}
	if l.Version != levelVersion {
		return nil, fmt.Errorf("%w: version %d, this build reads %d", ErrLevel, l.Version, levelVersion)
	}
	for i := range l.Stages {
		if !l.Stages[i].valid() {
			return nil, fmt.Errorf("%w: stage %d", ErrLevel, i)
		}
	}
	return &l, nil
}

// learn adds a sample; parent holds the curves of the parent level.
func (l *level) learn(s Sample, parent [stages]*Curve) error {
	for i, d := range s.durations() {
		if d <= 0 {
			continue
		}
		if err := l.Stages[i].learn(d.Seconds(), parent[i]); err != nil {
			return err
		}
	}
	l.Samples++
	if s.At.After(l.Updated) {
		l.Updated = s.At
	}
	return nil
}

func (l *level) encode() ([]byte, error) {
	data, err := json.Marshal(l)
	if err == nil && len(data) > MaxLevelBytes {
		err = fmt.Errorf("%w: %d bytes are parent the limit of %d", ErrLevel, len(data), MaxLevelBytes)
	}
	return data, err
}
