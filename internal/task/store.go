package task

import (
	"fmt"
	"slices"
	"time"

	"reelay/events"
)

// Storing the outputs
//
// The outputs of a result are copied into reelay's own store by a step of their own, after the task has ended or, if
// the request wants it so, before. What cannot be stored never changes how a task that was paid for ends.

// lateEvent is how much longer than its last event a record is kept at least: an id that is free again must find its
// subjects free, too.
const lateEvent = time.Hour

// minRecordTTL is for how long a record is kept at least that is written when its life is over.
const minRecordTTL = time.Minute

// Stored brings what became of the outputs of a task.
type Stored struct {
	Meta
	// Outputs are those of the record, in its order; one that is stored, or given up, says so.
	Outputs []events.Output
}

// Unsettled returns the indexes of the outputs that are neither stored nor given up.
func Unsettled(t events.Task) []int {
	var left []int
	if t.Result == nil || t.Phase != events.PhaseStoring && t.Phase != events.PhaseDone {
		return nil
	}
	for i, o := range t.Result.Outputs {
		if o.Stored == nil {
			left = append(left, i)
		}
	}
	return left
}

// RecordTTL returns how long an ended task's record that was just written is kept. A step after the end does not
// prolong its life, but for an event so late that it would outlive its task.
func RecordTTL(t events.Task) time.Duration {
	if t.CompletedAt == nil {
		return events.RecordAge
	}
	ends := t.CompletedAt.Add(events.RecordAge)
	for _, tr := range t.Transitions {
		if late := tr.At.Add(events.EventAge + lateEvent); tr.Event != "" && t.ErasedAt == nil && late.After(ends) {
			ends = late
		}
	}
	return max(ends.Sub(written(t)), minRecordTTL).Truncate(time.Second)
}

// store keeps a task that has succeeded from ending until its outputs are stored, if it has any.
func (s *step) store(note string) {
	s.t.QueuePosition, s.t.Pace = nil, ""
	s.noEstimate()
	s.move(arrowStore, note+"; its outputs are being stored")
}

// stored takes in what became of outputs. What is settled stays as it is. Why one could not be stored yet is written once
// for each kind of failure, and is no step.
func (s *step) stored(tr Stored) {
	before := Unsettled(s.t)
	if len(before) == 0 || len(tr.Outputs) != len(s.t.Result.Outputs) {
		return
	}
	r := *s.t.Result
	r.Outputs = slices.Clone(r.Outputs)
	for _, i := range before {
		switch now := tr.Outputs[i]; {
		case now.Stored != nil:
			r.Outputs[i] = now
		case now.StoreError != nil && (r.Outputs[i].StoreError == nil || r.Outputs[i].StoreError.Code != now.StoreError.Code):
			r.Outputs[i].StoreError = now.StoreError
			s.written = true
		}
	}
	s.t.Result = &r
	after := Unsettled(s.t)
	note := storedNote(r.Outputs)
	switch {
	case len(after) == len(before):
		return
	case len(after) > 0:
		s.move(arrowStoredPart, note)
		return
	case s.t.Phase == events.PhaseStoring:
		s.finish(arrowSucceed, "the provider has finished", nil)
	}
	s.move(arrowStored, note)
}

// storedNote counts the outputs that are stored.
func storedNote(outputs []events.Output) string {
	n := 0
	for _, o := range outputs {
		if o.IsStored() {
			n++
		}
	}
	return fmt.Sprintf("%d of %d outputs stored", n, len(outputs))
}

// storingOverdue ends a task whose timeout passes while its outputs are being stored. It was paid for and has
// succeeded, so it completes, and the outputs are stored after that.
func (s *step) storingOverdue() {
	if s.m.At.Before(s.t.Deadline) {
		return
	}
	s.t.Unannounced = true // a heartbeat ends it: the last of its kind, which may be lost
	s.finish(arrowSucceed, "the timeout passed before its outputs were stored", nil)
}
