package dependency

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"reelay/events"
	"reelay/internal/bus"
)

// maxWalk bounds the records that one search for a cycle reads.
const maxWalk = 1_000

// ErrTooMany says that a task waits, through others, for more than maxWalk tasks.
var ErrTooMany = fmt.Errorf("more than %d tasks to wait for, directly and through others", maxWalk)

// Records are the task records. Get fails with bus.ErrNotFound.
type Records interface {
	Get(ctx context.Context, k events.Key) (events.Task, error)
}

// A State is what became of the tasks that one depends on.
type State struct {
	// Open are the ids of those that have not ended, as far as they were read; Missing is the first of them that has
	// no record.
	Open    []string
	Missing string
	// Failed is why the task cannot be sent, nil where nothing speaks against it.
	Failed *events.Error
	// Ended are the records of all of them, once none is open.
	Ended map[string]events.Task
}

// Read reads what became of the tasks that t waits for. Those that are named in first are read first. With any named, it
// reads no further once it knows that t cannot go on.
func Read(ctx context.Context, records Records, t events.Task, first ...string) (State, error) {
	s := State{Ended: map[string]events.Task{}}
	for _, id := range inOrder(t.WaitsFor, first) {
		d, err := records.Get(ctx, events.Key{Project: t.Project, ID: id})
		switch {
		case errors.Is(err, bus.ErrNotFound):
			s.Open = append(s.Open, id)
			if s.Missing == "" {
				s.Missing = id
			}
		case err != nil:
			return s, err
		case d.Phase != events.PhaseDone:
			s.Open = append(s.Open, id)
		case !HasResult(d) && t.OnDependency != events.DependencyIgnore:
			s.Failed = failed(d)
			return s, nil
		default:
			s.Ended[id] = d
		}
		if len(s.Open) > 0 && len(first) > 0 {
			return s, nil
		}
	}
	return s, nil
}

// inOrder returns ids, those of them that are in first at the front.
func inOrder(ids, first []string) []string {
	all := slices.Clone(ids)
	slices.SortStableFunc(all, func(a, b string) int {
		switch inA, inB := slices.Contains(first, a), slices.Contains(first, b); {
		case inA == inB:
			return 0
		case inA:
			return -1
		}
		return 1
	})
	return all
}

// HasResult reports whether an ended task has what others wait for: it has completed, or its result came late.
func HasResult(t events.Task) bool {
	return t.Status == events.StatusCompleted ||
		t.Result != nil && t.Result.Late && len(t.Result.Outputs)+len(t.Result.Values) > 0
}

// failed says that a dependency has ended without a result.
func failed(d events.Task) *events.Error {
	text := fmt.Sprintf("task %s, which it depends on, has %s", d.ID, d.Status)
	if d.Error != nil {
		text += ": " + d.Error.Error()
	}
	return dependencyError(events.CodeDependencyFailed, "", text)
}

func dependencyError(code, field, text string) *events.Error {
	fe := events.NewFieldError(field, "%s", text) // it bounds what the provider has said
	return &events.Error{
		Code: code, Kind: events.KindDependency, Message: fe.Message, Field: fe.Field, Charge: events.ChargeNone,
	}
}

// Cycle walks from the ids that a task waits for along all that those wait for. It returns why the task cannot be sent
// if that leads back to it, nil if not. It fails with ErrTooMany, or with an error of the broker.
func Cycle(ctx context.Context, records Records, k events.Key, ids []string) (*events.Error, error) {
	by := map[string]string{} // who waits for an id, one for each
	next := slices.Clone(ids)
	for read := 0; len(next) > 0; read++ {
		id := next[0]
		next = next[1:]
		if read == maxWalk {
			return nil, ErrTooMany
		}
		t, err := records.Get(ctx, events.Key{Project: k.Project, ID: id})
		if errors.Is(err, bus.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, of := range t.WaitsFor {
			if of == k.ID {
				return cycle(k.ID, id, by), nil
			}
			if _, seen := by[of]; !seen && !slices.Contains(ids, of) {
				by[of] = id
				next = append(next, of)
			}
		}
	}
	return nil, nil
}

// cycle says which tasks wait for each other: the task itself, and back from the last to the first of the walk.
func cycle(id, last string, by map[string]string) *events.Error {
	path := []string{id}
	for at, ok := last, true; ok; at, ok = by[at] {
		path = append(path, at)
	}
	path = append(path, id)
	slices.Reverse(path)
	return dependencyError(events.CodeDependencyCycle, "after",
		"tasks wait for each other: "+strings.Join(path, " waits for "))
}
