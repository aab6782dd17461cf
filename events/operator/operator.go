// Package operator is the part of reelay's contract that is for operators: what an operator does is asked for by
// subject, as everything else. Package events builds the subjects, events.APISubject(VerbLanes) and its like, and holds
// the settings themselves.
//
// Settings are read on reelay.api.lanes, reelay.api.caps and reelay.api.quotas, and changed on subjects of their own, such
// as reelay.api.lanes-pause and reelay.api.caps-set, so that NATS permissions can part reading from writing;
// reelay.api.caps.<project> and reelay.api.quotas.<project> only read. Dead letters and callbacks are listed on reelay.api.dead and
// reelay.api.callbacks, and published again, at least once, by dead-replay and callbacks-replay. The store of outputs is
// listed, checked and cleared on reelay.api.artifacts, artifacts-verify and artifacts-gc.
package operator

import (
	"bytes"
	"encoding/json"
	"time"

	"reelay/events"
	"reelay/events/bucket"
)

// The verbs of operators. Those that read and those that write have subjects of their own, and none that writes has a
// token behind its verb: whoever may publish reelay.api.*.<project> and reelay.api.*.<project>.> changes no lane and
// lifts no cap, whatever the project's name.
const (
	VerbLanes           events.Verb = "lanes"            // LanesReply
	VerbLanesPause      events.Verb = "lanes-pause"      // a PauseRequest in, a PauseReply out
	VerbLanesResume     events.Verb = "lanes-resume"     // a PauseRequest in, a PauseReply out
	VerbLanesLimit      events.Verb = "lanes-limit"      // a LimitsRequest in, a LimitsReply out
	VerbCaps            events.Verb = "caps"             // [.<project>]: CapsReply
	VerbCapsSet         events.Verb = "caps-set"         // a CapRequest in, a CapReply out
	VerbCapsUnset       events.Verb = "caps-unset"       // a CapRequest in, a CapReply out
	VerbDead            events.Verb = "dead"             // a StoredRequest in, a DeadReply out
	VerbDeadReplay      events.Verb = "dead-replay"      // a ReplayRequest in, a ReplayReply out
	VerbCallbacks       events.Verb = "callbacks"        // a StoredRequest in, a CallbacksReply out
	VerbCallbacksReplay events.Verb = "callbacks-replay" // a ReplayRequest in, a ReplayReply out
)

// Verbs lists every verb, those of tasks first.
func Verbs() []events.Verb {
	return []events.Verb{
		events.VerbSubmit, events.VerbGet, events.VerbList, events.VerbQueue, events.VerbTimeline, events.VerbWait,
		events.VerbCancel, events.VerbResolve, events.VerbSpend, events.VerbBatch,
		VerbLanes, VerbLanesPause, VerbLanesResume, VerbLanesLimit, VerbCaps, VerbCapsSet, VerbCapsUnset,
		VerbQuotas, VerbQuotasSet, VerbDead, VerbDeadReplay, VerbCallbacks, VerbCallbacksReplay,
	}
}

const (
	maxReasonBytes = 500
	maxByBytes     = 100
	// MaxStoredBodyBytes is how much of a stored message's body an answer shows.
	MaxStoredBodyBytes = 128 << 10
)

// LanesReply answers lanes: every lane that a service knows or that has a setting, by name.
type LanesReply struct {
	Lanes []LaneState `json:"lanes"`
}

// A LaneState is what is set for a lane and what is known of it. AllLanes has one as well, of which only the pause
// counts.
type LaneState struct {
	Lane string `json:"lane"`
	// Provider is empty for a lane that no service knows: nothing is sent there, and its settings keep nothing.
	Provider string `json:"provider,omitempty"`
	// Pause and Limits are as they are set, with the revisions of their keys, 0 for what is not set.
	Pause          bucket.LanePause  `json:"pause"`
	PauseRevision  uint64            `json:"pause_revision"`
	Limits         events.LaneLimits `json:"limits"`
	LimitsRevision uint64            `json:"limits_revision"`
	// LimitsError says why the limits cannot be read. The lane is then paused.
	LimitsError string `json:"limits_error,omitempty"`
	// Defaults are the provider's limits, which count where Limits does not name a limit group.
	Defaults map[string]events.ModelLimits `json:"defaults,omitempty"`
	// Dispatcher is the process that sends for the lane; nil while none does. DispatcherError says why that cannot be
	// read.
	Dispatcher      *bucket.Holder `json:"dispatcher,omitempty"`
	DispatcherError string         `json:"dispatcher_error,omitempty"`
	// Learned is what the provider was seen to grant, by limit group.
	Learned map[string]bucket.LearnedLimits `json:"learned,omitempty"`
	// Blocked is what keeps waiting tasks of the lane from being sent now, as in LaneQueue.
	Blocked []events.Blocked `json:"blocked,omitempty"`
}

