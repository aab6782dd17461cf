package model

import "reelay/events"

const (
	maxAttempts = 4
	submitters  = 2
)

// What became of the paid request of an attempt, in truth.
const (
	fNone      uint8 = iota // not sent, refused, or lost on the way
	fFlying                 // sent; nobody knows whether it will arrive
	fWorking                // accepted
	fSucceeded              // accepted and finished
	fFailed                 // accepted, charged and failed
	fFree                   // accepted and failed without a charge
	fCancelled              // accepted and cancelled there
	fGone                   // accepted and forgotten by the provider
)

func bought(fate uint8) bool { return fate >= fWorking && fate != fFree }

// Where a submitter is.
const (
	idle       uint8 = iota
	reading          // it has read a waiting record (only where a mutation lets its write go without compare-and-set)
	unsure           // its intent was not acknowledged
	permit           // its intent was acknowledged: it may send
	posted           // it knows an outcome
	publishing       // the outcome is written; its events are not all stored
)

// What a submitter knows of its request.
const (
	oNone uint8 = iota
	oAccepted
	oRefusedFinal
	oRefusedWait
	oNotSent
	oDoubt
	oAnswered       // accepted, with what it has made
	oAnsweredFailed // accepted, and failed in the same answer
)

var report = [...]kind{
	oAccepted: kAccepted, oRefusedFinal: kRefusedFinal, oRefusedWait: kRefusedWait,
	oNotSent: kReleaseWait, oDoubt: kDoubt, oAnswered: kAnswered, oAnsweredFailed: kAnsweredFailed,
}

// proc is one submitter.
type proc struct {
	pc, attempt, owner, out uint8
	list                    story
	base                    uint32 // what it has read, for the mutations
}

// wire is an intent that was sent and not acknowledged. It may still be stored, as long as nobody else writes.
type wire struct {
	attempt, owner uint8
}

// Sources of a step whose effects are not all out yet.
const (
	byNobody uint32 = iota
	byHeartbeat
	byHeartbeatLast // the heartbeat that was delivered last before the record stopped having one
	byPollTicket
	byPollTicketLast // the poll ticket will be acknowledged
	byCancel
	byResolve
	byCallback
	byCallbackLast // the callback that has ended the task
)

// box is a service between its write and the acknowledgement of its trigger.
type box struct {
	list story
	by   uint32
}

// Messages that exist.
const (
	mPollTicket uint8 = 1 << iota
	mHeartbeat        // a heartbeat was delivered and is not acknowledged
	mCancel
	mResolve
	mCallback // the callback that has ended the task is not acknowledged
)

// state is one state of the world. Equal states are the same. It has no holes, so that it is hashed as plain memory.
type state struct {
	rec      uint32
	stored   story
	proc     [submitters]proc
	box      [2]box
	wire     wire
	fate     [maxAttempts]uint8
	posts    [maxAttempts]uint8
	reported uint8 // attempts whose reference was brought to the record
	clock    uint8
	msgs     uint8
	// decision is what a waiting resolve command says, about which attempt.
	decision kind
	about    uint8
	decided  uint8  // resolve commands sent
	asked    bool   // the client has asked for a cancel
	allowed  uint8  // how often the task may be bought
	unknown  uint16 // polls in a row that found no such task
}

// normalise brings equal worlds into one form: who is which of two equal processes does not matter.
func (s *state) normalise() {
	if less(s.proc[1], s.proc[0]) {
		s.proc[0], s.proc[1] = s.proc[1], s.proc[0]
	}
	if a, b := s.box[0], s.box[1]; b.by > a.by || b.by == a.by && b.list > a.list {
		s.box[0], s.box[1] = b, a
	}
}

func less(a, b proc) bool {
	x := uint64(a.pc)<<32 | uint64(a.attempt)<<24 | uint64(a.owner)<<16 | uint64(a.out)<<8
	y := uint64(b.pc)<<32 | uint64(b.attempt)<<24 | uint64(b.owner)<<16 | uint64(b.out)<<8
	if x != y {
		return x < y
	}
	if a.list != b.list {
		return a.list < b.list
	}
	return a.base < b.base
}

// first is the world after the request was accepted: the record exists, its event may not be stored.
func (e *explorer) first() (state, error) {
	rec, list, err := e.b.create()
	s := state{rec: rec, allowed: 1}
	if e.o.Policy == events.InDoubtResubmit {
		s.allowed = uint8(e.o.Budget)
	}
	s.box[0] = box{list: list, by: byCallback}
	return s, err
}

// step is a successor under construction.
type step struct {
	state
	e      *explorer
	broken string
	// behind is how many deadlines the clock of whoever acts has not passed yet, which the world's has.
	behind uint8
}

// apply has the machine take a trigger on the newest record and stores what it says. It returns the effect.
func (t *step) apply(tr trig) effect {
	tr.clock = t.clock - t.behind
	eff := t.e.b.apply(t.rec, tr)
	if eff.bad != "" {
		t.broken = propMachine
		return eff
	}
	t.judge(tr, eff)
	if eff.written {
		t.write(eff.rec)
		t.clock = max(t.clock, eff.clock)
	}
	return eff
}

// write stores a record. Intents under way lose their compare-and-set by that.
func (t *step) write(rec uint32) {
	t.rec = rec
	if !t.e.o.mutation.blindIntent {
		t.wire = wire{}
	}
}

// freeOwner returns the smallest owner label that nobody holds.
func (t *step) freeOwner() uint8 {
	for l := uint8(1); ; l++ {
		if l != t.e.b.classes[t.rec].owner && l != t.proc[0].owner && l != t.proc[1].owner && l != t.wire.owner {
			return l
		}
	}
}

// storeNext does the next thing of a list that is not done yet, and returns the rest.
func (t *step) storeNext(list story) story {
	d, rest := t.missing(list).first()
	switch {
	case d == 0:
	case d == tPollTicket:
		t.msgs |= mPollTicket
	case d >= tCompleted && d <= tCancelled:
		if n, _ := t.stored.terminals(); n < 2 { // two are enough to see
			t.stored = t.stored<<4 | d
		}
	default:
		t.stored = t.stored<<4 | d
	}
	return rest
}

// missing drops from a list what is done already: the event store refuses what it has, a poll ticket that is there
// stays.
func (t *step) missing(list story) (out story) {
	for list != 0 {
		d, rest := list.first()
		list = rest
		there := t.stored.has(d) && !(t.e.o.mutation.storeTwice && d >= tCompleted && d <= tCancelled)
		if d == tPollTicket {
			there = t.msgs&mPollTicket != 0
		}
		if !there {
			out = out<<4 | d
		}
	}
	return out
}
