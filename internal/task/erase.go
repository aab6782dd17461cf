package task

import (
	"fmt"
	"slices"

	"reelay/events"
)

// Dropped says of outputs of an ended task that the store is to keep their files no longer. The record is told first;
// what no record names is then deleted.
type Dropped struct {
	Meta
	// Outputs are their indexes.
	Outputs []int
	// Err is why.
	Err *events.Error
	// Erase forgets the provider's link and the sum, too.
	Erase bool
}

// Erase begins to erase an ended task: from then on nothing of it is published. What names its files and objects stays
// until Erased. It fails with ErrNotApplicable while the task has not ended, or its end may not be announced yet.
type Erase struct{ Meta }

// Erased says that the files, objects and messages of a task that is erased are gone.
type Erased struct{ Meta }

func (s *step) dropped(tr Dropped) {
	if s.t.Phase != events.PhaseDone || s.t.Result == nil {
		return
	}
	r := *s.t.Result
	r.Outputs = slices.Clone(r.Outputs)
	n := 0
	for _, i := range tr.Outputs {
		if i < 0 || i >= len(r.Outputs) || isDropped(r.Outputs[i], tr) {
			continue
		}
		o := &r.Outputs[i]
		o.Stored, o.StoredURL, o.StoreError = new(false), "", tr.Err
		if tr.Erase {
			o.URL, o.FileName, o.SHA256, o.Object, o.ExpiresAt = "", "", "", "", nil
		}
		n++
	}
	if n == 0 {
		return
	}
	s.t.Result = &r
	s.move(arrowDropped, fmt.Sprintf("%d of %d outputs are no longer stored: %s", n, len(r.Outputs), tr.Err.Message))
}

// isDropped reports whether there is nothing to drop of an output. One that is not stored yet is still to be, unless it is
// erased.
func isDropped(o events.Output, tr Dropped) bool {
	if tr.Erase {
		return o.Stored != nil && o.StoreError != nil && o.StoreError.Code == tr.Err.Code
	}
	return o.StoredURL == ""
}

// erase clears what the task was given and has made, but for what names its files and objects.
func (s *step) erase() {
	switch {
	case s.t.Phase != events.PhaseDone || s.t.Unannounced:
		s.err = ErrNotApplicable
		return
	case s.t.ErasedAt != nil:
		return
	}
	at := s.m.At
	s.t.ErasedAt = &at
	s.t.Input, s.t.Want, s.t.Warnings, s.t.Metadata, s.t.Logs = nil, nil, nil, nil, nil
	s.t.LateUntil, s.t.Trouble, s.t.ProviderWord, s.t.Traceparent = nil, nil, "", ""
	s.t.Error = withoutWords(s.t.Error)
	if s.t.Cancel != nil {
		c := *s.t.Cancel
		c.Reason = ""
		s.t.Cancel = &c
	}
	for i := range s.t.Attempts {
		a := &s.t.Attempts[i]
		a.Files, a.Error = nil, withoutWords(a.Error)
		a.Result = namesOf(a.Result)
		a.Evidence = slices.Clone(a.Evidence)
		for j := range a.Evidence {
			a.Evidence[j].Note, a.Evidence[j].Answer = "", ""
		}
	}
	for i := range s.t.Transitions {
		s.t.Transitions[i].Note = ""
	}
	s.t.Result = namesOf(s.t.Result)
	s.move(arrowErase, "")
}

// erased clears what was left for finding the files and objects.
func (s *step) erased() {
	if s.t.ErasedAt == nil {
		s.err = ErrNotApplicable
		return
	}
	if s.t.InputRef == "" && !hasNames(s.t.Result) && !slices.ContainsFunc(s.t.Attempts, func(a events.Attempt) bool {
		return a.Result != nil
	}) {
		return
	}
	s.t.InputRef = ""
	s.t.Result = skeletonOf(s.t.Result)
	for i := range s.t.Attempts {
		s.t.Attempts[i].Result = nil
	}
	s.move(arrowErased, "")
}

// withoutWords keeps of an error what is no text.
func withoutWords(e *events.Error) *events.Error {
	if e == nil {
		return nil
	}
	return &events.Error{Code: e.Code, Kind: e.Kind, Charge: e.Charge, HTTPStatus: e.HTTPStatus}
}

// namesOf keeps of a result what names files and objects.
func namesOf(r *events.Result) *events.Result {
	if r == nil {
		return nil
	}
	kept := &events.Result{Outputs: slices.Clone(r.Outputs), RawRef: r.RawRef, Late: r.Late}
	for i, o := range r.Outputs {
		kept.Outputs[i] = events.Output{
			ContentType: o.ContentType, Size: o.Size, Width: o.Width, Height: o.Height, DurationS: o.DurationS,
			Object: o.Object, StoredURL: o.StoredURL, Stored: new(false), StoreError: ErasedOutput(),
		}
	}
	return kept
}

func hasNames(r *events.Result) bool {
	return r != nil && (r.RawRef != "" || slices.ContainsFunc(r.Outputs, func(o events.Output) bool {
		return o.Object != "" || o.StoredURL != ""
	}))
}

func skeletonOf(r *events.Result) *events.Result {
	if r == nil {
		return nil
	}
	kept := *r
	kept.RawRef, kept.Outputs = "", slices.Clone(r.Outputs)
	for i := range kept.Outputs {
		kept.Outputs[i].Object, kept.Outputs[i].StoredURL = "", ""
	}
	return &kept
}

// ErasedOutput is the StoreError of an output that was erased.
func ErasedOutput() *events.Error {
	return &events.Error{
		Code: events.CodeErased, Kind: events.KindInvalid, Charge: events.ChargeConfirmed, Message: "it was erased on request",
	}
}
