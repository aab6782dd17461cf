package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"reelay/events"
	"reelay/internal/provider"
	"reelay/internal/task"
)

// The bounds of time that the record's own timers are compared with. A trigger comes soon after the last step, or after
// one of the waits, each of which lets one more kind of timer run out.
const (
	soon = time.Millisecond
	// mid is past not_before, not_after, the cancel grace and the span of polls without a task.
	mid = 10 * time.Minute
	// long is past the provider's horizon too, longer past twice the horizon.
	long   = horizon * 3 / 2
	longer = 3 * horizon
	// veryLong is past late polling too.
	veryLong = 2 * task.LatePolling

	horizon    = time.Hour
	intentLife = 2 * time.Minute
	backoff    = time.Minute
)

// The clock of the world says which deadlines of the record have passed. They are so far apart that no path of waits
// crosses one by itself. It moves forward, except where the machine itself moves the deadlines.
const (
	early     uint8 = iota // before every deadline
	pastStart              // past the start deadline
	pastAll                // past the total deadline
)

var birth = time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)

const farApart = 100_000 * time.Hour

// clockBase is the first moment of a position of the clock.
func clockBase(t *events.Task, clock uint8) time.Time {
	switch {
	case clock == pastAll:
		return t.Deadline
	case clock == pastStart && t.StartDeadline != nil:
		return *t.StartDeadline
	}
	return birth
}

// kind names a trigger of the machine, in the variants that the world uses.
type kind uint8

const (
	kIntent kind = iota + 1
	kRelease
	kReleaseWait
	kAccepted
	kRefusedFinal
	kRefusedWait
	kDoubt
	kQueued
	kRunning
	kPending
	kSucceeded
	kFailed
	kFailedFree
	kCancelledThere
	kNotFound
	kTransient
	kCancel
	kCancelSent
	kCancelDone
	kCancelUnsupported
	kCancelUnanswered
	kAdopt
	kResubmit
	kWriteOff
	kSearched
	kCallbackSucceeded
	kCallbackFailed
	kCallbackCancelled
	kCallbackForeign
	kSearchedPart
	kAnswered
	kAnsweredFailed
	kHeartbeat
)

// trig is one trigger: what, of which attempt and owner, and when.
type trig struct {
	kind           kind
	attempt, owner uint8
	clock          uint8
	after          uint8 // index of waits
}

var waits = [...]time.Duration{soon, mid, long, longer, veryLong}

const (
	afterSoon uint8 = iota
	afterMid
	afterLong
	afterLonger
	afterVeryLong
)

func (t trig) code(rec uint32) uint64 {
	return uint64(rec)<<32 | uint64(t.kind)<<24 | uint64(t.attempt)<<16 | uint64(t.owner)<<8 | uint64(t.clock)<<4 |
		uint64(t.after)
}

func triggerOf(code uint64) (rec uint32, t trig) {
	return uint32(code >> 32), trig{
		kind: kind(code >> 24), attempt: uint8(code >> 16), owner: uint8(code >> 8), clock: uint8(code>>4) & 15,
		after: uint8(code) & 15,
	}
}

// ownerName and refOf are what an owner label and an attempt are called in a record.
func ownerName(label uint8) string { return "o" + string('0'+rune(label)) }

func refOf(attempt uint8) json.RawMessage { return json.RawMessage{'"', 'r', '0' + attempt, '"'} }

// idOf is the provider's id of the request of an attempt.
func idOf(attempt uint8) string { return "r" + string('0'+rune(attempt)) }

// effect is what a trigger does to a class of records.
type effect struct {
	rec     uint32
	list    story // events to be stored once
	written bool
	ensure  bool // a poll ticket must exist
	refused bool // ErrNotApplicable
	clock   uint8
	bad     string
}

// class is what the world needs to know of a record class.
type class struct {
	record      events.Task
	phase       events.Phase
	status      events.Status
	story       story
	owner       uint8 // of the latest attempt, while its outcome is not known
	n           uint8 // attempts
	doubted     uint8 // the latest attempt of which nobody knows
	current     uint8 // attempt whose reference is polled
	refs        uint8 // attempts with a reference
	foreign     bool  // an attempt has the reference of another
	free        uint8 // attempts proven free, as the record says
	allFree     bool  // what the record says of the price of an ended task: nothing
	heartbeat   bool
	needs       task.Effects
	late        bool
	backoff     bool // not_before is set
	cancel      bool // a cancel is noted
	unannounced bool
}

