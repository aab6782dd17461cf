package events

import "time"

// BlockedReason says why tasks are not sent.
type BlockedReason string

// The reasons. The first that holds is reported: it hides those after it.
const (
	BlockedDependency   BlockedReason = "dependency"    // tasks that it depends on have not ended: Task.WaitsFor
	BlockedNoDispatcher BlockedReason = "no_dispatcher" // no submitter sends for the lane now
	// the submitter does not trust its store, its journal or its disk
	BlockedSpendingStopped BlockedReason = "spending_stopped"
	BlockedPaused          BlockedReason = "paused" // by a person, or by limits that cannot be read
	// the provider refuses the account's key or balance; one request now and then tries
	BlockedAccount BlockedReason = "account"
	// too many paid requests have an unknown outcome; one a minute tries
	BlockedBreaker     BlockedReason = "breaker"
	BlockedUnreachable BlockedReason = "unreachable"  // the provider could not be reached
	BlockedRateLimited BlockedReason = "rate_limited" // the provider has refused a request for its rate
	BlockedCap         BlockedReason = "cap"          // a cap on spending is used up
	BlockedNotBefore   BlockedReason = "not_before"   // the request's not_before has not come
	// the task's last attempt bought nothing; it is tried again after a pause
	BlockedRetry BlockedReason = "retry"
	// the request limit of the current window is used up, or the last request is too recent
	BlockedRequests BlockedReason = "requests"
	BlockedInFlight BlockedReason = "in_flight" // the limit on tasks at the provider is used up
)

// BlockedReasons lists every reason, in order.
func BlockedReasons() []BlockedReason {
	return []BlockedReason{
		BlockedDependency, BlockedNoDispatcher, BlockedSpendingStopped, BlockedPaused, BlockedAccount, BlockedBreaker,
		BlockedUnreachable, BlockedRateLimited, BlockedCap, BlockedNotBefore, BlockedRetry, BlockedRequests, BlockedInFlight,
	}
}

// Normal reports whether the reason is no more than a limit at work.
func (r BlockedReason) Normal() bool { return r == BlockedRequests || r == BlockedInFlight }

// Ends reports whether the reason ends by itself at about a known time. Of the others nobody knows.
func (r BlockedReason) Ends() bool {
	return r.Normal() || r == BlockedRateLimited || r == BlockedRetry || r == BlockedNotBefore
}

// A Blocked is why waiting tasks are not sent.
type Blocked struct {
	Reason BlockedReason `json:"reason"`
	// Model is the limit group and Project the project whose tasks it stops; empty for all.
	Model   string `json:"model,omitempty"`
	Project string `json:"project,omitempty"`
	// Message says it in words.
	Message string `json:"message"`
	// Until is when it ends if nothing else happens; nil if nobody knows.
	Until *time.Time `json:"until,omitempty"`
}

// MaxPositions is how many tasks one PositionsRequest names at most.
const MaxPositions = 1_000

// A PositionsRequest asks the dispatcher of a lane, on LanePositionsSubject, for the queue positions of waiting tasks
// and for what stops the lane.
type PositionsRequest struct {
	// Tasks are the keys of at most MaxPositions tasks, as Key.String writes them.
	Tasks []string `json:"tasks,omitempty"`
}

// A SchemaRequest asks the dispatcher of a lane, on LaneSchemaSubject, for what the provider serves of a model's input.
// The answer is a JSON schema, or null where none can be had.
type SchemaRequest struct {
	Model string `json:"model"`
}

// A PositionsReply is the answer to a PositionsRequest.
type PositionsReply struct {
	// Positions are those of the tasks; one that does not wait there has none.
	Positions map[string]Position `json:"positions"`
	// Blocked are the reasons that stop the lane, limit groups and projects of it.
	Blocked []Blocked `json:"blocked,omitempty"`
}

// A Position is the queue position of a waiting task, and what its lane makes of it.
type Position struct {
	// Ahead is how many tasks are sent before it by the order of this moment.
	Ahead int `json:"ahead"`
	// WaitS is how long the limits on requests and the reasons with a known end stop it, in seconds.
	WaitS float64 `json:"wait_s,omitempty"`
	// Behind is how many tasks at the provider must have ended before it is sent, of InFlight that may be there at once; 0
	// for none. EachS is how long each of those takes on the mean, in seconds; 0 if that is not known.
	Behind   int     `json:"behind,omitempty"`
	InFlight int     `json:"in_flight,omitempty"`
	EachS    float64 `json:"each_s,omitempty"`
	// Blocked is why it is not sent; nil if it only waits for those ahead.
	Blocked *Blocked `json:"blocked,omitempty"`
}
