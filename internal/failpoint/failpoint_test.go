package failpoint_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"reelay/internal/failpoint"
)

var errWrite = errors.New("the write's own")

func TestDo(t *testing.T) {
	rows := []struct {
		name    string
		outcome failpoint.Outcome
		own     error
		err     error
		writes  int
		took    time.Duration
	}{
		{name: "nothing", writes: 1},
		{name: "its own error", own: errWrite, err: errWrite, writes: 1},
		{name: "lost", outcome: failpoint.Outcome{Lose: true}, err: failpoint.ErrLost},
		{name: "answer lost", outcome: failpoint.Outcome{LoseAnswer: true}, err: failpoint.ErrLost, writes: 1},
		{
			name: "answer lost, its own error", outcome: failpoint.Outcome{LoseAnswer: true}, own: errWrite, err: errWrite,
			writes: 1,
		},
		{name: "twice", outcome: failpoint.Outcome{Twice: true}, writes: 2},
		{name: "late", outcome: failpoint.Outcome{Pause: time.Second}, writes: 1, took: time.Second},
		{
			name: "late and lost", outcome: failpoint.Outcome{Pause: time.Second, Lose: true}, err: failpoint.ErrLost,
			took: time.Second,
		},
		{name: "too late", outcome: failpoint.Outcome{Pause: time.Hour}, err: context.DeadlineExceeded, took: time.Minute},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				writes, begin := 0, time.Now()
				plan := failpoint.Plan(func(string) failpoint.Outcome { return row.outcome })
				err := plan.Do(ctx, "x", func() error { writes++; return row.own })
				if !errors.Is(err, row.err) || writes != row.writes || time.Since(begin) != row.took {
					t.Errorf("%v after %d writes and %v", err, writes, time.Since(begin))
				}
			})
		})
	}
}
