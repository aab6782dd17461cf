package submitter

import (
	"context"
	"encoding/json"

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
	emulated := len(s.o.Lanes) > 0
	for _, l := range s.o.Lanes {
		q.Configured = append(q.Configured, l.Provider)
		emulated = emulated && l.Emulated
	}
	var script json.RawMessage
	if emulated {
		q.Want.Options, script = takeScript(q.Want.Options)
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
		r.Model, r.Input = plan.Model, giveScript(plan.Input, script)
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

// scriptMember is the field of an input by which an emulator is told what to do; no model has it.
const scriptMember = "emulate"

// takeScript takes an emulator's script out of the options of a want.
func takeScript(options json.RawMessage) (rest, script json.RawMessage) {
	var members map[string]json.RawMessage
	if json.Unmarshal(options, &members) != nil || members[scriptMember] == nil {
		return options, nil
	}
	script = members[scriptMember]
	delete(members, scriptMember)
	rest, err := events.Marshal(members)
	if err != nil {
		return options, nil
	}
	return rest, script
}

// giveScript puts it into the input that was made.
func giveScript(input, script json.RawMessage) json.RawMessage {
	var members map[string]json.RawMessage
	if script == nil || json.Unmarshal(input, &members) != nil {
		return input
	}
	members[scriptMember] = script
	scripted, err := events.Marshal(members)
	if err != nil {
		return input
	}
	return scripted
}
