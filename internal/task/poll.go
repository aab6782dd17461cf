package task

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"reelay/events"
	"reelay/internal/provider"
)

// pollResult takes in what the provider says about a task it has accepted.
func (s *step) pollResult(tr PollResult) {
	if tr.ID != "" && tr.ID != s.t.ProviderID {
		return // a callback of another attempt, or a stray one
	}
	if s.t.Phase == events.PhaseDone {
		s.latePollResult(tr)
		return
	}
	if !isAtProvider(s.t.Phase) {
		return
	}
	snap := tr.Snapshot
	if s.t.Trouble != nil && !(snap.Unconfirmed && s.t.Trouble.Ended > 0) {
		s.move(arrowPollRecovered, "the provider answers again")
		s.t.Trouble = nil
	}
	wordChanged := snap.Word != "" && snap.Word != s.t.ProviderWord
	s.t.ProviderWord = cmp.Or(provider.Clip(snap.Word, 64), s.t.ProviderWord)
	s.logs(snap.Logs)
	if snap.Units != nil {
		s.units(snap)
	}
	switch snap.State {
	case provider.Succeeded:
		s.succeed(result(tr.Snapshot, tr.RawRef))
		return
	case provider.Failed:
		s.failed(tr)
		return
	case provider.Cancelled:
		s.cancelledAtProvider(snap)
		return
	}
	notable := s.notable(snap) || len(s.newLogs) > 0
	notable = s.worsePace(tr.Estimate) || notable
	switch to := phaseOf(snap); {
	case s.t.Phase == events.PhaseCancelling || to == "" || to == s.t.Phase:
		if notable {
			s.move(arrowProgress, s.progressNote())
		} else if to == "" && wordChanged {
			s.move(arrowUnknownWord, fmt.Sprintf("the provider says %q, which is not a verdict", snap.Word))
		}
	case to == events.PhaseProviderQueued:
		s.move(arrowProviderQueue, "back in the provider's queue")
	case to == events.PhaseRunning:
		s.started()
		s.move(arrowRun, s.progressNote())
	default:
		s.started()
		s.move(arrowFetch, "the provider has finished; its result could not be read yet")
	}
	s.estimate(tr.Estimate)
}

func isAtProvider(p events.Phase) bool {
	return p == events.PhaseProviderQueued || p == events.PhaseRunning || p == events.PhaseFetching ||
		p == events.PhaseCancelling
}

// phaseOf returns the phase a snapshot speaks of, or "" for a word nobody knows.
func phaseOf(snap provider.Snapshot) events.Phase {
	switch {
	case snap.ResultPending:
		return events.PhaseFetching
	case snap.State == provider.Queued:
		return events.PhaseProviderQueued
	case snap.State == provider.Running:
		return events.PhaseRunning
	}
	return ""
}

func (s *step) started() {
	if s.t.StartedAt == nil {
		at := s.m.At
		s.t.StartedAt = &at
	}
}

// maxProgress is the most that a task has done which has not ended, in percent.
const maxProgress = 99

// notable takes over position and progress and reports whether a person would notice: a moved position or a whole
// percent.
func (s *step) notable(snap provider.Snapshot) bool {
	changed := false
	if snap.State == provider.Queued && s.t.Phase != events.PhaseProviderQueued {
		s.t.ProgressPercentage = nil // the provider has put it back and begins anew
	}
	old := providerPosition(s.t)
	switch {
	case snap.Position == nil && old != nil && snap.State != provider.Unknown:
		s.t.QueuePosition = nil
	case snap.Position != nil && (old == nil || *old != *snap.Position):
		p := *snap.Position
		s.t.QueuePosition = &events.QueuePosition{Provider: &p}
		changed = true
	}
	if snap.Progress != nil && !math.IsNaN(*snap.Progress) {
		// A model's steps end before its task does, and a task has several rows of them: that is no step back.
		p := math.Floor(min(max(*snap.Progress, 0), maxProgress))
		if s.t.ProgressPercentage == nil || *s.t.ProgressPercentage < p {
			s.t.ProgressPercentage = &p
			changed = true
		}
	}
	return changed
}

func providerPosition(t events.Task) *int {
	if t.QueuePosition == nil {
		return nil
	}
	return t.QueuePosition.Provider
}

func (s *step) progressNote() string {
	var parts []string
	if p := providerPosition(s.t); p != nil {
		parts = append(parts, fmt.Sprintf("%d before it in the provider's queue", *p))
	}
	if p := s.t.ProgressPercentage; p != nil {
		parts = append(parts, fmt.Sprintf("%.0f %%", *p))
	}
	if n := len(s.newLogs); n > 0 {
		parts = append(parts, fmt.Sprintf("%d new log lines", n))
	}
	if s.newPace {
		parts = append(parts, paceWords(s.t.Pace))
	}
	return strings.Join(parts, ", ")
}

func paceWords(p events.Pace) string {
	switch p {
	case events.PaceSlow:
		return "slower than most others"
	case events.PaceCongested:
		return "slower than usual, as others of late"
	case events.PaceStuck:
		return "far slower than others, which end"
	}
	return string(p)
}

