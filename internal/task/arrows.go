package task

import "reelay/events"

// An Arrow is one named step of the machine: from which phases it may be taken, where it leads, and the event that
// derives from it. An empty To keeps the phase.
type Arrow struct {
	Name  string
	From  []events.Phase
	To    events.Phase
	Event events.EventType
}

// DoubleAccept is the arrow that should never be taken: a provider has accepted a task twice. It is an alarm.
const DoubleAccept = "double_accept"

// SharedID is another that should never be taken: a provider gave one id to two tasks. It is an alarm on both.
const SharedID = "shared_id"

// The arrows' names.
const (
	arrowAccept        = "accept"
	arrowIntend        = "intend"
	arrowCapReached    = "cap_reached"
	arrowPositioned    = "positioned"
	arrowRelease       = "release"
	arrowAccepted      = "accepted"
	arrowLateAccepted  = "late_accepted"
	arrowDoubleAccept  = DoubleAccept
	arrowSharedID      = SharedID
	arrowRefusedWait   = "refused_wait"
	arrowRefused       = "refused"
	arrowDoubt         = "doubt"
	arrowOverdue       = "overdue"
	arrowSearched      = "searched"
	arrowPark          = "park"
	arrowResubmit      = "resubmit"
	arrowWriteOff      = "write_off"
	arrowProviderQueue = "provider_queued"
	arrowRun           = "run"
	arrowFetch         = "fetch"
	arrowProgress      = "progress"
	arrowUnknownWord   = "unknown_word"
	arrowPollFailed    = "poll_failed"
	arrowPollRecovered = "poll_recovered"
	arrowLost          = "lost"
	arrowSucceed       = "succeed"
	arrowStore         = "store"
	arrowStoredPart    = "stored_part"
	arrowStored        = "stored"
	arrowDropped       = "dropped"
	arrowErase         = "erase"
	arrowErased        = "erased"
	arrowFail          = "fail"
	arrowCancelled     = "cancelled"
	arrowCancelNoted   = "cancel_noted"
	arrowCancel        = "cancel"
	arrowCancelSent    = "cancel_sent"
	arrowCancelVoid    = "cancel_void"
	arrowCancelVoidQd  = "cancel_void_queued"
	arrowExpire        = "expire"
	arrowExpired       = "expired"
	arrowLateResult    = "late_result"
	arrowLateEnd       = "late_end"
	arrowAnnounced     = "announced"
	arrowDepsEnded     = "dependencies_ended"
	arrowDepFailed     = "dependency_failed"
)

// machine is the table of all arrows by name; nobody writes it.
var machine = func() map[string]Arrow {
	m := map[string]Arrow{}
	for _, a := range Arrows() {
		m[a.Name] = a
	}
	return m
}()

// Arrows returns the whole machine.
func Arrows() []Arrow {
	const (
		waiting    = events.PhaseWaiting
		submitting = events.PhaseSubmitting
		inDoubt    = events.PhaseInDoubt
		parked     = events.PhaseParked
		queued     = events.PhaseProviderQueued
		running    = events.PhaseRunning
		cancelling = events.PhaseCancelling
		fetching   = events.PhaseFetching
		storing    = events.PhaseStoring
		done       = events.PhaseDone
	)
	unknown := []events.Phase{submitting, inDoubt, parked}
	open := []events.Phase{waiting, submitting, inDoubt, parked}
	atProvider := []events.Phase{queued, running, fetching, cancelling}
	return []Arrow{
		{arrowAccept, []events.Phase{""}, waiting, events.EventQueued},

		{arrowDepsEnded, []events.Phase{waiting}, "", events.EventProgress},
		{arrowDepFailed, []events.Phase{waiting}, done, events.EventFailed},
		{arrowIntend, []events.Phase{waiting}, submitting, ""},
		{arrowCapReached, []events.Phase{waiting}, "", events.EventProgress},
		{arrowPositioned, []events.Phase{waiting}, "", events.EventProgress},
		{arrowRelease, unknown, waiting, ""},
		{arrowAccepted, open, queued, events.EventSubmitted},
		{arrowLateAccepted, []events.Phase{done}, "", ""},
		{arrowDoubleAccept, events.Phases(), "", ""},
		{arrowSharedID, events.Phases(), "", ""},
		{arrowRefusedWait, unknown, waiting, events.EventProgress},
		{arrowRefused, unknown, done, events.EventFailed},
		{arrowDoubt, []events.Phase{submitting}, inDoubt, events.EventInDoubt},
		{arrowOverdue, []events.Phase{submitting}, inDoubt, events.EventInDoubt},
		{arrowSearched, []events.Phase{inDoubt, parked}, "", ""},
		{arrowPark, []events.Phase{inDoubt}, parked, events.EventInDoubt},
		{arrowResubmit, []events.Phase{inDoubt, parked}, waiting, events.EventProgress},
		{arrowWriteOff, []events.Phase{inDoubt, parked}, done, events.EventFailed},

		{arrowProviderQueue, []events.Phase{running, fetching}, queued, events.EventProgress},
		{arrowRun, []events.Phase{queued, fetching}, running, events.EventProgress},
		{arrowFetch, []events.Phase{queued, running}, fetching, events.EventProgress},
		{arrowProgress, atProvider, "", events.EventProgress},
		{arrowUnknownWord, atProvider, "", ""},
		{arrowPollFailed, atProvider, "", ""},
		{arrowPollRecovered, atProvider, "", ""},
		{arrowLost, atProvider, done, events.EventFailed},
		{arrowSucceed, append([]events.Phase{storing}, atProvider...), done, events.EventCompleted},
		{arrowFail, atProvider, done, events.EventFailed},
		{
			arrowCancelled, append([]events.Phase{waiting, submitting, inDoubt, parked}, atProvider...), done,
			events.EventCancelled,
		},

		{arrowCancelNoted, unknown, "", events.EventProgress},
		{arrowCancel, []events.Phase{queued, running, fetching}, cancelling, events.EventProgress},
		{arrowCancelSent, []events.Phase{cancelling}, "", ""},
		{arrowCancelVoid, []events.Phase{cancelling}, running, events.EventProgress},
		{arrowCancelVoidQd, []events.Phase{cancelling}, queued, events.EventProgress},
		{arrowExpire, []events.Phase{queued, running, fetching, cancelling}, cancelling, events.EventProgress},
		{arrowExpired, append([]events.Phase{waiting}, atProvider...), done, events.EventFailed},

		{arrowStore, atProvider, storing, events.EventProgress},
		{arrowStoredPart, []events.Phase{storing, done}, "", ""},
		{arrowStored, []events.Phase{done}, "", events.EventStored},

		{arrowDropped, []events.Phase{done}, "", ""},
		{arrowErase, []events.Phase{done}, "", ""},
		{arrowErased, []events.Phase{done}, "", ""},

		{arrowLateResult, []events.Phase{done}, "", events.EventLateResult},
		{arrowLateEnd, []events.Phase{done}, "", ""},
		{arrowAnnounced, []events.Phase{done}, "", ""},
	}
}
