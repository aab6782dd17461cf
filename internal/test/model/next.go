package model

import "reelay/events"

// emit receives a successor: whether it needs no luck, what happened, and the property that the step itself violates.
type emit func(s *state, sure bool, label, broken string)

// next makes every successor of s.
func (e *explorer) next(s *state, out emit) {
	begin := func() *step { return &step{state: *s, e: e} }
	end := func(t *step, sure bool, label string) { out(&t.state, sure, label, t.broken) }
	for k := range s.proc {
		if k > 0 && s.proc[k] == s.proc[0] {
			continue // the same successors
		}
		e.submitter(s, k, begin, end)
	}
	e.network(s, begin, end)
	e.publishers(s, begin, end)
	e.provider(s, begin, end)
	e.people(s, begin, end)
	if slot := e.freeBox(s); slot >= 0 {
		e.heartbeat(s, slot, begin, end)
		e.poller(s, slot, begin, end)
		e.evidence(s, slot, begin, end)
		e.commands(s, slot, begin, end)
	}
	if s.clock < pastAll {
		t := begin()
		t.clock++
		if t.clock == pastStart && !e.o.StartDeadline {
			t.clock++
		}
		end(t, true, "time passes a deadline")
	}
}

func (e *explorer) freeBox(s *state) int {
	for i := range e.o.Publishers {
		if s.box[i].by == byNobody {
			return i
		}
	}
	return -1
}

type (
	beginning func() *step
	ending    func(t *step, sure bool, label string)
)

// submitter is one process that takes waiting tasks through intent, paid request and report.
func (e *explorer) submitter(s *state, k int, begin beginning, end ending) {
	p := s.proc[k]
	b := e.o.mutation
	if p.pc != idle {
		t := begin()
		t.proc[k] = proc{}
		end(t, true, "submitter dies, disk and all")
		if e.o.Journal && p.pc == permit {
			t := begin()
			t.proc[k].pc, t.proc[k].out = posted, oNotSent
			end(t, false, "submitter dies and comes back: its journal says not sent")
		}
	}
	switch p.pc {
	case idle:
		e.claim(s, k, begin, end)
	case reading:
		t := begin()
		eff := e.b.apply(p.base, trig{kind: kIntent, owner: p.owner, clock: s.clock, after: afterMid})
		t.rec = eff.rec // over whatever is there
		t.proc[k] = proc{pc: permit, attempt: e.b.classes[eff.rec].n, owner: p.owner}
		if e.b.classes[eff.rec].phase != events.PhaseSubmitting {
			t.proc[k] = proc{}
		}
		end(t, false, "intent put blindly")
	case unsure:
		if b.lostAckPermits {
			t := begin()
			t.proc[k].pc = permit
			end(t, false, "lost acknowledgement taken for a permit")
			return
		}
		t := begin()
		eff := t.apply(trig{kind: kRelease, owner: p.owner})
		t.after(k, eff)
		end(t, false, "submitter releases its intent")
	case permit:
		e.send(s, k, begin, end)
	case posted:
		if b.eventFirst {
			t := begin()
			for list := e.b.apply(s.rec,
				trig{kind: report[p.out], attempt: p.attempt, owner: p.owner, clock: s.clock}).list; list != 0; {
				list = t.storeNext(list)
			}
			end(t, false, "submitter stores the events of a record that is not written")
		}
		t := begin()
		tr := trig{kind: report[p.out], attempt: p.attempt, owner: p.owner}
		if b.blindOutcome {
			eff := e.b.apply(p.base, trig{kind: tr.kind, attempt: tr.attempt, owner: tr.owner, clock: s.clock})
			t.judge(tr, eff)
			t.rec = eff.rec
			t.after(k, eff)
		} else {
			t.after(k, t.apply(tr))
			if e.o.Unheard {
				t := begin()
				t.apply(tr)
				end(t, false, "the report "+outcomes[p.out]+" is stored and not acknowledged: it comes again")
			}
		}
		end(t, false, "submitter reports "+outcomes[p.out])
	case publishing:
		t := begin()
		t.proc[k].list = t.storeNext(t.proc[k].list)
		t.settle()
		end(t, false, "submitter stores an event")
	}
}

var outcomes = [...]string{
	oAccepted: "accepted", oRefusedFinal: "refused", oRefusedWait: "refused for the account", oNotSent: "not sent",
	oDoubt: "in doubt", oAnswered: "its result", oAnsweredFailed: "a failure in place of its result",
}

