package main

import (
	"context"
	"fmt"
	"time"

	"reelay/events"
)

const (
	// checkedTasks is how many of the newest completed tasks the doctor looks at.
	checkedTasks = events.MaxListLimit
	// storingSoon is for how long an output may be on its way to the store, dyingSoon how long before the death of its link
	// that is a failure.
	storingSoon = 5 * time.Minute
	dyingSoon   = time.Hour
)

// checkOutputs shows the outputs of completed tasks that are not stored.
func (a *api) checkOutputs(ctx context.Context) []check {
	r, err := bounded(ctx, func(ctx context.Context) (events.ListReply, error) {
		return a.List(ctx, "", events.ListRequest{Status: []events.Status{events.StatusCompleted}, Limit: checkedTasks})
	})
	if err != nil {
		return nil // checkServices has said so
	}
	return unstored(r.Tasks, time.Now())
}

// An overlooked counts outputs, and names the task of one.
type overlooked struct {
	n    int
	task string
}

func (o *overlooked) add(t events.Task) {
	if o.n == 0 {
		o.task = t.Key().String()
	}
	o.n++
}

// unstored says how many outputs of completed tasks are not stored, and what is to be done.
func unstored(tasks []events.Task, now time.Time) (checks []check) {
	var late, dying, gone, lost overlooked
	for _, t := range tasks {
		if t.Result == nil || t.CompletedAt == nil {
			continue
		}
		for _, o := range t.Result.Outputs {
			dies := o.ExpiresAt != nil
			switch {
			case o.IsStored():
			case o.Stored != nil:
				lost.add(t)
			case dies && now.After(*o.ExpiresAt):
				gone.add(t)
			case dies && now.Add(dyingSoon).After(*o.ExpiresAt) && now.Sub(*t.CompletedAt) > storingSoon:
				dying.add(t)
			case now.Sub(*t.CompletedAt) > storingSoon:
				late.add(t)
			}
		}
	}
	const start = "start an archiver, or see its log"
	for _, row := range []struct {
		overlooked
		level, detail, todo string
	}{
		{gone, levelFail, "are not stored, and their links have died", start},
		{dying, levelFail, "are not stored, and their links die within " + dyingSoon.String(), start},
		{late, levelWarn, fmt.Sprintf("are not stored %v after the end", storingSoon), start},
		{lost, levelWarn, "were given up and are not stored", ""},
	} {
		if row.n == 0 {
			continue
		}
		if row.todo == "" {
			row.todo = "why: reelay get " + row.task
		}
		checks = append(checks, check{
			row.level, "outputs", fmt.Sprintf("%d of the last %d completed tasks %s, such as one of %s", row.n, len(tasks), row.detail, row.task),
			row.todo,
		})
	}
	if len(checks) == 0 && len(tasks) > 0 {
		checks = append(checks, check{levelOK, "outputs", fmt.Sprintf("those of the last %d completed tasks are stored", len(tasks)), ""})
	}
	return checks
}
