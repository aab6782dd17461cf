package events

import "time"

// HoldReason says what keeps tasks from being sent.
type HoldReason string

// The reasons, those that others hide first.
const (
	HoldNoDispatcher HoldReason = "no_dispatcher"    // no submitter sends for the lane now
	HoldSpending     HoldReason = "spending_stopped" // the submitter does not trust its store, its journal or its disk
	HoldPaused       HoldReason = "paused"           // by a person, or by limits that cannot be read
	HoldAccount      HoldReason = "account"          // the provider refuses the account's key or balance; one request now and then tries
	HoldBreaker      HoldReason = "breaker"          // too many paid requests have an unknown outcome; one a minute tries
	HoldUnreachable  HoldReason = "unreachable"      // the provider could not be reached
	HoldRefused      HoldReason = "rate_limited"     // the provider has refused a request for its rate
	HoldBudget       HoldReason = "budget"           // a cap on spending is used up
	HoldRetry        HoldReason = "retry"            // the task's last attempt bought nothing; it is tried again after a pause
	HoldRequests     HoldReason = "requests"         // as many requests as may were sent of late
	HoldInFlight     HoldReason = "in_flight"        // as many tasks as may be are at the provider
)

// HoldReasons lists every reason.
func HoldReasons() []HoldReason {
	return []HoldReason{
		HoldNoDispatcher, HoldSpending, HoldPaused, HoldAccount, HoldBreaker, HoldUnreachable, HoldRefused, HoldBudget, HoldRetry, HoldRequests,
		HoldInFlight,
	}
}

// Normal reports whether the reason is no more than a limit at work.
func (r HoldReason) Normal() bool { return r == HoldRequests || r == HoldInFlight }

// Ends reports whether what keeps a task for this reason ends by itself at about a known time. Of the others nobody knows.
func (r HoldReason) Ends() bool { return r.Normal() || r == HoldRefused || r == HoldRetry }

// A Hold is what keeps waiting tasks from being sent.
type Hold struct {
	Reason HoldReason `json:"reason"`
	// Model is the family of models and Project the project that it keeps; empty for all.
	Model   string `json:"model,omitempty"`
	Project string `json:"project,omitempty"`
	// Message says it in words.
	Message string `json:"message"`
	// Until is when it ends if nothing else happens; nil if nobody knows.
	Until *time.Time `json:"until,omitempty"`
}

// MaxPlaces is how many tasks one question for places names at most.
const MaxPlaces = 1_000

// A PlacesRequest asks the dispatcher of a lane, on LanePlacesSubject, for the places of waiting tasks and for what keeps the lane.
type PlacesRequest struct {
	// Tasks are the keys of at most MaxPlaces tasks, as Key.String writes them.
	Tasks []string `json:"tasks,omitempty"`
}

// A PlacesReply is its answer.
type PlacesReply struct {
	// Places are those of the tasks; one that does not wait there has none.
	Places map[string]Place `json:"places"`
	// Holds are what keeps the lane, families and projects of it.
	Holds []Hold `json:"holds,omitempty"`
}

// A Place is where a waiting task stands in line.
type Place struct {
	// Ahead is how many are sent before it by the order that holds now.
	Ahead int `json:"ahead"`
	// WaitS is how long the limits on requests and the holds with a known end keep it, in seconds.
	WaitS float64 `json:"wait_s,omitempty"`
	// Behind is how many tasks at the provider must have ended before it is sent, of InFlight that may be there at once; 0 for none.
	// EachS is how long each of those takes of late, in seconds; 0 if that is not known.
	Behind   int     `json:"behind,omitempty"`
	InFlight int     `json:"in_flight,omitempty"`
	EachS    float64 `json:"each_s,omitempty"`
	// Hold is what keeps it; nil if only those ahead do.
	Hold *Hold `json:"hold,omitempty"`
}