// A PauseRequest pauses a lane, or has it send again. A lane sends while neither its own pause nor that of AllLanes is
// set.
type PauseRequest struct {
	// Lane is the lane, or AllLanes for every one, also for those to come.
	Lane string `json:"lane"`
	// Reason and By say why and who, for people: at most 500 and 100 bytes. A pause needs a reason.
	Reason string `json:"reason,omitempty"`
	By     string `json:"by,omitempty"`
	// Revision, where given, is that of the pause as the sender knows it, 0 for none: nothing is changed, and the answer
	// is a conflict, if somebody else was faster.
	Revision *uint64 `json:"revision,omitempty"`
}

// DecodePauseRequest reads and checks what lanes-pause and lanes-resume are asked. Its error is a FieldError.
func DecodePauseRequest(v events.Verb, data []byte) (PauseRequest, error) {
	var r PauseRequest
	err := events.DecodeStrict(data, "payload",
		map[string]any{"lane": &r.Lane, "reason": &r.Reason, "by": &r.By, "revision": &r.Revision})
	switch {
	case err != nil:
		return r, err
	case !events.ValidToken(r.Lane):
		return r, events.NewFieldError("lane", "%q is not 1 to %d characters of A-Z a-z 0-9 _ -", r.Lane,
			events.MaxTokenBytes)
	case v == VerbLanesPause && r.Reason == "":
		return r, events.NewFieldError("reason", "must say why the lane is paused")
	}
	return r, validWords(r.Reason, r.By)
}

// A PauseReply answers lanes-pause and lanes-resume. Of a lane that is paused, no paid request is completed any more.
type PauseReply struct {
	Lane     string           `json:"lane"`
	Pause    bucket.LanePause `json:"pause"`
	Revision uint64           `json:"revision"`
}

// A LimitsRequest replaces the limits of a lane as a whole; empty limits are the provider's defaults.
type LimitsRequest struct {
	Lane string `json:"lane"`
	// Limits say who and why themselves; when is the service's to say.
	Limits events.LaneLimits `json:"limits"`
	// Revision is as in PauseRequest. Give it, so as not to undo what somebody else has set meanwhile.
	Revision *uint64 `json:"revision,omitempty"`
}

// DecodeLimitsRequest reads and checks what lanes-limit is asked. Its error is a FieldError that names the limit.
func DecodeLimitsRequest(data []byte) (LimitsRequest, error) {
	var r LimitsRequest
	var limits json.RawMessage
	if err := events.DecodeStrict(data, "payload",
		map[string]any{"lane": &r.Lane, "limits": &limits, "revision": &r.Revision}); err != nil {
		return r, err
	}
	if !events.ValidToken(r.Lane) || r.Lane == bucket.AllLanes {
		return r, events.NewFieldError("lane", "%q is not 1 to %d characters of A-Z a-z 0-9 _ -", r.Lane,
			events.MaxTokenBytes)
	}
	if limits == nil {
		return r, events.NewFieldError("limits", "is missing; {} is the provider's defaults")
	}
	var err error
	if r.Limits, err = events.DecodeLaneLimits(limits); err != nil {
		return r, err
	}
	return r, validWords(r.Limits.Reason, r.Limits.By)
}

// A LimitsReply answers lanes-limit.
type LimitsReply struct {
	Lane     string            `json:"lane"`
	Limits   events.LaneLimits `json:"limits"`
	Revision uint64            `json:"revision"`
}

// CapsReply answers caps: of a project, what counts for it.
type CapsReply struct {
	Caps []events.SpendCap `json:"caps"`
}