// A classTable is the set of record classes and what Apply did to each.
type classTable struct {
	o         *Options
	classes   []class
	witnesses []*events.Task // another record of the class, to check the abstraction with
	index     map[string]uint32
	memo      map[uint64]effect
	applies   int
}

func newClassTable(o *Options) *classTable {
	return &classTable{o: o, index: map[string]uint32{}, memo: map[uint64]effect{}}
}

// create returns the class of the record of a new task.
func (b *classTable) create() (uint32, story, error) {
	t := events.Task{
		Schema: events.TaskSchema, ID: "t", Project: "p", TaskType: events.Video, Provider: "fal", Lane: "fal", Model: "m",
		RequestDigest: "d", CreatedAt: birth, Deadline: birth.Add(2 * farApart), OnInDoubt: b.o.Policy,
		MaxPaidAttempts: b.o.Budget,
	}
	if b.o.StartDeadline {
		at := birth.Add(farApart)
		t.StartDeadline = &at
	}
	c, err := b.o.Apply(nil, task.Accept{Meta: task.Meta{At: birth, By: "model"}, Task: t})
	if err != nil {
		return 0, 0, err
	}
	return b.intern(c.Task), onceOf(c.Events), nil
}

func (b *classTable) intern(t events.Task) uint32 {
	k := key(&t, b.o.Listings)
	id, ok := b.index[k]
	if !ok {
		id = uint32(len(b.classes))
		b.index[k] = id
		b.classes = append(b.classes, b.summary(t))
		b.witnesses = append(b.witnesses, nil)
	} else if b.witnesses[id] == nil {
		b.witnesses[id] = &t
	}
	return id
}

func (b *classTable) summary(t events.Task) class {
	c := class{
		record: t, phase: t.Phase, status: t.Status, story: storyOf(t.Transitions), n: uint8(len(t.Attempts)),
		heartbeat: b.o.Heartbeat(t) > 0, needs: b.o.Needs(t), late: t.LateUntil != nil, backoff: t.NotBefore != nil,
		cancel: t.Cancel != nil, unannounced: t.Unannounced,
	}
	c.allFree = t.Phase == events.PhaseDone &&
		(t.Status == events.StatusCancelled || t.Error != nil && t.Error.Charge == events.ChargeNone)
	for _, a := range t.Attempts {
		if string(a.Ref) == string(refOf(uint8(a.N))) {
			c.refs |= 1 << (a.N - 1)
			if string(a.Ref) == string(t.ProviderRef) {
				c.current = uint8(a.N)
			}
		}
		if len(a.Ref) > 0 && c.refs&(1<<(a.N-1)) == 0 {
			c.foreign = true
		}
		if a.Charge == events.ChargePossible && len(a.Ref) == 0 && len(t.ProviderRef) == 0 {
			c.doubted = uint8(a.N)
		}
		if a.Charge == events.ChargeNone {
			c.free |= 1 << (a.N - 1)
		} else if t.Status == events.StatusCancelled {
			c.allFree = false
		}
	}
	if a := t.Attempt(); a != nil && unknown(t.Phase) {
		c.owner = a.Owner[len(a.Owner)-1] - '0'
	}
	return c
}

func unknown(p events.Phase) bool {
	return p == events.PhaseSubmitting || p == events.PhaseInDoubt || p == events.PhaseParked
}

// apply returns what a trigger does to a class of records. Each pair is computed by the machine once.
func (b *classTable) apply(rec uint32, tr trig) effect {
	k := tr.code(rec)
	if e, ok := b.memo[k]; ok {
		return e
	}
	e := b.compute(b.classes[rec].record, tr)
	b.memo[k] = e
	return e
}

// verify checks the abstraction: wherever a second record of a class is known, the machine must treat it as it treated
// the first.
func (b *classTable) verify() string {
	for k, e := range b.memo {
		rec, tr := triggerOf(k)
		if b.witnesses[rec] == nil || windowOf(b.witnesses[rec]) > tr.clock {
			continue // the world's clock is never behind a record's
		}
		if other := b.compute(*b.witnesses[rec], tr); other != e {
			return fmt.Sprintf("two records of class %d (%s) differ under %+v: %+v (%s) and %+v (%s)", rec,
				key(b.witnesses[rec], b.o.Listings), tr, e, key(&b.classes[e.rec].record, b.o.Listings), other,
				key(&b.classes[other.rec].record, b.o.Listings))
		}
	}
	return ""
}

