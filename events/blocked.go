package events

import "time"

// BlockedReason says what keeps tasks from being sent.
type BlockedReason string

// The reasons, those that others hide first.
const (
	BlockedNoDispatcher    BlockedReason = "no_dispatcher"    // no submitter sends for the lane now
	BlockedSpendingStopped BlockedReason = "spending_stopped" // the submitter does not trust its store, its journal or its disk
	BlockedPaused          BlockedReason = "paused"           // by a person, or by limits that cannot be read
	BlockedAccount         BlockedReason = "account"          // the provider refuses the account's key or balance; one request now and then tries
	BlockedBreaker         BlockedReason = "breaker"          // too many paid requests have an unknown outcome; one a minute tries
	BlockedUnreachable     BlockedReason = "unreachable"      // the provider could not be reached
	BlockedRateLimited     BlockedReason = "rate_limited"     // the provider has refused a request for its rate
	BlockedCap             BlockedReason = "cap"              // a cap on spending is used up
	BlockedRetry           BlockedReason = "retry"            // the task's last attempt bought nothing; it is tried again after a pause
	BlockedRequests        BlockedReason = "requests"         // as many requests as may were sent of late
	BlockedInFlight        BlockedReason = "in_flight"        // as many tasks as may be are at the provider
)

// BlockedReasons lists every reason.
func BlockedReasons() []BlockedReason {
	return []BlockedReason{
		BlockedNoDispatcher, BlockedSpendingStopped, BlockedPaused, BlockedAccount, BlockedBreaker, BlockedUnreachable, BlockedRateLimited, BlockedCap, BlockedRetry, BlockedRequests,
		BlockedInFlight,
	}
}

// Normal reports whether the reason is no more than a limit at work.
func (r BlockedReason) Normal() bool { return r == BlockedRequests || r == BlockedInFlight }

// Ends reports whether what keeps a task for this reason ends by itself at about a known time. Of the others nobody knows.
func (r BlockedReason) Ends() bool { return r.Normal() || r == BlockedRateLimited || r == BlockedRetry }

// A Blocked is what keeps waiting tasks from being sent.
type Blocked struct {
	Reason BlockedReason `json:"reason"`
	// Model is the family of models and Project the project that it keeps; empty for all.
	Model   string `json:"model,omitempty"`
	Project string `json:"project,omitempty"`
	// Message says it in words.
	Message string `json:"message"`
	// Until is when it ends if nothing else happens; nil if nobody knows.
	Until *time.Time `json:"until,omitempty"`
}

// MaxPositions is how many tasks one question for places names at most.
const MaxPositions = 1_000

// A PositionsRequest asks the dispatcher of a lane, on LanePositionsSubject, for the places of waiting tasks and for what keeps the lane.
type PositionsRequest struct {
	// Tasks are the keys of at most MaxPositions tasks, as Key.String writes them.
	Tasks []string `json:"tasks,omitempty"`
}

// A PositionsReply is its answer.
type PositionsReply struct {
	// Positions are those of the tasks; one that does not wait there has none.
	Positions map[string]Position `json:"positions"`
	// Blocked are what keeps the lane, families and projects of it.
	Blocked []Blocked `json:"blocked,omitempty"`
}

// A Position is where a waiting task stands in line.
type Position struct {
	// Ahead is how many are sent before it by the order that holds now.
	Ahead int `json:"ahead"`
	// WaitS is how long the limits on requests and the holds with a known end keep it, in seconds.
	WaitS float64 `json:"wait_s,omitempty"`
	// Behind is how many tasks at the provider must have ended before it is sent, of InFlight that may be there at once; 0 for none.
	// EachS is how long each of those takes of late, in seconds; 0 if that is not known.
	Behind   int     `json:"behind,omitempty"`
	InFlight int     `json:"in_flight,omitempty"`
	EachS    float64 `json:"each_s,omitempty"`
	// Blocked is what keeps it; nil if only those ahead do.
	Blocked *Blocked `json:"blocked,omitempty"`
}
