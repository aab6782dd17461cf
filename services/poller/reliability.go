package poller

import (
	"math"
	"time"

	"reelay/events"
)

const (
	// decay is what an end leaves of the weight of those before it: about the last four count.
	decay = 0.75
	// fade is the time in which what was seen loses half its weight. A provider that was silent yesterday gets another chance.
	fade = time.Hour
	// hope is how often callbacks are taken to come before anything is known, hopeWeight how many ends that counts for.
	hope       = 0.7
	hopeWeight = 1
	// Below mistrusted looks are as frequent as without callbacks, from trusted on as rare as they get.
	mistrusted = 0.5
	trusted    = 0.9
)

// health is how well the callbacks of a lane arrive, learned from the ends of tasks that had asked for one. It is a plain value and
// has no clock.
type health struct {
	// came and missing are the weights of the ends that a callback brought, and of those that a look had to find, as of at.
	came, missing float64
	at            time.Time
	// lag is the decayed mean, in seconds, of how far behind callbacks were; lags is its weight.
	lag, lags float64
	// ends counts all that was seen.
	ends int
}

// brought takes in an end that a callback has brought, with the time from its receipt to the record.
func (h health) brought(now time.Time, lag time.Duration) health {
	h = h.older(now)
	h.came++
	h.ends++
	return h.behind(lag)
}

// missed takes in an end that a look has found although a callback was asked for.
func (h health) missed(now time.Time) health {
	h = h.older(now)
	h.missing++
	h.ends++
	return h
}

// late takes in the callback of an end that a look had found before. One no later than grace takes the miss back: the look was
// only faster.
func (h health) late(now time.Time, lag, grace time.Duration) health {
	if lag <= grace {
		back := min(h.missing, 1)
		h.missing -= back
		h.came += back
	}
	return h.behind(lag)
}

// older takes weight from what was seen, for one more end and the time since the last.
func (h health) older(now time.Time) health {
	left := decay * h.left(now)
	h.came, h.missing, h.at = left*h.came, left*h.missing, now
	return h
}

// left is how much of the weights time has left.
func (h health) left(now time.Time) float64 {
	return math.Exp2(-max(0, now.Sub(h.at).Seconds()) / fade.Seconds())
}

func (h health) behind(lag time.Duration) health {
	h.lags = decay*h.lags + 1
	h.lag += (max(0, lag.Seconds()) - h.lag) / h.lags
	return h
}

// trust is the share of callbacks that may be expected to come, 0 to 1.
func (h health) trust(now time.Time) float64 {
	left := h.left(now)
	return (left*h.came + hope*hopeWeight) / (left*(h.came+h.missing) + hopeWeight)
}

// unheard is the share of ends that looks have to find, 0 to 1.
func (h health) unheard(now time.Time) float64 {
	return 1 - min(max((h.trust(now)-mistrusted)/(trusted-mistrusted), 0), 1)
}

// missRate is the share of callbacks that did not come, 0 to 1; 0 before anything was seen.
func (h health) missRate() float64 {
	if h.missing == 0 {
		return 0
	}
	return h.missing / (h.came + h.missing)
}

// figures is h for people.
func (h health) figures() events.CallbackHealth {
	return events.CallbackHealth{MissRate: h.missRate(), LagS: h.lag, Seen: h.ends}
}
