package events

import (
	"bytes"
	"slices"
	"time"
)

const (
	// DefaultSpendDays is how many days a spend answer goes back that names none, today included. Records are kept as long
	// after their task's end; older days are no longer whole.
	DefaultSpendDays = 31
	// MaxSpendRows bounds the rows of one spend answer.
	MaxSpendRows = 2_000
)

// SpendGroup is what the rows of a spend answer tell apart.
type SpendGroup string

// The groups.
const (
	SpendByDay      SpendGroup = "day"
	SpendByProject  SpendGroup = "project"
	SpendByProvider SpendGroup = "provider"
	SpendByLane     SpendGroup = "lane"
	SpendByModel    SpendGroup = "model"
)

// SpendGroups lists every group.
func SpendGroups() []SpendGroup {
	return []SpendGroup{SpendByDay, SpendByProject, SpendByProvider, SpendByLane, SpendByModel}
}

// A SpendRequest says what to add up. Every field may be left out.
type SpendRequest struct {
	// Since and Until are days in UTC, such as 2026-01-31, both included. Until is today where it is left out, Since 30
	// days earlier.
	Since string `json:"since,omitempty"`
	Until string `json:"until,omitempty"`
	// By is what the rows tell apart; everything where it is left out.
	By []SpendGroup `json:"by,omitempty"`
}

// DecodeSpendRequest reads and checks a spend request and fills in what it leaves out; today is the day in UTC. Its
// error is a FieldError.
func DecodeSpendRequest(data []byte, today time.Time) (SpendRequest, error) {
	r := SpendRequest{}
	if len(bytes.TrimSpace(data)) > 0 {
		if err := DecodeStrict(data, "payload",
			map[string]any{"since": &r.Since, "until": &r.Until, "by": &r.By}); err != nil {
			return r, err
		}
	}
	until := today.UTC()
	if r.Until != "" {
		var err error
		if until, err = time.Parse(time.DateOnly, r.Until); err != nil {
			return r, fieldError("until", "%.40q is not a day such as 2026-01-31", r.Until)
		}
	}
	since := until.AddDate(0, 0, 1-DefaultSpendDays)
	if r.Since != "" {
		var err error
		if since, err = time.Parse(time.DateOnly, r.Since); err != nil {
			return r, fieldError("since", "%.40q is not a day such as 2026-01-31", r.Since)
		}
	}
	r.Since, r.Until = since.Format(time.DateOnly), until.Format(time.DateOnly)
	if r.Since > r.Until {
		return r, fieldError("since", "%s is after until, %s", r.Since, r.Until)
	}
	for _, g := range r.By {
		if !slices.Contains(SpendGroups(), g) {
			return r, fieldError("by", "%.40q is not one of %s", g, joined(SpendGroups()))
		}
	}
	if len(r.By) == 0 {
		r.By = SpendGroups()
	}
	return r, nil
}

// A Spend is money, in US dollars, and what it went into. An attempt counts on the day of its intent, in UTC.
type Spend struct {
	// Tasks counts the tasks with such an attempt, Attempts the attempts that were neither refused nor proven not to have
	// been sent.
	Tasks    int `json:"tasks"`
	Attempts int `json:"attempts"`
	// Unpriced counts the attempts among them of which nobody knows a price. They add nothing to the amounts.
	Unpriced int `json:"unpriced,omitempty"`
	// SpentUSD is for attempts that the provider accepted, of tasks that have ended. ReservedUSD is the estimate of all
	// others that may be charged: of tasks under way, and of submits in doubt, for good if nobody ever finds out.
	SpentUSD    float64 `json:"spent_usd"`
	ReservedUSD float64 `json:"reserved_usd"`
}

// A SpendRow is the money of one group. What the request did not tell apart is empty.
type SpendRow struct {
	Day      string `json:"day,omitempty"`
	Project  string `json:"project,omitempty"`
	Provider string `json:"provider,omitempty"`
	Lane     string `json:"lane,omitempty"`
	Model    string `json:"model,omitempty"`
	Spend
}

// A SpendReply answers spend: the newest day first, then by project, provider, lane and model.
type SpendReply struct {
	Since string     `json:"since"`
	Until string     `json:"until"`
	Rows  []SpendRow `json:"rows"`
	// RowsLeftOut counts the rows over MaxSpendRows; Total holds them all the same.
	RowsLeftOut int   `json:"rows_left_out,omitempty"`
	Total       Spend `json:"total"`
	// Caps are the limits that count for what was asked, with today's use.
	Caps []SpendCap `json:"caps"`
}

// A SpendCap is a limit on the money of one day in UTC.
type SpendCap struct {
	// Scope is what it counts for: "all", "project.<project>" or "lane.<lane>".
	Scope    string  `json:"scope"`
	DailyUSD float64 `json:"daily_usd"`
	// UnknownUSD is what an attempt counts for whose price nobody knows.
	UnknownUSD float64 `json:"unknown_usd"`
	// ReservedUSD is what is taken of it today.
	ReservedUSD float64 `json:"reserved_usd"`
	// Since and By say since when it is as it is, and who made it so; Revision is that of its key.
	Since    time.Time `json:"since,omitzero"`
	By       string    `json:"by,omitempty"`
	Revision uint64    `json:"revision,omitempty"`
}