// claim begins with a waiting task.
func (e *explorer) claim(s *state, k int, begin beginning, end ending) {
	c := &e.b.classes[s.rec]
	b := e.o.mutation
	if b.repost && c.phase == events.PhaseSubmitting {
		t := begin()
		t.proc[k] = proc{pc: permit, attempt: c.n, owner: c.owner, base: e.base(t.rec)}
		end(t, false, "submitter sends again what it finds submitting")
	}
	if c.phase != events.PhaseWaiting || int(c.n) >= e.o.Attempts {
		return
	}
	owner := (&step{state: *s, e: e}).freeOwner()
	after := afterSoon
	if c.backoff {
		after = afterMid
	}
	if b.noIntent {
		t := begin()
		t.proc[k] = proc{pc: permit, attempt: c.n + 1, owner: owner, base: e.base(t.rec)}
		end(t, false, "submitter sends without an intent")
		return
	}
	if b.blindIntent {
		t := begin()
		t.proc[k] = proc{pc: reading, owner: owner, base: s.rec}
		end(t, false, "submitter reads a waiting task")
		return
	}
	t := begin()
	eff := t.apply(trig{kind: kIntent, owner: owner, after: after})
	if now := &e.b.classes[eff.rec]; now.phase == events.PhaseSubmitting {
		t.proc[k] = proc{pc: permit, attempt: now.n, owner: owner, base: e.base(eff.rec)}
		end(t, false, "intent stored and acknowledged")
		if s.wire.owner == 0 {
			t := begin()
			t.wire = wire{attempt: now.n, owner: owner}
			t.proc[k] = proc{pc: unsure, attempt: now.n, owner: owner, base: e.base(eff.rec)}
			end(t, false, "intent sent, not acknowledged")
		}
		return
	}
	t.after(k, eff)
	end(t, false, "intent comes too late")
	if e.o.Behind && s.clock > 0 {
		t := begin()
		t.behind = 1
		if eff := t.apply(trig{
			kind: kIntent, owner: owner,
			after: after,
		}); e.b.classes[eff.rec].phase == events.PhaseSubmitting {
			t.proc[k] = proc{pc: permit, attempt: e.b.classes[eff.rec].n, owner: owner, base: e.base(eff.rec)}
			end(t, false, "intent in time, by a clock that is behind")
		}
	}
}

// base is what a submitter remembers of the record, where a mutation has it use that.
func (e *explorer) base(rec uint32) uint32 {
	if e.o.mutation.blindOutcome {
		return rec
	}
	return 0
}

// send is the paid request. The gate before the last byte is a veto and no permission: here it may fail to hold
// anything back.
func (e *explorer) send(s *state, k int, begin beginning, end ending) {
	p := s.proc[k]
	i := p.attempt - 1
	try := func(out, fate uint8, left bool, label string) {
		t := begin()
		t.proc[k].pc, t.proc[k].out = posted, out
		if left {
			t.posts[i] = min(t.posts[i]+1, 2)
			if fate != fNone {
				t.fate[i] = fate
			}
		}
		end(t, false, label)
	}
	lost := oDoubt
	if e.o.mutation.doubtRetried {
		lost = oNotSent
	}
	unsent := oNotSent
	if e.o.mutation.unsentIsDoubt {
		unsent = oDoubt
	}
	try(unsent, fNone, false, "gate vetoes the last byte")
	if e.o.Synchronous {
		try(oAnswered, fSucceeded, true, "sent, answered with its result")
		try(oAnsweredFailed, fFailed, true, "sent, answered with a failure")
	} else {
		try(oAccepted, fWorking, true, "sent, accepted, reply read")
	}
	try(oRefusedFinal, fNone, true, "sent, refused for good")
	try(oRefusedWait, fNone, true, "sent, refused for the account")
	try(lost, fFlying, true, "sent, reply lost or 5xx")
	t := begin()
	t.posts[i] = min(t.posts[i]+1, 2)
	t.fate[i] = fFlying
	t.proc[k] = proc{}
	end(t, false, "submitter dies after the last byte")
}

// after is where a submitter is once the machine has answered.
func (t *step) after(k int, eff effect) {
	t.proc[k] = proc{pc: publishing, list: t.todo(eff)}
	t.settle()
}

// todo is what a step has to do outside of the record: its events, then the poll ticket.
func (t *step) todo(eff effect) story {
	if eff.ensure && !t.e.o.mutation.pollTicketLost {
		return eff.list<<4 | tPollTicket
	}
	return eff.list
}