func (b *classTable) compute(t events.Task, tr trig) effect {
	b.applies++
	before := t
	trigger := tr.trigger(&t, b.o.Listings)
	c, err := b.o.Apply(&t, trigger)
	switch {
	case errors.Is(err, task.ErrNotApplicable):
		return effect{rec: b.intern(before), refused: true}
	case err != nil:
		return effect{rec: b.intern(before), bad: "the machine is in error: " + err.Error()}
	}
	e := effect{rec: b.intern(c.Task), written: c.Written, clock: tr.clock}
	if c.Written {
		e.clock = windowOf(&c.Task)
	}
	repair := c.Task.Phase == events.PhaseDone || isRedelivery(trigger)
	if c.Written || repair {
		e.list = onceOf(c.Events)
	}
	if c.Written && !b.o.Repeats && c.Task.Phase != events.PhaseDone &&
		!slices.ContainsFunc(c.Events, func(ev events.Event) bool {
			return ev.Once && ev.Version == c.Task.Version
		}) {
		e.list = 0
	}
	e.ensure = b.o.Needs(c.Task).PollTicket && (!b.o.Needs(before).PollTicket || repair)
	if err := Replay(c.Task.Transitions); err != nil {
		e.bad = err.Error()
	}
	return e
}

// isRedelivery is the rule of package taskstore: which triggers do again what a crash may have left out, although they
// change nothing.
func isRedelivery(tr task.Trigger) bool {
	switch tr.(type) {
	case task.Accept, task.Cancel, task.Resolve, task.Heartbeat, task.Accepted, task.Refused, task.Doubt:
		return true
	}
	return false
}