// A CapRequest sets the cap of a scope as a whole, or, with caps-unset, takes it away.
type CapRequest struct {
	Scope bucket.Scope `json:"scope"`
	// DailyUSD is how much may be spent in a day in UTC, in US dollars, 0 to MaxCapUSD; caps-unset takes none.
	DailyUSD *float64 `json:"daily_usd,omitempty"`
	// UnknownUSD is what an attempt counts for whose price nobody knows; DefaultUnknownUSD where it is left out.
	UnknownUSD *float64 `json:"unknown_usd,omitempty"`
	// By says who, for people, in at most 100 bytes.
	By string `json:"by,omitempty"`
	// Revision is as in PauseRequest.
	Revision *uint64 `json:"revision,omitempty"`
}

// DecodeCapRequest reads and checks what caps-set and caps-unset are asked. Its error is a FieldError.
func DecodeCapRequest(v events.Verb, data []byte) (CapRequest, error) {
	var r CapRequest
	err := events.DecodeStrict(data, "payload", map[string]any{
		"scope": &r.Scope, "daily_usd": &r.DailyUSD, "unknown_usd": &r.UnknownUSD, "by": &r.By, "revision": &r.Revision,
	})
	if err != nil {
		return r, err
	}
	if !r.Scope.Valid() {
		return r, events.NewFieldError("scope", "%.80q is not all, project.<project> or lane.<lane>", r.Scope)
	}
	for _, amount := range []struct {
		field string
		usd   *float64
	}{{"daily_usd", r.DailyUSD}, {"unknown_usd", r.UnknownUSD}} {
		switch {
		case amount.usd == nil:
		case v == VerbCapsUnset:
			return r, events.NewFieldError(amount.field, "is not taken: the cap goes away")
		case !(*amount.usd >= 0 && *amount.usd <= bucket.MaxCapUSD):
			return r, events.NewFieldError(amount.field, "%g is not between 0 and %g", *amount.usd, float64(bucket.MaxCapUSD))
		}
	}
	if r.DailyUSD == nil && v == VerbCapsSet {
		return r, events.NewFieldError("daily_usd", "is missing")
	}
	return r, validWords("", r.By)
}

// Cap returns what is asked to be set.
func (r CapRequest) Cap() bucket.Cap {
	c := bucket.Cap{UnknownUSD: bucket.DefaultUnknownUSD, By: r.By}
	if r.DailyUSD != nil {
		c.DailyUSD = *r.DailyUSD
	}
	if r.UnknownUSD != nil {
		c.UnknownUSD = *r.UnknownUSD
	}
	return c
}

// A CapReply answers caps-set and caps-unset: the cap with today's use, null where there is none now.
type CapReply struct {
	Scope bucket.Scope     `json:"scope"`
	Cap   *events.SpendCap `json:"cap"`
}

// A StoredRequest asks for dead letters or callbacks. An empty payload lists the newest.
type StoredRequest struct {
	// ID asks for one message with its headers and body.
	ID uint64 `json:"id,omitempty"`
	// Lane asks for callbacks of a lane only.
	Lane string `json:"lane,omitempty"`
	// Limit is how many are listed at most, DefaultListLimit where it is left out and up to MaxListLimit; Before goes on
	// behind an earlier answer.
	Limit  int    `json:"limit,omitempty"`
	Before uint64 `json:"before,omitempty"`
}

// DecodeStoredRequest reads and checks what dead and callbacks are asked. Its error is a FieldError.
func DecodeStoredRequest(v events.Verb, data []byte) (StoredRequest, error) {
	r := StoredRequest{}
	known := map[string]any{"id": &r.ID, "limit": &r.Limit, "before": &r.Before}
	if v == VerbCallbacks {
		known["lane"] = &r.Lane
	}
	if len(bytes.TrimSpace(data)) > 0 {
		if err := events.DecodeStrict(data, "payload", known); err != nil {
			return r, err
		}
	}
	if r.Limit < 0 || r.Limit > events.MaxListLimit {
		return r, events.NewFieldError("limit", "%d is not between 1 and %d", r.Limit, events.MaxListLimit)
	}
	if r.Limit == 0 {
		r.Limit = events.DefaultListLimit
	}
	if r.Lane != "" && !events.ValidToken(r.Lane) {
		return r, events.NewFieldError("lane", "%q is not 1 to %d characters of A-Z a-z 0-9 _ -", r.Lane,
			events.MaxTokenBytes)
	}
	return r, nil
}

