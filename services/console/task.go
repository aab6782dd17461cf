package console

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"reelay/events"
)

func taskParts() []string {
	return []string{"task-head", "task-actions", "task-outputs", "task-story", "task-attempts", "task-logs", "task-facts"}
}

// taskData is what the page of a task shows.
type taskData struct {
	Task events.Task
	// Path is where the task goes: its phases in order, with where it is.
	Path []stage
	// Doubt says that a person can decide, Candidates which ids of the provider may be the task's.
	Doubt      bool
	Candidates []string
	Band       *band
	Outputs    []output
	Steps      []taskStep
}

// A stage is one phase on the way of a task.
type stage struct {
	Name  string
	Class string
}

// A taskStep is one step, and how long after the one before it came.
type taskStep struct {
	events.Transition
	After string
}

func (s *Service) task(ctx context.Context, r *http.Request) (string, any, error) {
	t, err := s.client.Get(ctx, taskKey(r))
	if err != nil {
		return "", nil, err
	}
	d := taskData{Task: t, Path: way(t), Band: newBand(t, time.Now()), Outputs: outputs(t)}
	if d.Doubt = t.Phase == events.PhaseInDoubt || t.Phase == events.PhaseParked; d.Doubt {
		d.Candidates = candidates(t)
	}
	for i, step := range t.Transitions {
		after := ""
		if i > 0 {
			after = "+" + span(step.At.Sub(t.Transitions[i-1].At))
		}
		d.Steps = append(d.Steps, taskStep{step, after})
	}
	slices.Reverse(d.Steps)
	return t.ID, d, nil
}

// candidates are the ids that evidence of the last attempt names.
func candidates(t events.Task) (ids []string) {
	a := t.Attempt()
	if a == nil {
		return nil
	}
	for _, e := range a.Evidence {
		if e.ProviderID != "" && !slices.Contains(ids, e.ProviderID) {
			ids = append(ids, e.ProviderID)
		}
	}
	return ids
}

// way returns the usual phases of a task, and marks those behind it and the one that it is in.
func way(t events.Task) []stage {
	all := []struct {
		name  string
		of    []events.Phase
		begun bool
	}{
		{"Waiting here", []events.Phase{events.PhaseWaiting}, true},
		{"Being sent", []events.Phase{events.PhaseSubmitting, events.PhaseInDoubt, events.PhaseParked}, len(t.Attempts) > 0},
		{"Provider's queue", []events.Phase{events.PhaseProviderQueued}, t.SubmittedAt != nil},
		{"Running", []events.Phase{events.PhaseRunning, events.PhaseCancelling}, t.StartedAt != nil},
		{"Result", []events.Phase{events.PhaseFetching, events.PhaseStoring}, t.Result != nil},
		{"Ended", []events.Phase{events.PhaseDone}, t.Phase == events.PhaseDone},
	}
	here := slices.IndexFunc(all, func(s struct {
		name  string
		of    []events.Phase
		begun bool
	},
	) bool {
		return slices.Contains(s.of, t.Phase)
	})
	var stages []stage
	for i, s := range all {
		class := "ahead"
		switch {
		case i == here && t.Phase == events.PhaseDone:
			class = "here " + tone(t)
			s.name = word(t.Status)
		case i == here:
			class = "here " + tone(t)
		case i < here && t.Phase == events.PhaseDone && t.Status != events.StatusCompleted && !s.begun:
			class = "skipped"
		case i < here:
			class = "past"
		}
		stages = append(stages, stage{s.name, class})
	}
	return stages
}

// A band is when a task will end, drawn from its acceptance to its latest likely end: what has passed, and where four of
// five ends are.
type band struct {
	// Passed, From and To are places along the band in percent, Likely that of the end which is as likely to come before as
	// after.
	Passed, From, Width, Likely string
	Text                        string
}

func newBand(t events.Task, now time.Time) *band {
	if t.ETA == nil || t.ETAEarliest == nil || t.ETALatest == nil || t.Status.Terminal() {
		return nil
	}
	end := *t.ETALatest
	if now.After(end) {
		end = now
	}
	whole := end.Sub(t.CreatedAt)
	if whole <= 0 {
		return nil
	}
	place := func(at time.Time) float64 { return min(max(100*float64(at.Sub(t.CreatedAt))/float64(whole), 0), 100) }
	write := func(p float64) string { return fmt.Sprintf("%.2f%%", p) }
	from, to := place(*t.ETAEarliest), place(*t.ETALatest)
	return &band{
		Passed: write(place(now)), From: write(from), Width: write(max(to-from, 0.5)), Likely: write(place(*t.ETA)),
		Text: fmt.Sprintf("Likely done in %s; four of five such tasks end in %s to %s.", span(t.ETA.Sub(now)),
			span(t.ETAEarliest.Sub(now)), span(t.ETALatest.Sub(now))),
	}
}