// worsePace takes over the pace and reports whether the task has become slower than others. In the record it never gets
// better again: a task that hovers between two paces is announced once for each.
func (s *step) worsePace(e *events.Estimate) bool {
	if e == nil {
		return false
	}
	worse := []events.Pace{"", events.PaceNormal, events.PaceSlow, events.PaceCongested, events.PaceStuck}
	if slices.Index(worse, e.Pace) <= slices.Index(worse, s.t.Pace) {
		return false
	}
	s.t.Pace = e.Pace
	s.newPace = e.Pace != events.PaceNormal
	return s.newPace
}

// estimate takes over when the task will end, or extrapolates that from the percentage. Under 3 % it says nothing: the
// figure would be noise. It writes nothing by itself.
func (s *step) estimate(e *events.Estimate) {
	s.noEstimate()
	if e != nil {
		e.Fill(&s.t, s.m.At)
		return
	}
	if s.t.ProgressPercentage == nil || *s.t.ProgressPercentage < 3 || s.t.StartedAt == nil {
		return
	}
	ran := s.m.At.Sub(*s.t.StartedAt)
	left := time.Duration(float64(ran) * (100 - *s.t.ProgressPercentage) / *s.t.ProgressPercentage)
	eta := s.m.At.Add(left)
	wait := math.Round(left.Seconds()*10) / 10
	s.t.ETA, s.t.EstimatedWaitS = &eta, &wait
}

func (s *step) noEstimate() {
	s.t.EstimatedWaitS, s.t.ETA, s.t.ETAEarliest, s.t.ETALatest = nil, nil, nil, nil
}

func tail[T any](all []T, n int) []T { return all[max(0, len(all)-n):] }

// maxUnits bounds what a provider can bill for one task, so that no price becomes a number that JSON does not have.
const maxUnits = 1e9

func (s *step) units(snap provider.Snapshot) {
	if math.IsNaN(*snap.Units) || *snap.Units < 0 || *snap.Units > maxUnits {
		return
	}
	c := events.Cost{}
	if s.t.Cost != nil {
		c = *s.t.Cost
	}
	units := *snap.Units
	c.Units, c.Unit = &units, snap.Unit
	s.t.Cost = &c
}

func (s *step) succeed(r *events.Result) {
	s.started()
	full := 100.0
	s.t.ProgressPercentage = &full
	s.t.Result = r
	s.bill(events.ChargeConfirmed)
	note := "the provider has finished"
	if s.t.Phase == events.PhaseCancelling || s.t.Cancel != nil && s.t.Cancel.SentAt == nil {
		note = "the provider finished before the cancel took effect; what was paid for is kept"
	}
	if s.t.Keep == events.KeepRequired && len(s.t.Result.Outputs) > 0 {
		s.store(note)
		return
	}
	s.finish(arrowSucceed, note, nil)
}

func result(snap provider.Snapshot, rawRef string) *events.Result {
	r := &events.Result{Outputs: slices.Clone(snap.Outputs), Raw: snap.Raw, Notes: snap.Notes}
	if r.Outputs == nil {
		r.Outputs = []events.Output{}
	}
	for i, o := range r.Outputs {
		if o.ExpiresAt != nil && !validTime(*o.ExpiresAt) {
			r.Outputs[i].ExpiresAt = nil
		}
	}
	if rawRef != "" {
		r.Raw, r.RawRef = nil, rawRef
	}
	for _, name := range slices.Sorted(maps.Keys(snap.Values)) {
		if v := snap.Values[name]; len(r.Values) < events.MaxValues && len(v) <= events.MaxValueBytes {
			if r.Values == nil {
				r.Values = map[string]string{}
			}
			r.Values[name] = v
		}
	}
	return r
}

func (s *step) failed(tr PollResult) {
	snap := tr.Snapshot
	ev := failure(snap)
	if snap.Unconfirmed {
		if !s.trustEnd(ev) {
			return
		}
		s.pollLate()
	}
	if len(snap.Raw) > 0 || tr.RawRef != "" {
		s.t.Result = result(snap, tr.RawRef)
	}
	s.bill(ev.Charge)
	s.finish(arrowFail, ev.Message, ev)
}

// failure is why a task has failed.
func failure(snap provider.Snapshot) *events.Error {
	e := snap.Err
	if e == nil {
		e = &provider.Error{Kind: events.KindInternal, Code: "failed", Message: "the provider gives no reason"}
	}
	ev := e.Event()
	if ev.Charge == "" || snap.Unconfirmed && ev.Charge == events.ChargeNone {
		ev.Charge = events.ChargePossible
	}
	return ev
}