// settle takes out of every list what is done by now, and ends whoever has nothing left to do. Where a second handling
// of the same message could do harm, the acknowledgement is a step of its own.
func (t *step) settle() {
	for k := range t.proc {
		if p := &t.proc[k]; p.pc == publishing {
			if p.list = t.missing(p.list); p.list == 0 {
				*p = proc{}
			}
		}
	}
	for i := range t.box {
		b := &t.box[i]
		b.list = t.missing(b.list)
		if b.list == 0 && (b.by == byCallback || b.by == byCallbackLast || b.by == byPollTicket || b.by == byHeartbeat ||
			b.by == byHeartbeatLast) {
			t.acknowledge(b.by)
			*b = box{}
		}
	}
	if t.e.b.classes[t.rec].heartbeat {
		t.msgs &^= mHeartbeat // another comes anyway
	}
}

// network is what becomes of an intent that nobody acknowledged.
func (e *explorer) network(s *state, begin beginning, end ending) {
	if s.wire.owner == 0 {
		return
	}
	t := begin()
	t.wire = wire{}
	end(t, true, "the unacknowledged intent is lost")
	if e.b.classes[s.rec].phase != events.PhaseWaiting {
		return
	}
	t = begin()
	after := afterSoon
	if e.b.classes[s.rec].backoff {
		after = afterMid
	}
	t.apply(trig{kind: kIntent, owner: s.wire.owner, after: after})
	end(t, false, "the unacknowledged intent is stored")
}

// publishers finish what others than the submitters have written.
func (e *explorer) publishers(s *state, begin beginning, end ending) {
	for i := range s.box {
		b := s.box[i]
		if b.by == byNobody || i > 0 && b == s.box[0] {
			continue
		}
		t := begin()
		t.box[i] = box{}
		end(t, true, "a poller or command handler dies before its acknowledgement")
		t = begin()
		switch q := &t.box[i]; {
		case q.list != 0:
			label := "an event is stored"
			if q.list == tPollTicket {
				label = "the poll ticket is made sure of"
			}
			q.list = t.storeNext(q.list)
			t.settle()
			end(t, true, label)
		default:
			t.acknowledge(q.by)
			*q = box{}
			t.settle()
			end(t, true, "a message is acknowledged")
		}
	}
}

// open puts the rest of a step into a box; what has nothing left to do is acknowledged at once, except where a
// repetition could do harm.
func (t *step) open(i int, by uint32, eff effect) {
	if by == byHeartbeat && !t.e.b.classes[t.rec].heartbeat {
		by = byHeartbeatLast
		t.msgs |= mHeartbeat
	}
	t.box[i] = box{by: by, list: t.todo(eff)}
	if t.e.o.mutation.ackFirst {
		t.acknowledge(by)
	}
	t.settle()
}

// acknowledge takes away the message that a step came from.
func (t *step) acknowledge(by uint32) {
	switch by {
	case byHeartbeatLast:
		t.msgs &^= mHeartbeat
	case byPollTicketLast:
		t.msgs &^= mPollTicket
	case byCallbackLast:
		t.msgs &^= mCallback
	case byCancel:
		t.msgs &^= mCancel
	case byResolve:
		t.msgs &^= mResolve
		t.decision, t.about = 0, 0
	}
}

// provider decides what becomes of what was sent.
func (e *explorer) provider(s *state, begin beginning, end ending) {
	for i, f := range s.fate {
		to := func(fate uint8, label string) {
			t := begin()
			t.fate[i] = fate
			end(t, false, label)
		}
		switch f {
		case fFlying:
			if e.o.Synchronous {
				to(fSucceeded, "provider does what nobody has a reply to")
			} else {
				to(fWorking, "provider accepts what nobody has a reply to")
			}
			to(fNone, "the request is lost on its way")
		case fWorking:
			to(fSucceeded, "provider finishes")
			to(fFailed, "provider fails the task")
			to(fCancelled, "the task is cancelled at the provider")
			if e.o.OddPolls {
				to(fFree, "provider fails the task and charges nothing")
				to(fGone, "provider forgets the task")
			}
		}
	}
}

