package submitter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/provider"
	"reelay/internal/task"
)

const (
	// adoptPollWait bounds one question to the provider about an id that a person adopts, and adoptTries is how often it
	// is asked: within the ten seconds for which the resolve verb waits, unless the provider is slow.
	adoptPollWait = 20 * time.Second
	adoptTries    = 3
)

// adopt makes sure that the provider id that a person adopts is that of the attempt in doubt, as far as anybody can
// know, and returns its handle: no record has it, the provider knows it, and it is claimed, for the poller, or a person
// who decides about another task, may be about to take the same. Claims are never given back, so a decision that does
// not apply to the task claims nothing.
func (s *Service) adopt(ctx context.Context, m bus.Message, k events.Key, r task.Resolve) (json.RawMessage, error) {
	t, err := s.store.Get(ctx, k)
	if err != nil {
		return nil, err
	}
	l, ok := s.lanes[t.Lane]
	if !ok {
		return nil, refuse(k, "", events.CodeNotConfigured, fmt.Errorf("lane %s is not configured here", t.Lane))
	}
	if r.Ref, err = l.Driver.Ref(t.Model, r.ID); err != nil {
		return nil, refuse(k, "", events.CodeInvalidRequest, events.NewFieldError("provider_id", "%v", err))
	}
	c, err := task.Apply(&t, r)
	if err != nil || !c.Written {
		return r.Ref, nil // whether that applies to the record is the record's to say
	}
	i := slices.IndexFunc(c.Task.Attempts, func(a events.Attempt) bool { return a.ProviderID == r.ID })
	if i < 0 {
		return r.Ref, nil
	}
	mine := events.ClaimHolder(k, c.Task.Attempts[i].N)
	holder, err := s.ownerOf(ctx, t, r.ID)
	if err == nil && holder == "" {
		if err = s.verify(ctx, m, l, k, r); err == nil {
			holder, err = s.o.Bus.Claim(ctx, l.Name, r.ID, mine)
		}
	}
	if err == nil && holder != mine {
		err = refuse(k, "", events.CodeConflict,
			events.NewFieldError("provider_id", "%s belongs to attempt %s", r.ID, holder))
	}
	return r.Ref, err
}

// ownerOf returns the attempt that has a provider id in its record, as ClaimHolder names it; "" if none has. t, which
// is about to get it, is read as it was before.
func (s *Service) ownerOf(ctx context.Context, t events.Task, providerID string) (owner string, err error) {
	err = s.o.Bus.ReadTasks(ctx, func(other events.Task) {
		if other.Provider != t.Provider {
			return
		}
		for _, a := range other.Attempts {
			if a.ProviderID == providerID {
				owner = events.ClaimHolder(other.Key(), a.N)
			}
		}
	})
	return owner, err
}

// verify asks the provider whether it knows the id that a person adopts. It refuses one that it does not know, and one
// that it could not be asked about in adoptTries deliveries of the command.
func (s *Service) verify(ctx context.Context, m bus.Message, l *lane, k events.Key, r task.Resolve) error {
	asking, cancel := context.WithTimeout(ctx, adoptPollWait)
	defer cancel()
	_, err := l.Driver.Poll(asking, r.Ref)
	var known *provider.Error
	switch {
	case err == nil || ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &known) && known.Kind == events.KindNotFound:
		return refuse(k, "", events.CodeInvalidRequest,
			events.NewFieldError("provider_id", "%s does not know %s: %s", l.Provider, r.ID, known.Message))
	case m.Delivered < adoptTries:
		return fmt.Errorf("the provider could not be asked about %s: %w", r.ID, err)
	}
	refusal := refuse(k, "", events.CodeUnavailable,
		events.NewFieldError("provider_id", "%s could not be asked about %s; try again: %v", l.Provider, r.ID, err))
	refusal.err.Kind, refusal.err.Retryable = events.KindRetry, true
	return refusal
}