// trustEnd counts a failure that the provider did not tell of itself, and reports whether it was seen for long
// enough to trust it. Until then the task is one whose result cannot be read.
func (s *step) trustEnd(e *events.Error) bool {
	seen := events.Trouble{Kind: e.Kind, Message: e.Message, Since: s.m.At, Ended: 1}
	if old := s.t.Trouble; old != nil && old.Ended > 0 {
		if old.Ended >= EndPolls-1 && s.m.At.Sub(old.Since) >= EndSpan {
			return true
		}
		if old.Ended >= EndPolls {
			return false // nothing new
		}
		seen.Since, seen.Ended = old.Since, old.Ended+1
	}
	s.t.Trouble = &seen
	note := fmt.Sprintf("an end that the provider has not told of itself, seen %d times: %s", seen.Ended, e.Message)
	if s.t.Phase == events.PhaseProviderQueued || s.t.Phase == events.PhaseRunning {
		s.started()
		s.move(arrowFetch, note)
	} else {
		s.move(arrowPollFailed, note)
	}
	return false
}

func (s *step) cancelledAtProvider(snap provider.Snapshot) {
	s.billCancelled()
	switch {
	case s.t.Cancel == nil:
		note := "cancelled at the provider, not by reelay"
		if snap.Err != nil && snap.Err.Message != "" {
			note += ": " + provider.Clip(snap.Err.Message, events.MaxMessageBytes)
		}
		s.finish(arrowCancelled, note, nil)
	case s.t.Cancel.By == "client":
		s.finish(arrowCancelled, cmp.Or(s.t.Cancel.Reason, "cancelled"), nil)
	default:
		s.finish(arrowExpired, "cancelled at the provider", s.deadlineError(events.ChargePossible))
	}
}

// latePollResult takes in what became of a task after reelay had given it up.
func (s *step) latePollResult(tr PollResult) {
	if s.t.LateUntil == nil {
		return
	}
	if tr.Snapshot.Units != nil && tr.Snapshot.State != provider.Running {
		s.units(tr.Snapshot)
	}
	switch state := tr.Snapshot.State; {
	case state == provider.Succeeded:
		s.late(result(tr.Snapshot, tr.RawRef), nil)
	case (state == provider.Failed || state == provider.Cancelled) && !tr.Snapshot.Unconfirmed:
		s.billLate(tr.Snapshot)
		s.t.LateUntil = nil
		s.move(arrowLateEnd, "the provider ended it as "+string(state))
	default:
		s.endLatePolling()
	}
}

// late takes in a result that came after the task had been given up, or with e why there is none.
func (s *step) late(r *events.Result, e *events.Error) {
	s.t.LateUntil = nil
	if e != nil {
		s.bill(e.Charge)
		s.move(arrowLateEnd, "the provider had failed it: "+e.Message)
		return
	}
	s.bill(events.ChargeConfirmed)
	s.t.Result = r
	s.t.Result.Late = true
	s.move(arrowLateResult, "the provider finished after the task had been given up; the result is kept")
}

func (s *step) endLatePolling() {
	if s.t.LateUntil != nil && s.m.At.After(*s.t.LateUntil) {
		s.t.LateUntil = nil
		s.move(arrowLateEnd, "no result came; no longer polled")
	}
}

func (s *step) pollLate() {
	until := s.m.At.Add(LatePolling)
	s.t.LateUntil = &until
}

func (s *step) pollFailed(tr PollFailed) {
	if s.t.Phase == events.PhaseDone {
		s.endLatePolling()
		return
	}
	if !isAtProvider(s.t.Phase) {
		return
	}
	old := s.t.Trouble
	if old != nil && tr.Err.Kind != events.KindNotFound && (old.Kind == tr.Err.Kind || old.Ended > 0) {
		return // the same trouble again writes nothing, and a failed poll does not take back an end that was seen
	}
	now := events.Trouble{Kind: tr.Err.Kind, Message: provider.Clip(tr.Err.Message, events.MaxMessageBytes), Since: s.m.At}
	if old != nil && old.Kind == now.Kind {
		now.Since = old.Since
		now.NotFound = old.NotFound
	}
	if now.Kind == events.KindNotFound {
		now.NotFound = min(now.NotFound+1, NotFoundPolls)
		if old != nil && now.NotFound == old.NotFound && s.m.At.Sub(now.Since) < NotFoundSpan {
			return
		}
	}
	s.t.Trouble = &now
	s.move(arrowPollFailed, string(now.Kind)+": "+now.Message)
	if now.NotFound >= NotFoundPolls && s.m.At.Sub(now.Since) >= NotFoundSpan {
		if c := s.t.Cancel; c != nil && c.By == "client" && acknowledged(c.Outcome) {
			s.finish(arrowCancelled, "cancelled by the provider, which no longer knows the task", nil)
			return
		}
		s.finish(arrowLost, "the provider no longer knows the task", &events.Error{
			Code: events.CodeTaskLost, Kind: events.KindNotFound, Charge: events.ChargePossible,
			Message: "the provider accepted the task and no longer knows it: " + now.Message,
		})
	}
}

// acknowledged reports whether a provider that gave this outcome of a cancel meant to end the task.
func acknowledged(outcome string) bool {
	return outcome == string(provider.CancelDone) || outcome == string(provider.CancelRequested)
}
