package submitter

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/dependency"
	"reelay/internal/inputs"
	"reelay/internal/provider"
	"reelay/internal/task"
)

const (
	// checksInFlight is how many waiting tasks are checked at once.
	checksInFlight = 8
	// checkAgainEvery is how often every task that waits for others is checked, whatever the watch has shown.
	checkAgainEvery = 5 * time.Minute
	// checkRetry is the pause after a check that could not be finished.
	checkRetry = time.Second
)

// releaseDependents lets tasks be sent, or fails them, when those that they depend on have ended, until ctx ends. Every
// submitter does so, whoever dispatches the lane: the second finds it done.
func (s *Service) releaseDependents(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, checksInFlight)
	all := time.NewTicker(checkAgainEvery)
	defer all.Stop()
	for {
		k, ended, ok := s.dependents.Take()
		if !ok {
			select {
			case <-ctx.Done():
				return nil
			case <-s.dependents.Wake():
			case <-all.C:
				s.dependents.Again()
			}
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case slots <- struct{}{}:
		}
		running.Go(func() {
			defer func() { <-slots }()
			err := s.settleDependent(ctx, k, ended...)
			if err == nil || ctx.Err() != nil {
				return
			}
			s.log.WarnContext(ctx, "a task that waits for others could not be checked yet; it is tried again", "task", k, "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(checkRetry):
				s.dependents.Again(k)
			}
		})
	}
}

// settleDependent reads the tasks that a waiting one depends on, those that are named first, and takes the step that
// they allow.
func (s *Service) settleDependent(ctx context.Context, k events.Key, ended ...string) error {
	t, err := s.store.Get(ctx, k)
	switch {
	case errors.Is(err, bus.ErrNotFound):
		s.dependents.See(k, nil, false)
		return nil
	case err != nil:
		return err
	case t.Phase != events.PhaseWaiting || len(t.WaitsFor) == 0:
		return nil
	}
	state, err := dependency.Read(ctx, s.store, t, ended...)
	if err != nil {
		return err
	}
	var tr task.Trigger
	switch {
	case state.Failed != nil:
		tr = task.DependencyFailed{Meta: s.meta(), Err: state.Failed}
	case len(state.Open) > 0:
		return nil
	default:
		if tr, err = s.release(ctx, t, state.Ended); err != nil || tr == nil {
			return err
		}
	}
	_, err = s.store.Apply(ctx, k, tr)
	return err
}

// release returns the step of a task whose dependencies have ended: it may be sent, or its input with their values can
// be of no use; nil where an output has yet to be stored. Its error is one of the broker.
func (s *Service) release(ctx context.Context, t events.Task, ended map[string]events.Task) (task.Trigger, error) {
	input, err := s.store.Input(ctx, t)
	if err != nil {
		return nil, err
	}
	_, free := s.lanes[t.Lane].Driver.(provider.FreeDriver) // it reads the files here, where the store is nearest
	resolved, err := dependency.Resolve(ctx, dependency.Kept{Bus: s.o.Bus}, input, ended, free)
	var bad *events.Error
	switch {
	case errors.As(err, &bad):
		return task.DependencyFailed{Meta: s.meta(), Err: bad}, nil
	case errors.Is(err, dependency.ErrNotStored):
		if time.Since(dependency.LastEnd(ended)) < t.Deadline.Sub(t.TimeoutsFrom()) {
			return nil, nil // the record that names it changes then
		}
		return task.DependencyFailed{Meta: s.meta(), Err: dependency.NeverStored()}, nil
	case err != nil:
		return nil, err
	case bytes.Equal(resolved, input): // it has no references
		return task.DependenciesEnded{Meta: s.meta()}, nil
	}
	sample, err := inputs.Sample(resolved)
	if err == nil {
		err = s.lanes[t.Lane].Driver.Check(t.TaskType, t.Model, sample)
	}
	if err != nil {
		return task.DependencyFailed{Meta: s.meta(), Err: refuse(t.Key(), "", events.CodeInvalidRequest, err).err}, nil
	}
	in := task.ResolvedInput{Input: resolved}
	if in.Cost, err = s.priceAgain(t, resolved); err != nil {
		return task.DependencyFailed{Meta: s.meta(), Err: refuse(t.Key(), "", events.CodeInvalidRequest, err).err}, nil
	}
	if in.Digest, err = events.Digest(resolved); err != nil {
		return nil, err
	}
	if in.Input, in.Ref, err = s.store.KeepInput(ctx, resolved); err != nil {
		return nil, err
	}
	return task.DependenciesEnded{Meta: s.meta(), Input: &in}, nil
}