// people are the client, who may cancel, and the person who resolves.
func (e *explorer) people(s *state, begin beginning, end ending) {
	if e.o.Cancels > 0 && !s.asked {
		t := begin()
		t.asked = true
		t.msgs |= mCancel
		end(t, false, "client asks for a cancel")
	}
	c := &e.b.classes[s.rec]
	doubt := c.phase == events.PhaseInDoubt || c.phase == events.PhaseParked
	if int(s.decided) >= e.o.Decisions || s.msgs&mResolve != 0 || c.doubted == 0 || !doubt && c.phase != events.PhaseDone {
		return
	}
	decide := func(k kind, label string) {
		t := begin()
		t.decided++
		t.msgs |= mResolve
		t.decision, t.about = k, c.doubted
		if k == kResubmit {
			t.allowed = max(t.allowed, t.bought()+1)
		}
		end(t, false, label)
	}
	if bought(s.fate[c.doubted-1]) && !e.o.Synchronous {
		decide(kAdopt, "a person adopts the provider's task")
	}
	if doubt {
		decide(kResubmit, "a person allows another paid attempt")
		decide(kWriteOff, "a person writes it off")
	}
}

// bought counts what was bought, or may still be.
func (s *state) bought() (n uint8) {
	for i, f := range s.fate {
		open := bought(f) || f == fFlying
		for _, p := range s.proc {
			open = open || p.pc == permit && int(p.attempt) == i+1
		}
		if open {
			n++
		}
	}
	return n
}

// heartbeat may come at any moment, as long as the record has one.
func (e *explorer) heartbeat(s *state, slot int, begin beginning, end ending) {
	c := &e.b.classes[s.rec]
	if s.msgs&mHeartbeat != 0 {
		t := begin()
		t.msgs &^= mHeartbeat
		end(t, false, "the delivered heartbeat expires")
	}
	if !c.heartbeat && s.msgs&mHeartbeat == 0 {
		return
	}
	heartbeatBehind := func(after, behind uint8, label string) {
		t := begin()
		t.behind = behind
		eff := t.apply(trig{kind: kHeartbeat, after: after})
		if c.record.Unannounced { // the step says that the events are stored, and is taken after that
			for rest := eff.list; rest != 0; {
				rest = t.storeNext(rest)
			}
		}
		t.open(slot, byHeartbeat, eff)
		end(t, behind == 0, label)
	}
	heartbeat := func(after uint8, label string) { heartbeatBehind(after, 0, label) }
	heartbeat(afterSoon, "heartbeat")
	if e.o.Behind && s.clock > 0 {
		heartbeatBehind(afterSoon, 1, "heartbeat, by a clock that is behind")
	}
	switch c.phase {
	case events.PhaseSubmitting, events.PhaseCancelling:
		heartbeat(afterMid, "heartbeat after not_after or the grace")
	case events.PhaseInDoubt:
		heartbeat(afterLong, "heartbeat after the horizon")
		if e.o.Listings > 0 {
			heartbeat(afterLonger, "heartbeat after twice the horizon")
			t := begin()
			t.open(slot, byCallback, t.apply(trig{kind: kSearched, attempt: c.n}))
			end(t, false, "the provider's list does not show it")
			t = begin()
			t.open(slot, byCallback, t.apply(trig{kind: kSearchedPart, attempt: c.n}))
			end(t, false, "the provider's list does not show it, and does not show everything")
		}
	case events.PhaseDone:
		if c.late {
			heartbeat(afterVeryLong, "heartbeat after late polling")
		}
	}
	if c.needs.AskCancel {
		e.cancelAnswers(slot, byHeartbeat, begin, end)
	}
}

// poller polls the task for as long as its poll ticket exists.
func (e *explorer) poller(s *state, slot int, begin beginning, end ending) {
	if s.msgs&mPollTicket == 0 {
		return
	}
	c := &e.b.classes[s.rec]
	if !c.needs.PollTicket {
		t := begin()
		eff := t.apply(trig{kind: kHeartbeat})
		t.open(slot, byPollTicketLast, eff)
		end(t, true, "the poll ticket finds the task ended")
		return
	}
	if c.needs.AskCancel {
		e.cancelAnswers(slot, byPollTicket, begin, end)
		return
	}
	if c.phase == events.PhaseDone && s.clock == pastAll && !s.stored.has(terminalOf(c.status)) {
		t := begin() // an overdue task is given a heartbeat before each poll
		t.open(slot, byPollTicket, t.apply(trig{kind: kHeartbeat}))
		end(t, true, "the poll finds a deadline passed")
		return
	}
	if c.current == 0 {
		return
	}
	poll := func(k kind, after uint8, label string) {
		t := begin()
		t.poll(slot, trig{kind: k, after: after})
		end(t, true, label)
	}
	fate := s.fate[c.current-1]
	if fate == fWorking || e.o.OddPolls {
		poll(kQueued, afterSoon, "poll: queued")
		poll(kRunning, afterSoon, "poll: running")
	}
	switch fate {
	case fSucceeded:
		poll(kSucceeded, afterSoon, "poll: succeeded")
		if e.o.OddPolls {
			poll(kPending, afterSoon, "poll: finished, no result yet")
		}
	case fFailed:
		poll(kFailed, afterSoon, "poll: failed")
	case fFree:
		poll(kFailedFree, afterSoon, "poll: failed for free")
	case fCancelled:
		poll(kCancelledThere, afterSoon, "poll: cancelled")
	}
	if e.o.OddPolls {
		poll(kTransient, afterSoon, "poll fails")
		poll(kNotFound, afterSoon, "poll: no such task")
		poll(kNotFound, afterMid, "poll: no such task, minutes later")
	}
}

