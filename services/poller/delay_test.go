package poller

import (
	"log/slog"
	"testing"
	"time"

	"pgregory.net/rapid"

	"reelay/events"
	"reelay/internal/forecast/learner"
	"reelay/internal/provider"
)

func unlearned() *Service {
	return &Service{learner: learner.New(learner.Options{Log: slog.New(slog.DiscardHandler)})}
}

// TestNextDelay: which tasks are left alone, and for how long.
func TestNextDelay(t *testing.T) {
	const interval = 10 * time.Second
	good, bad := reliability{}.afterEnds(repeated(true, 8)...), reliability{}.afterEnds(repeated(false, 8)...)
	start := good.updatedAt
	for _, row := range []struct {
		name        string
		reliability reliability
		change      func(*events.Task)
		least, most time.Duration
	}{
		{"callbacks come", good, func(*events.Task) {}, time.Minute, maxCallbackGap},
		{"callbacks are lost", bad, func(*events.Task) {}, interval / 2, interval},
		{"none was asked for", good, func(t *events.Task) { t.Attempts[0].Callback = false }, interval / 2, interval},
		{"another attempt asked", good, func(t *events.Task) {
			t.Attempts[0].Callback = false
			t.Attempts = append(t.Attempts, events.Attempt{N: 2, Callback: true})
		}, interval / 2, interval},
		{"trouble", good, func(t *events.Task) { t.Trouble = &events.Trouble{} }, interval, interval},
		{"to be cancelled", good, func(t *events.Task) { t.Cancel = &events.CancelState{} }, interval, interval},
		{"finished, no result yet", good, func(t *events.Task) { t.Phase = events.PhaseFetching }, interval, interval},
		{"cancelling", good, func(t *events.Task) { t.Phase = events.PhaseCancelling }, interval, interval},
		{"given up", good, func(t *events.Task) { t.Phase = events.PhaseDone }, givenUpInterval, givenUpInterval},
		{
			"a deadline is near", good, func(t *events.Task) { t.Deadline = start.Add(40 * time.Second) }, 35 * time.Second,
			40 * time.Second,
		},
		{"it must have begun by", good, func(t *events.Task) {
			at := start.Add(40 * time.Second)
			t.Phase, t.StartedAt, t.StartDeadline = events.PhaseProviderQueued, nil, &at
		}, 35 * time.Second, 40 * time.Second},
		{"it has begun", good, func(t *events.Task) {
			at := start.Add(40 * time.Second)
			t.StartDeadline = &at
		}, time.Minute, maxCallbackGap},
	} {
		task := events.Task{
			TaskType: events.Video, Phase: events.PhaseRunning, ProviderID: "r1", Deadline: start.Add(time.Hour),
			SubmittedAt: &start, StartedAt: &start,
			Attempts: []events.Attempt{{N: 1, ProviderID: "r1", Callback: true, IntentAt: start}},
		}
		row.change(&task)
		l := &lane{Lane: provider.Lane{PollInterval: interval}, reliability: row.reliability}
		if got := unlearned().nextDelay(l, task, start); got < row.least || got > row.most {
			t.Errorf("%s: the next poll in %v, want %v to %v", row.name, got, row.least, row.most)
		}
		first, alone := unlearned().firstDelay(l, task, start), row.least > interval && row.least != givenUpInterval ||
			row.most == maxCallbackGap
		if alone && first <= 0 || row.least == interval/2 && first != 0 || first > row.most {
			t.Errorf("%s: the first poll in %v", row.name, first)
		}
	}
}

// TestNextDelayIsBounded: whatever is learned of callbacks, a poll comes within maxCallbackGap and before a deadline
// that it can meet.
func TestNextDelayIsBounded(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := &lane{Lane: provider.Lane{
			PollInterval: time.Duration(rapid.Int64Range(int64(500*time.Millisecond), int64(30*time.Second)).Draw(rt,
				"interval")),
		}}
		l.reliability = reliability{}.afterEnds(rapid.SliceOfN(rapid.Bool(), 0, 20).Draw(rt, "ends")...)
		now := noon.Add(time.Duration(rapid.Int64Range(0, int64(48*time.Hour)).Draw(rt, "now")))
		task := events.Task{
			TaskType:   events.Video,
			Phase:      rapid.SampledFrom([]events.Phase{events.PhaseProviderQueued, events.PhaseRunning}).Draw(rt, "phase"),
			ProviderID: "r1", SubmittedAt: &noon,
			Deadline: noon.Add(time.Duration(rapid.Int64Range(0, int64(48*time.Hour)).Draw(rt, "deadline"))),
			Attempts: []events.Attempt{{N: 1, ProviderID: "r1", Callback: true, IntentAt: noon}},
		}
		wait, left := unlearned().nextDelay(l, task, now), task.Deadline.Sub(now)
		if wait <= 0 || wait > max(maxCallbackGap, 10*l.PollInterval) || left > 0 && wait > left {
			rt.Fatalf("the next poll in %v, %v before the deadline", wait, left)
		}
	})
}

func TestStretch(t *testing.T) {
	rows := []struct {
		tickets int
		limits  events.PollLimits
		want    time.Duration
	}{
		{0, events.PollLimits{}, 10 * time.Second},
		{400, events.PollLimits{}, 10 * time.Second},
		{1_000, events.PollLimits{}, 20 * time.Second},
		{10_000, events.PollLimits{}, 200 * time.Second},
		{1_000, events.PollLimits{PerSecond: 200}, 10 * time.Second},
		{1_000, events.PollLimits{PerSecond: 10}, 100 * time.Second},
		{0, events.PollLimits{Spacing: events.Duration(30 * time.Second)}, 30 * time.Second},
		{0, events.PollLimits{Spacing: events.Duration(time.Second)}, 10 * time.Second},
	}
	for _, row := range rows {
		b := pollBudget{tickets: row.tickets}
		b.setLimits(row.limits)
		if got := b.stretch(10 * time.Second); got != row.want {
			t.Errorf("%d tickets, limits %+v: %v, want %v", row.tickets, row.limits, got, row.want)
		}
	}
}