// trigger is the real trigger for a record of the class.
func (t trig) trigger(r *events.Task, listings int) task.Trigger {
	from := clockBase(r, t.clock)
	if last := r.Transitions[len(r.Transitions)-1].At; last.After(from) {
		from = last
	}
	meta := task.Meta{At: from.Add(waits[t.after]), By: "model"}
	owner := ownerName(t.owner)
	poll := func(s provider.Snapshot) task.Trigger {
		return task.PollResult{Meta: meta, ID: r.ProviderID, Snapshot: s}
	}
	callback := func(s provider.Snapshot) task.Trigger {
		return task.PollResult{Meta: meta, ID: idOf(t.attempt), Snapshot: s}
	}
	fault := func(k events.Kind, c events.Charge) *provider.Error {
		return &provider.Error{Kind: k, Code: "c", Message: "m", Charge: c}
	}
	switch t.kind {
	case kIntent:
		return task.Intent{Meta: meta, Owner: owner, BodySHA256: "s", NotAfter: meta.At.Add(intentLife)}
	case kRelease:
		return task.Release{Meta: meta, Owner: owner, Reason: "m"}
	case kReleaseWait:
		return task.Release{Meta: meta, Owner: owner, Reason: "m", Wait: backoff}
	case kAccepted, kAnswered, kAnsweredFailed:
		a := task.Accepted{
			Meta: meta, Attempt: int(t.attempt), Ref: refOf(t.attempt), ID: idOf(t.attempt),
			Source: "callback",
		}
		if t.owner != 0 {
			a.Owner, a.Source = owner, "reply"
		}
		switch t.kind {
		case kAnswered:
			a.Result = &provider.Snapshot{State: provider.Succeeded, Outputs: []events.Output{{URL: "https://x.test/a"}}}
		case kAnsweredFailed:
			a.Result = &provider.Snapshot{State: provider.Failed, Err: fault(events.KindModeration, "")}
		}
		return a
	case kRefusedFinal:
		return task.Refused{Meta: meta, Owner: owner, Err: fault(events.KindInvalid, "")}
	case kRefusedWait:
		return task.Refused{Meta: meta, Owner: owner, Err: fault(events.KindQuota, ""), Wait: backoff}
	case kDoubt:
		return task.Doubt{Meta: meta, Owner: owner, Err: fault(events.KindAmbiguous, "")}
	case kQueued:
		return poll(provider.Snapshot{State: provider.Queued})
	case kRunning:
		return poll(provider.Snapshot{State: provider.Running})
	case kPending:
		return poll(provider.Snapshot{State: provider.Running, ResultPending: true})
	case kSucceeded:
		return poll(provider.Snapshot{State: provider.Succeeded, Outputs: []events.Output{{URL: "https://x.test/a"}}})
	case kFailed:
		return poll(provider.Snapshot{State: provider.Failed, Err: fault(events.KindModeration, "")})
	case kFailedFree:
		return poll(provider.Snapshot{State: provider.Failed, Err: fault(events.KindInternal, events.ChargeNone)})
	case kCancelledThere:
		return poll(provider.Snapshot{State: provider.Cancelled})
	case kNotFound:
		return task.PollFailed{Meta: meta, Err: fault(events.KindNotFound, "")}
	case kTransient:
		return task.PollFailed{Meta: meta, Err: fault(events.KindRetry, "")}
	case kCancel:
		return task.Cancel{Meta: meta, Reason: "m"}
	case kCancelSent:
		return task.CancelAnswered{Meta: meta, Outcome: provider.CancelRequested}
	case kCancelDone:
		return task.CancelAnswered{Meta: meta, Outcome: provider.CancelDone}
	case kCancelUnsupported:
		return task.CancelAnswered{Meta: meta, Outcome: provider.CancelUnsupported}
	case kCancelUnanswered:
		return task.CancelAnswered{Meta: meta, Err: fault(events.KindRetry, "")}
	case kAdopt:
		return task.Resolve{
			Meta: meta, Command: uint64(t.owner), Action: events.ResolveAdopt, Ref: refOf(t.attempt),
			ID: idOf(t.attempt),
		}
	case kResubmit:
		return task.Resolve{Meta: meta, Command: uint64(t.owner), Action: events.ResolveResubmit}
	case kWriteOff:
		return task.Resolve{Meta: meta, Command: uint64(t.owner), Action: events.ResolveWriteOff}
	case kCallbackSucceeded:
		return callback(provider.Snapshot{State: provider.Succeeded, Outputs: []events.Output{{URL: "https://x.test/a"}}})
	case kCallbackFailed:
		return callback(provider.Snapshot{State: provider.Failed, Err: fault(events.KindModeration, "")})
	case kCallbackCancelled:
		return callback(provider.Snapshot{State: provider.Cancelled})
	case kCallbackForeign: // the callback of an attempt names the request of another
		return task.Accepted{Meta: meta, Attempt: int(t.attempt), Ref: refOf(t.owner), ID: idOf(t.owner), Source: "callback"}
	case kSearched, kSearchedPart:
		return task.Searched{Meta: meta, Attempt: int(t.attempt), Complete: t.kind == kSearched, Note: "m"}
	}
	return task.Heartbeat{Meta: meta, Horizon: horizon, Listings: listings}
}

