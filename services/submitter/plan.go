package submitter

import (
	"context"

	"reelay/events"
	"reelay/internal/want"
)

// plan returns a request with the provider, the model and the input that its want makes, and what of a lenient one
// could not be fulfilled. One that has become a task before stays as it was then, whatever is configured now. Its error
// is a rejection, or says that the store could not be read.
func (s *Service) plan(ctx context.Context, k events.Key, t events.TaskType, r events.Request, digest string) (
	events.Request, []string, error,
) {
	q := want.Question{TaskType: t, Provider: r.Provider, Model: r.Model, Want: *r.Want, Lenient: r.Lenient}
	q.Emulated = len(s.o.Lanes) > 0
	for _, l := range s.o.Lanes {
		q.Configured = append(q.Configured, l.Provider)
		q.Emulated = q.Emulated && l.Emulated
	}
	if r.Provider != "" {
		l, rejected := s.laneOf(r, k, digest)
		if rejected != nil {
			return r, nil, rejected
		}
		q.Provider = l.Provider
	}
	plan, err := s.o.Wants.Plan(q, func(provider, model string) (want.Schema, bool) {
		for _, l := range s.o.Lanes {
			if l.Provider == provider {
				return s.schemas.Of(ctx, l, model)
			}
		}
		return want.Schema{}, false
	})
	if err == nil {
		if r.Provider == "" {
			r.Provider = plan.Provider
		}
		r.Model, r.Input = plan.Model, plan.Input
		return r, plan.Warnings, nil
	}
	old, known := s.store.Get(ctx, k)
	if known != nil || old.RequestDigest != digest {
		return r, nil, refuse(k, digest, codeOf(err), err)
	}
	r.Provider, r.Model, r.Input = old.Lane, old.Model, old.Input
	if old.InputRef != "" {
		r.Input, err = s.o.Bus.GetObject(ctx, old.InputRef)
		return r, old.Warnings, err
	}
	return r, old.Warnings, nil
}
