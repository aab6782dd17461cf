package events

import (
	"math"
	"time"
)

// An Estimate is when a task will end, as told at some time.
type Estimate struct {
	// Left is the time to the end that it is as likely to take longer than not; four of five ends come between Earliest and Latest.
	Left, Earliest, Latest time.Duration
	// Pace is empty for a task that is not at the provider.
	Pace Pace
}

// Fill writes into a record when it will end, as told now; the pace it leaves as it is. Times are whole seconds in UTC: more digits
// would be noise.
func (e Estimate) Fill(t *Task, now time.Time) {
	at := func(left time.Duration) *time.Time {
		v := now.Add(left).UTC().Round(time.Second)
		return &v
	}
	wait := math.Round(e.Left.Seconds()*10) / 10
	t.EstimatedWaitS, t.ETA, t.ETAEarliest, t.ETALatest = &wait, at(e.Left), at(e.Earliest), at(e.Latest)
}
