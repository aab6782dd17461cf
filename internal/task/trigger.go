package task

import (
	"encoding/json"
	"time"

	"reelay/events"
	"reelay/internal/provider"
)

// A Trigger is one thing that happened to a task. Time comes in on it; Apply has no clock.
type Trigger interface{ meta() Meta }

// Meta is common to all triggers: when it happened, and which service says so.
type Meta struct {
	At time.Time
	By string
	// RequestedBy is who has asked for it; see events.Transition.
	RequestedBy string
}

func (m Meta) meta() Meta { return m }

// Accept asks for the creation of the task: a request was read from the stream.
type Accept struct {
	Meta
	// Task is the record to create: everything that derives from the request alone.
	Task events.Task
	// Note says in words why the task has that lane, where there was a choice.
	Note string
}

// DependenciesEnded says that every task that a waiting one depends on has ended, so that it may be sent.
type DependenciesEnded struct {
	Meta
	// Input is the input with the values of its references; nil where it has none.
	Input *ResolvedInput
}

// A ResolvedInput is an input in which every reference has its value.
type ResolvedInput struct {
	// Input is the input, or Ref names the object that holds one too large for the record.
	Input  json.RawMessage
	Ref    string
	Digest string
	// Cost is what the task may cost with that input.
	Cost *events.Cost
}

// DependencyFailed says why a waiting task is never sent: a task that it depends on has no result, or not the one that
// it refers to, or waits for it in turn.
type DependencyFailed struct {
	Meta
	Err *events.Error
}

// Intent asks for permission to send one paid request. It is granted when Apply writes and that write is acknowledged.
type Intent struct {
	Meta
	// Owner is a nonce of this try; only its holder may report that the request was not accepted.
	Owner      string
	BodySHA256 string
	// Lane is the lane that would send it: the record's, or another of its group (MayMove). Empty is the record's.
	Lane string
	// Note says in words why another lane than the record's sends it.
	Note string
	// Files is what the request has in place of the file references of the input.
	Files map[string]json.RawMessage
	// NotAfter is when the attempt is taken to be in doubt if nothing was reported.
	NotAfter time.Time
	// Callback says that the request names a callback URL.
	Callback bool
	// SentAfter is that of events.Attempt.
	SentAfter *time.Time
	// ReservedUSD is what is set aside for the attempt, in US dollars; nil if nobody knows what it costs.
	ReservedUSD *float64
}

// CapReached says that a waiting task may not be paid for now, and is not tried again before Until.
type CapReached struct {
	Meta
	// Cap is what is used up.
	Cap   events.CapReached
	Until time.Time
	Note  string
}

// Positioned brings the queue position of a waiting task. It is for people: it changes what is announced, and only if
// that has moved (see AnnouncedPosition), never what is done with the task.
type Positioned struct {
	Meta
	// Position has the positions that are known; without Ours, or with one below 0, nothing is announced.
	Position events.QueuePosition
	// Estimate is when the task will end as seen from there; nil where nobody knows.
	Estimate *events.Estimate
}

// Release says that the owner of an attempt knows that its request was not sent.
type Release struct {
	Meta
	Owner  string
	Reason string
	// Wait is the backoff before its next attempt.
	Wait time.Duration
}

// Accepted says that the provider has the task. It is positive evidence: anybody may bring it, in any order.
type Accepted struct {
	Meta
	Attempt int
	// Owner is set when the owner of the attempt itself brings it, Lane is then the lane that has sent it.
	Owner string
	Lane  string
	Ref   json.RawMessage
	ID    string
	// Source is where the evidence comes from.
	Source events.EvidenceSource
	Note   string
	// Result is what the attempt has made, or how it has failed, where the provider's answer was itself the result: nobody
	// can be polled for it. RawRef is that of PollResult.
	Result *provider.Snapshot
	RawRef string
	// Estimate is when the task will end, learned from others like it; nil where nothing is known.
	Estimate *events.Estimate
}

// IDShared: the provider has answered the paid requests of two tasks with one id, and this is one of them.
type IDShared struct {
	Meta
	ID string
}

// Refused says that the provider refused the paid request. Only the owner of the attempt may bring it.
type Refused struct {
	Meta
	Owner string
	Err   *provider.Error
	// Wait is the backoff before the next attempt of the task, when the refusal is one of the account and not of the task.
	Wait time.Duration
	// WithoutCallback says that the refusal may be of the callback URL, and not of the task: it is tried again without
	// one.
	WithoutCallback bool
}

// Doubt says that nobody knows whether the paid request was accepted. Only the owner of the attempt may bring it.
type Doubt struct {
	Meta
	Owner string
	Err   *provider.Error
	// Answer is what was answered, where anything was.
	Answer string
}

// PollResult is what a poll of the provider, or its callback, has shown.
type PollResult struct {
	Meta
	// ID is the provider's id that the snapshot speaks of; one of another than the task lives by changes nothing. Empty
	// stands for the task's own, where nothing else can be meant.
	ID       string
	Snapshot provider.Snapshot
	// RawRef names the object that holds a raw result too large for the record.
	RawRef string
	// Estimate is when the task will end as of that poll, learned from others like it; nil where nothing is known.
	Estimate *events.Estimate
}

// PollFailed says that a poll of the provider failed. It says nothing about the task, save that repeated "not found"
// does.
type PollFailed struct {
	Meta
	Err *provider.Error
}

// Cancel asks for the end of the task.
type Cancel struct {
	Meta
	Reason string
}

// CancelAnswered is what the provider said to a cancel, or Err if it could not be asked.
type CancelAnswered struct {
	Meta
	Outcome provider.CancelOutcome
	Err     *provider.Error
}

// Resolve is a person's decision about a task in doubt.
type Resolve struct {
	Meta
	// Command is the place of the command in its stream, by which a redelivery is known; 0 for none.
	Command uint64
	// DecidedAt is when it was decided: it speaks of no attempt that was begun later. Zero for now.
	DecidedAt time.Time
	Action    events.ResolveAction
	Ref       json.RawMessage
	ID        string
	Reason    string
}

// Searched says that the provider's list was asked for an attempt in doubt and did not show it. What it does show is
// brought as Accepted.
type Searched struct {
	Meta
	Attempt int
	// Complete says that the list was whole: what it does not show was not there.
	Complete bool
	// Listings is how many complete lists it takes to settle that a restored record has forgotten nothing.
	Listings int
	Note     string
}

// Heartbeat is the timer of the record itself: act on whatever is overdue.
type Heartbeat struct {
	Meta
	// Horizon is how long after its attempt a provider may stay silent before a submit in doubt is settled by policy.
	Horizon time.Duration
	// Listings is how many complete listings without the attempt it takes besides; 0 for a provider that has no list.
	Listings int
	// Missing is a task that this one waits for and that nobody has asked for; empty where all are known. A task that waits
	// for others has no other deadline.
	Missing string
}