// key encodes what Apply, Heartbeat and Needs read of a record, and nothing else: no texts, no evidence, no exact
// times.
func key(t *events.Task, listings int) string {
	k := make([]byte, 0, 96)
	last := t.Transitions[len(t.Transitions)-1].At
	timed := false // some timer runs that a jump of the clock would run out
	bit := func(passed bool) {
		if passed {
			k = append(k, '+')
			return
		}
		timed = true
		k = append(k, '-')
	}
	flag := func(c byte, is bool) {
		if is {
			k = append(k, c)
		}
	}
	k = append(k, t.Phase...)
	k = append(k, '/')
	k = append(k, t.Status...)
	k = fmt.Appendf(k, "/%x/%d/%d/", storyOf(t.Transitions), t.MaxPaidAttempts, t.LastCommand)
	for i, a := range t.Attempts {
		k = fmt.Appendf(k, "%d%s%s%s", a.N, a.Outcome[:3], a.Charge[:3], a.Ref)
		flag('R', a.Result != nil)
		flag('F', a.Result != nil && a.Error != nil)
		if i == len(t.Attempts)-1 && unknown(t.Phase) {
			k = append(k, a.Owner...)
			if t.Phase == events.PhaseSubmitting {
				bit(last.After(a.NotAfter))
			}
			if t.Phase != events.PhaseParked {
				k = append(k, '0'+byte(min(a.Listings, listings)))
				bit(last.Sub(a.IntentAt) >= horizon)
				bit(last.Sub(a.IntentAt) >= 2*horizon)
			}
		}
		k = append(k, ',')
	}
	k = fmt.Appendf(k, "/%s/", t.ProviderRef)
	flag('s', t.StartedAt != nil)
	flag('u', t.Unannounced)
	switch t.Phase {
	case events.PhaseWaiting, events.PhaseInDoubt, events.PhaseParked, events.PhaseDone:
	default: // a client's cancel has until then
		flag('g', last.Sub(t.Deadline) >= task.CancelGrace)
	}
	if t.NotBefore != nil {
		k = append(k, 'b')
		bit(!last.Before(*t.NotBefore))
	}
	if c := t.Cancel; c != nil {
		k = append(k, 'c')
		flag('d', c.By != "client")
		flag('x', c.Outcome == string(provider.CancelUnsupported))
		flag('n', c.Outcome == "unanswered")
		flag('y', c.Outcome == string(provider.CancelDone))
		flag('a', c.SentAt != nil)
		if c.SentAt == nil {
			k = append(k, 'A'+byte(c.Tries))
		}
		if t.Phase == events.PhaseCancelling && c.By != "client" {
			bit(last.Sub(c.AskedAt) >= task.CancelGrace)
		}
	}
	if w := t.Trouble; w != nil && t.Phase != events.PhaseDone {
		k = append(k, 't')
		k = append(k, w.Kind...)
		if w.NotFound > 0 {
			k = append(k, '0'+byte(w.NotFound))
			bit(last.Sub(w.Since) >= task.NotFoundSpan)
		}
	}
	if t.Error != nil {
		k = append(k, 'e')
		k = append(k, t.Error.Charge...)
	}
	if t.Result != nil {
		k = append(k, 'r')
		flag('l', t.Result.Late)
	}
	if t.LateUntil != nil {
		k = append(k, 'l')
		bit(last.After(*t.LateUntil))
	}
	if timed {
		k = append(k, 'w', '0'+windowOf(t))
	}
	return string(k)
}

// windowOf returns the position of the clock at the last step of a record.
func windowOf(t *events.Task) uint8 {
	last := t.Transitions[len(t.Transitions)-1].At
	switch {
	case !last.Before(t.Deadline):
		return pastAll
	case t.StartDeadline != nil && !last.Before(*t.StartDeadline):
		return pastStart
	}
	return early
}

// story is a list of events that happen once, in order: one hexadecimal digit each, the first in the highest.
type story uint32

const (
	tQueued story = iota + 1
	tSubmitted
	tInDoubt
	tCompleted
	tFailed
	tCancelled
	tLateResult
	tPollTicket // no event: the poll ticket, made sure of after the events
)

var digits = map[events.EventType]story{
	events.EventQueued: tQueued, events.EventSubmitted: tSubmitted, events.EventInDoubt: tInDoubt,
	events.EventCompleted: tCompleted, events.EventFailed: tFailed, events.EventCancelled: tCancelled,
	events.EventLateResult: tLateResult,
}

func (s story) has(d story) bool {
	for ; s != 0; s >>= 4 {
		if s&15 == d {
			return true
		}
	}
	return false
}

// first returns the first event and the rest.
func (s story) first() (d, rest story) {
	shift := 0
	for s>>shift > 15 {
		shift += 4
	}
	return s >> shift, s & (1<<shift - 1)
}

func (s story) within(whole story) bool {
	for s != 0 && whole != 0 {
		a, restA := s.first()
		b, restB := whole.first()
		if a == b {
			s = restA
		}
		whole = restB
	}
	return s == 0
}

func (s story) terminals() (n int, last story) {
	for ; s != 0; s >>= 4 {
		if d := s & 15; d >= tCompleted && d <= tCancelled {
			n++
			last = d
		}
	}
	return n, last
}

func onceOf(list []events.Event) (s story) {
	for _, e := range list {
		if e.Once {
			s = s<<4 | digits[e.Type]
		}
	}
	return s
}

// storyOf is the story that a record tells.
func storyOf(all []events.Transition) (s story) {
	var seen []events.EventType
	for _, tr := range all {
		if d, ok := digits[tr.Event]; ok && !slices.Contains(seen, tr.Event) {
			seen = append(seen, tr.Event)
			s = s<<4 | d
		}
	}
	return s
}