// A StoredPage is what the lists of stored messages have in common.
type StoredPage struct {
	// Unreadable are messages of the page that are none of this build's.
	Unreadable []UnreadableMessage `json:"unreadable,omitempty"`
	// NextBefore is the Before of the next page; 0 on the last. A page may be shorter than its limit all the same.
	NextBefore uint64 `json:"next_before"`
}

// An UnreadableMessage is one that a list has passed over.
type UnreadableMessage struct {
	ID    uint64 `json:"id"`
	Error string `json:"error"`
}

// A StoredMessage is the message itself, in the answer about one.
type StoredMessage struct {
	// Bytes is the size of the body as it was.
	Bytes  int                 `json:"bytes"`
	Header map[string][]string `json:"header,omitempty"`
	// Text is the body, or its first MaxStoredBodyBytes; Data in its place where it is no UTF-8.
	Text string `json:"text,omitempty"`
	Data []byte `json:"data,omitempty"`
}

// DeadReply answers dead, newest first.
type DeadReply struct {
	Letters []StoredLetter `json:"letters"`
	StoredPage
}

// A StoredLetter is a dead letter in an answer; the fields are those of DeadLetter.
type StoredLetter struct {
	// ID is its sequence in REELAY_DEAD, Time when the message was given up.
	ID         uint64    `json:"id"`
	Time       time.Time `json:"time"`
	Stream     string    `json:"stream"`
	Consumer   string    `json:"consumer"`
	Sequence   uint64    `json:"sequence"`
	Subject    string    `json:"subject,omitempty"`
	StoredAt   time.Time `json:"stored_at,omitzero"`
	Deliveries uint64    `json:"deliveries"`
	Reason     string    `json:"reason"`
	// NotReplayable says why dead-replay refuses it; empty where it does not.
	NotReplayable string `json:"not_replayable,omitempty"`
	StoredMessage
}

// CallbacksReply answers callbacks, newest first.
type CallbacksReply struct {
	Callbacks []StoredCallback `json:"callbacks"`
	StoredPage
}

// A StoredCallback is a provider's callback in an answer. Its body is as it was received: links in it may be as good as
// a key.
type StoredCallback struct {
	// ID is its sequence in the stream.
	ID       uint64    `json:"id"`
	Received time.Time `json:"received"`
	Lane     string    `json:"lane"`
	Project  string    `json:"project"`
	TaskID   string    `json:"task_id"`
	Attempt  int       `json:"attempt"`
	// ProviderWord is the provider's own word for the state of the task; empty if there is none in its usual place.
	ProviderWord string `json:"provider_word,omitempty"`
	// Unproven is why it was refused; empty for one that was accepted. What it said was not kept: the task was polled.
	Unproven events.Unproven `json:"unproven,omitempty"`
	StoredMessage
}

// A ReplayRequest asks to have a stored message processed again. It is published at least once: if the answer fails to
// come, it may have been, and asking again publishes it again. Twice is harmless: a request keeps its task id, and is
// paid for once; a command or a callback changes nothing that is settled.
type ReplayRequest struct {
	ID uint64 `json:"id"`
}

// DecodeReplayRequest reads and checks what dead-replay and callbacks-replay are asked. Its error is a FieldError.
func DecodeReplayRequest(data []byte) (ReplayRequest, error) {
	var r ReplayRequest
	if err := events.DecodeStrict(data, "payload", map[string]any{"id": &r.ID}); err != nil {
		return r, err
	}
	if r.ID == 0 {
		return r, events.NewFieldError("id", "must be that of a message")
	}
	return r, nil
}

// A ReplayReply says where the message now is. The one that was replayed stays.
type ReplayReply struct {
	Subject  string `json:"subject"`
	Stream   string `json:"stream"`
	Sequence uint64 `json:"sequence"`
	// Project and TaskID name the task that it is about.
	Project string `json:"project,omitempty"`
	TaskID  string `json:"task_id,omitempty"`
}

func validWords(reason, by string) error {
	if len(reason) > maxReasonBytes {
		return events.NewFieldError("reason", "%d bytes are over the limit of %d", len(reason), maxReasonBytes)
	}
	if len(by) > maxByBytes {
		return events.NewFieldError("by", "%d bytes are over the limit of %d", len(by), maxByBytes)
	}
	return nil
}
