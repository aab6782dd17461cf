package model

import (
	"errors"
	"fmt"
	"slices"

	"reelay/events"
	"reelay/internal/task"
)

// ErrNotInModel says that a record tells of steps that the machine cannot have taken.
var ErrNotInModel = errors.New("the record's transitions are not a path of the model")

// The arrows that Replay knows by name. All but the last speak of an attempt that is new to the record.
const (
	arrowIntend       = "intend"
	arrowAccepted     = "accepted"
	arrowLateAccepted = "late_accepted"
	arrowDoubleAccept = "double_accept"
	// arrowPositioned takes the place of others of its name right before it.
	arrowPositioned = "positioned"
)

// Replay accepts the transitions of a record that the machine can have written, and answers anything else with
// ErrNotInModel: an unknown arrow, one taken from or to a wrong phase, steps that do not follow on each other, versions
// that skip or run backwards, an attempt that no intent opened, a second end, a way out of an end, an event that is not
// its arrow's. Of steps in a row that announce a position only the newest is kept, so versions may be missing before
// it. A record that holds events.MaxTransitions steps has lost older ones: between those it kept, anything may be
// missing.
func Replay(transitions []events.Transition) error {
	if len(transitions) > events.MaxTransitions {
		return fmt.Errorf("%w: %d transitions, more than %d", ErrNotInModel, len(transitions), events.MaxTransitions)
	}
	arrows := map[string]task.Arrow{}
	for _, a := range task.Arrows() {
		arrows[a.Name] = a
	}
	r := replay{trimmed: len(transitions) == events.MaxTransitions}
	for i, tr := range transitions {
		a, known := arrows[tr.Name]
		if !known {
			return fmt.Errorf("%w: step %d: unknown arrow %q", ErrNotInModel, i, tr.Name)
		}
		if err := r.step(a, tr); err != nil {
			return fmt.Errorf("%w: step %d, %s from %q to %q (version %d): %w", ErrNotInModel, i, tr.Name, tr.From, tr.To,
				tr.Version, err)
		}
	}
	return nil
}

// replay is where a path has come to.
type replay struct {
	version uint64
	phase   events.Phase
	attempt int
	ended   bool
	trimmed bool
}

// quiet says that the record may have been written without a step before tr: with a position, or with why an output could
// not be stored yet.
func quiet(tr events.Transition) bool {
	return tr.Name == arrowPositioned || tr.From == events.PhaseStoring || tr.From == events.PhaseDone
}

func (r *replay) step(a task.Arrow, tr events.Transition) error {
	to := a.To
	if to == "" {
		to = tr.From
	}
	switch {
	case !slices.Contains(a.From, tr.From) || tr.To != to:
		return errors.New("the machine has no such arrow")
	case tr.Event != a.Event:
		return fmt.Errorf("its event is %q, the arrow's %q", tr.Event, a.Event)
	case r.ended && tr.To != events.PhaseDone:
		return errors.New("the task had ended")
	case r.ended && tr.From != events.PhaseDone:
		return errors.New("a second end")
	case tr.From == "" && r.version != 0:
		return errors.New("a second creation")
	case tr.Version == 0 || tr.Version < r.version, !r.trimmed && tr.Version > r.version+1 && !quiet(tr):
		return fmt.Errorf("it follows version %d", r.version)
	case !r.trimmed && tr.From != r.phase:
		return fmt.Errorf("the phase was %q", r.phase)
	}
	if err := r.counts(tr); err != nil {
		return err
	}
	r.version, r.phase, r.attempt, r.ended = tr.Version, tr.To, tr.Attempt, tr.To == events.PhaseDone
	return nil
}

// counts checks the numbers of the paid attempts: each intent opens the next one, and no later step speaks of another
// as the latest. Evidence may bring an attempt of which the record had lost the intent.
func (r *replay) counts(tr events.Transition) error {
	opens := tr.Name == arrowIntend
	mayOpen := opens || tr.Name == arrowAccepted || tr.Name == arrowLateAccepted || tr.Name == arrowDoubleAccept
	switch {
	case tr.Attempt < r.attempt || opens && tr.Attempt == r.attempt:
		return fmt.Errorf("attempt %d after attempt %d", tr.Attempt, r.attempt)
	case !r.trimmed && tr.Attempt > r.attempt && (!mayOpen || tr.Attempt > r.attempt+1):
		return fmt.Errorf("attempt %d after attempt %d, which no intent opened", tr.Attempt, r.attempt)
	case tr.Attempt == 0 && unknown(tr.To):
		return errors.New("there is no attempt")
	}
	return nil
}