// poll applies what a poll has shown; the ticket is acknowledged if the record then needs none.
func (t *step) poll(slot int, tr trig) {
	eff := t.apply(tr)
	by := byPollTicket
	if !t.e.b.classes[t.rec].needs.PollTicket {
		by = byPollTicketLast
	}
	t.open(slot, by, eff)
}

func (e *explorer) cancelAnswers(slot int, by uint32, begin beginning, end ending) {
	answer := func(k kind, label string) {
		t := begin()
		t.open(slot, by, t.apply(trig{kind: k}))
		end(t, true, label)
	}
	answer(kCancelSent, "provider takes the cancel")
	answer(kCancelUnsupported, "provider has no cancel")
	if e.o.OddPolls {
		answer(kCancelDone, "provider says it is cancelled")
		answer(kCancelUnanswered, "cancel is not answered")
	}
}

// evidence is a callback or a list that shows an accepted attempt, and a callback that tells how it has ended: at any
// time, any number of times, or never.
func (e *explorer) evidence(s *state, slot int, begin beginning, end ending) {
	bring := func(tr trig, label string) {
		t := begin()
		eff := t.apply(tr)
		by := byCallback
		if eff.written && t.e.b.classes[t.rec].phase == events.PhaseDone {
			by = byCallbackLast
			t.msgs |= mCallback
		}
		t.open(slot, by, eff)
		end(t, false, label)
	}
	if s.msgs&mCallback != 0 {
		t := begin()
		t.open(slot, byCallbackLast, t.apply(trig{kind: kHeartbeat}))
		end(t, true, "the callback that has ended the task is delivered again")
	}
	if e.o.Synchronous {
		return // what was answered to somebody else is nowhere to be seen
	}
	for i, f := range s.fate {
		n := uint8(i + 1)
		if f < fWorking {
			if e.o.mutation.callbackUnproven && n <= e.b.classes[s.rec].n {
				bring(trig{kind: kAccepted, attempt: n}, "a callback names what the provider has never accepted")
			}
			continue
		}
		bring(trig{kind: kAccepted, attempt: n}, "a callback or list shows the accepted attempt")
		switch f {
		case fSucceeded:
			bring(trig{kind: kCallbackSucceeded, attempt: n}, "a callback says that an attempt has succeeded")
		case fFailed, fFree:
			bring(trig{kind: kCallbackFailed, attempt: n}, "a callback says that an attempt has failed")
		case fCancelled:
			bring(trig{kind: kCallbackCancelled, attempt: n}, "a callback says that an attempt was cancelled")
		}
		for other := range e.b.classes[s.rec].n {
			if e.o.mutation.callbackUnclaimed && other != uint8(i) {
				bring(trig{kind: kCallbackForeign, attempt: other + 1, owner: n},
					"a callback of one attempt names the request of another")
			}
		}
	}
}

// commands are handled until they are acknowledged, so perhaps more than once.
func (e *explorer) commands(s *state, slot int, begin beginning, end ending) {
	if s.msgs&mCancel != 0 {
		t := begin()
		t.open(slot, byCancel, t.apply(trig{kind: kCancel}))
		end(t, true, "the cancel command is handled")
	}
	if s.msgs&mResolve == 0 {
		return
	}
	t := begin()
	handled := e.b.classes[s.rec].record.LastCommand >= uint64(s.decided)
	if !e.o.mutation.resolveLate && e.b.classes[s.rec].doubted != s.about && !handled {
		t.acknowledge(byResolve)
		end(t, true, "the resolve command speaks of a former attempt and is rejected")
		return
	}
	eff := t.apply(trig{kind: s.decision, attempt: s.about, owner: s.decided})
	if eff.refused {
		t.acknowledge(byResolve)
		end(t, true, "the resolve command is rejected")
		return
	}
	t.open(slot, byResolve, eff)
	end(t, true, "the resolve command is handled")
}
