package dispatch

import "reelay/events/bucket"

const (
	// What was once refused is tried again when patientRequests were accepted just below it, or as many as go into
	// patientWindows of time: the try costs a refusal, and one in a hundred is too many. Each try that fails doubles that,
	// maxPatience times at most.
	patientRequests, patientWindows = 200, 30
	maxPatience                     = 4
	// full is the share of a limit, in percent, that must be used for an accepted request to say something about it.
	full = 90
)

// An AdaptiveLimit follows a limit that the provider enforces: one that was not configured, or is lower than what was.
// It comes down at once to what the provider was seen to accept, goes back up in growing steps while it stays below
// what was refused, and tries that again after a long while only: additive increase, multiplicative decrease, with a
// memory of the ceiling. The zero value has learned nothing.
type AdaptiveLimit bucket.AdaptiveLimit

// maxLearned bounds what is trusted of a stored figure.
const maxLearned = 1 << 30

// Valid reports whether l can have been learned. One that was stored by something else is not to be used.
func (l AdaptiveLimit) Valid() bool {
	for _, n := range []int{l.Limit, l.Refused, l.Accepted, l.Step, l.Patience, l.Streak} {
		if n < 0 || n > maxLearned {
			return false
		}
	}
	return true
}

// Cap returns the limit to keep: the lower of the configured one and what was learned; 0 for none.
func (l *AdaptiveLimit) Cap(configured int) int {
	if l.Limit == 0 || configured > 0 && configured < l.Limit {
		return configured
	}
	return l.Limit
}

// Decrease takes in that the provider has refused a request while used others were counted that it had accepted. One
// refusal lowers a limit to half of it at most: it may be for another's use of the account.
func (l *AdaptiveLimit) Decrease(configured, used int) {
	was := l.Cap(configured)
	if l.Streak == 0 { // what follows a refusal belongs to it
		if trying := l.Refused == 0 && l.Patience > 0; trying {
			l.Patience = min(2*l.Patience, maxPatience)
		} else {
			l.Patience = 1
		}
	}
	l.Streak++
	l.Step, l.Accepted = 1, 0
	switch {
	case was == 0 && used == 0: // it tells no number: it is for another's use of the account, or for one model's queue
	case was == 0:
		l.Limit, l.Refused = max(used, 1), used+1
	case used >= was/2:
		l.Limit = max(min(used, was), 1)
		l.Refused = l.Limit + 1
	default:
		l.Limit, l.Refused = max(was/2, 1), was
	}
}

// Increase takes in that the provider has accepted a request, with which used are counted. The limit goes up once
// enough of them have used it in full.
func (l *AdaptiveLimit) Increase(configured, used int) {
	if l.Limit == 0 {
		l.Streak = 0
		return
	}
	if l.Streak > 1 { // it had to become as little as this, and the limit is somewhere between
		l.Limit = max((min(l.Limit, used)+l.Limit)/2, 1)
	}
	l.Streak = 0
	if used*100 < l.Limit*full {
		return
	}
	l.Accepted++
	below := l.Limit+1 < l.Refused
	need := l.Limit
	if !below && l.Refused > 0 {
		need = l.Patience * min(patientRequests, patientWindows*l.Limit)
	}
	if l.Accepted < need {
		return
	}
	l.Accepted = 0
	switch {
	case below:
		l.Limit = min(l.Limit+l.Step, l.Refused-1)
	case l.Refused > 0:
		l.Step = 1
		l.Limit++
		l.Refused = 0
	default: // what was tried is accepted
		l.Limit += l.Step
		l.Patience = 1
	}
	l.Step *= 2
	if configured > 0 && l.Limit >= configured {
		*l = AdaptiveLimit{Patience: l.Patience}
	}
}
