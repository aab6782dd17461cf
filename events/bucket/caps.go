package bucket

import (
	"encoding/json"
	"errors"
	"strings"
	"time"

	"reelay/events"
)

const (
	// Caps is the KV bucket of the limits on what may be spent in a day: one key per Scope, a Cap as JSON. A key that
	// is absent limits nothing.
	Caps = "reelay_caps"
	// Spend is the KV bucket that counts what is taken of the caps: one SpendCounter as JSON under each CounterKey.
	Spend = "reelay_spend"
	// SpendAge is how long a counter is kept after its last change.
	SpendAge = 8 * 24 * time.Hour

	// DefaultUnknownUSD is what an attempt of unknown price counts for where a cap does not say: about what the dearer
	// clips cost.
	DefaultUnknownUSD = 1.0
	// MaxCapUSD bounds a cap.
	MaxCapUSD = 1e9
)

// A Scope is what a cap counts for: AllScope, a project or a lane. It is its key in Caps.
type Scope string

// AllScope is everything together.
const AllScope Scope = "all"

const (
	projectScope = "project."
	laneScope    = "lane."
)

// ProjectScope is one project.
func ProjectScope(project string) Scope { return Scope(projectScope + project) }

// LaneScope is one lane.
func LaneScope(lane string) Scope { return Scope(laneScope + lane) }

// Valid reports whether s is one of the forms above.
func (s Scope) Valid() bool {
	for _, prefix := range []string{projectScope, laneScope} {
		if name, ok := strings.CutPrefix(string(s), prefix); ok {
			return events.ValidToken(name)
		}
	}
	return s == AllScope
}

// Covers reports whether what is spent for a project on a lane counts for s.
func (s Scope) Covers(project, lane string) bool {
	return s == AllScope || s == ProjectScope(project) || s == LaneScope(lane)
}

// String names the scope for people: "all", "project demo", "lane fal".
func (s Scope) String() string { return strings.Replace(string(s), ".", " ", 1) }

// A Cap limits the money of one day in UTC.
type Cap struct {
	DailyUSD float64 `json:"daily_usd"`
	// UnknownUSD is what an attempt counts for whose price nobody knows; DefaultUnknownUSD where it is left out.
	UnknownUSD float64 `json:"unknown_usd"`
	// By says who set it, for people.
	By string `json:"by,omitempty"`

	// Revision and SetAt are those of the key.
	Revision uint64    `json:"-"`
	SetAt    time.Time `json:"-"`
}

// DecodeCap reads a value of Caps. One that cannot be read allows nothing: whoever wrote it wanted a limit.
func DecodeCap(value []byte) Cap {
	c := Cap{UnknownUSD: DefaultUnknownUSD}
	var amount struct {
		DailyUSD *float64 `json:"daily_usd"`
	}
	err := errors.Join(json.Unmarshal(value, &amount), json.Unmarshal(value, &c))
	if err != nil || amount.DailyUSD == nil || !isAmount(c.DailyUSD) || !isAmount(c.UnknownUSD) {
		return Cap{UnknownUSD: DefaultUnknownUSD, By: "the cap holds no readable amount"}
	}
	return c
}

func isAmount(usd float64) bool { return usd >= 0 && usd <= MaxCapUSD }

// CounterKey is the key in Spend of what is taken of a cap on a day in UTC, such as 2026-01-31.
func CounterKey(s Scope, day string) string { return day + "." + string(s) }

// Micros is an amount in millionths of a US dollar, in which sums are exact.
type Micros int64

// USD is the amount in US dollars.
func (m Micros) USD() float64 { return float64(m) / 1e6 }

// A SpendCounter is what is taken of one cap on one day. The zero value is that of a day on which nothing was.
type SpendCounter struct {
	// Cap is the revision of the cap under which it was counted.
	Cap uint64 `json:"cap"`
	// To is until when the records have been counted, in Unix minutes; CountedMicros is what they hold of before.
	To            int64  `json:"to"`
	CountedMicros Micros `json:"counted_micros"`
	// ReservedMicros is what was reserved since, by the Unix minute of the reservation.
	ReservedMicros map[int64]Micros `json:"reserved_micros,omitempty"`
	// Changes names the last changes, so that one whose write is repeated does not count twice.
	Changes []string `json:"changes,omitempty"`
}

// Total is what is taken.
func (c SpendCounter) Total() Micros {
	sum := c.CountedMicros
	for _, m := range c.ReservedMicros {
		sum += m
	}
	return sum
}
