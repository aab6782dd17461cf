// Package failpoint names the places where a write can be lost, so that simulations can lose it: before it happens,
// after it happened and before its answer is heard, or by a process that stands still; and where it can happen twice.
// In production every plan is nil and costs a comparison.
package failpoint

import (
	"context"
	"errors"
	"time"
)

// ErrLost is what a caller sees of a write that a plan has lost, or whose answer it has lost.
var ErrLost = errors.New("lost at a failpoint")

// An Outcome is what a plan does at one point. The zero Outcome does nothing.
type Outcome struct {
	// Pause lets time pass before the write, as for a process that is stopped.
	Pause time.Duration
	// Lose leaves the write out, LoseAnswer does it and hides that. Both end in ErrLost.
	Lose       bool
	LoseAnswer bool
	// Twice does it twice, as a client library does that has not heard the first answer. The second answer counts.
	Twice bool
}

// A Plan decides what happens when a named point is reached. It is called from many goroutines. A nil Plan does
// nothing.
type Plan func(point string) Outcome

// Do does a write at a named point as the plan wants it.
func (p Plan) Do(ctx context.Context, point string, write func() error) error {
	if p == nil {
		return write()
	}
	o := p(point)
	if o.Pause > 0 {
		select {
		case <-time.After(o.Pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if o.Lose {
		return ErrLost
	}
	err := write()
	if o.Twice {
		err = write()
	}
	if err == nil && o.LoseAnswer {
		return ErrLost
	}
	return err
}
