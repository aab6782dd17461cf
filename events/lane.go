package events

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
)

// AnyModel is the key of LaneLimits.Models that counts for every model that no other key counts for.
const AnyModel = "*"

const (
	// MaxLaneRequests, MaxLaneWindow, MaxLaneInFlight and MaxLaneSpacing bound what a limit can say, MaxLaneWeight the
	// weight of a project, MaxLaneKeys the models and the projects that one lane has settings for.
	MaxLaneRequests = 1_000_000
	MaxLaneWindow   = 24 * time.Hour
	MaxLaneInFlight = 1_000_000
	MaxLaneSpacing  = time.Hour
	MaxLaneWeight   = 1_000
	MaxLaneKeys     = 1_000
	// MaxLanePolls bounds the polls a second.
	MaxLanePolls = 10_000
)

// LaneLimits is how fast a lane may send, and how it is shared: the JSON value of the key <lane>.limits in the KV
// bucket reelay_lanes. What it does not name keeps the default of the provider.
type LaneLimits struct {
	// Models are the limits of each limit group, by what the names of its models begin with; the longest such key counts,
	// and AnyModel for the rest. Each limit group has its own queue and its own limits.
	Models map[string]ModelLimits `json:"models,omitempty"`
	// Projects are the shares of projects in each limit group; one that is not named has weight 1 and no caps.
	Projects map[string]ProjectShare `json:"projects,omitempty"`
	// Polls bounds how often tasks at the provider are polled.
	Polls PollLimits `json:"polls,omitzero"`
	// Reason, By and At say why, who and when, for people.
	Reason string    `json:"reason,omitempty"`
	By     string    `json:"by,omitempty"`
	At     time.Time `json:"at,omitzero"`
}

// PollLimits are how often the provider wants to be asked. A zero leaves what the pollers do by themselves.
type PollLimits struct {
	// Spacing is the least time between two polls of one task.
	Spacing Duration `json:"spacing,omitempty"`
	// PerSecond is how many polls all pollers make together; beyond it all polls are rarer.
	PerSecond int `json:"per_second,omitempty"`
}

// ModelLimits are what the provider grants to a limit group. A zero is no limit.
type ModelLimits struct {
	// Requests is how many paid requests may fall into any Window, which is a minute if 0.
	Requests int      `json:"requests,omitempty"`
	Window   Duration `json:"window,omitempty"`
	// InFlight is how many tasks may be at the provider, or on the way to it, at once. One that is in doubt counts until
	// it is settled or parked.
	InFlight int `json:"in_flight,omitempty"`
	// Spacing is the least time between two requests.
	Spacing Duration `json:"spacing,omitempty"`
}

// EachWindow returns Window, or a minute.
func (l ModelLimits) EachWindow() time.Duration {
	if l.Window == 0 {
		return time.Minute
	}
	return time.Duration(l.Window)
}

// A ProjectShare is how much of a limit group a project gets. A zero is no cap.
type ProjectShare struct {
	// Weight is its share of the turns while others wait as well: one of weight 3 has three times those of one of
	// weight 1. 0 is 1.
	Weight int `json:"weight,omitempty"`
	// Requests and InFlight are as those of ModelLimits, for the project alone and in the group's window.
	Requests int `json:"requests,omitempty"`
	InFlight int `json:"in_flight,omitempty"`
}

// Over returns l with the defaults of the provider where l does not name a limit group.
func (l LaneLimits) Over(defaults map[string]ModelLimits) LaneLimits {
	models := maps.Clone(defaults)
	if models == nil {
		models = map[string]ModelLimits{}
	}
	maps.Copy(models, l.Models)
	if _, ok := models[AnyModel]; !ok {
		models[AnyModel] = ModelLimits{}
	}
	l.Models = models
	return l
}

// LimitGroup returns the key of Models that counts for a model.
func (l LaneLimits) LimitGroup(model string) string {
	group := AnyModel
	for key := range l.Models {
		if strings.HasPrefix(model, key) && (group == AnyModel || len(key) > len(group)) {
			group = key
		}
	}
	return group
}

// DecodeLaneLimits reads and checks a value. Its error is a FieldError. Unknown fields are refused, so that a limit
// with a typing error is not taken for none.
func DecodeLaneLimits(data []byte) (LaneLimits, error) {
	var l LaneLimits
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		return l, fieldError("limits", "bad JSON: %v", err)
	}
	return l, l.Validate()
}

// Validate returns a FieldError that names the limit which is wrong.
func (l LaneLimits) Validate() error {
	if len(l.Models) > MaxLaneKeys || len(l.Projects) > MaxLaneKeys {
		return fieldError("limits", "more than %d models or projects", MaxLaneKeys)
	}
	bounded := func(field string, n, most int) error {
		if n < 0 || n > most {
			return fieldError(field, "%d is not between 0 and %d", n, most)
		}
		return nil
	}
	lasting := func(field string, d Duration, most time.Duration) error {
		if d < 0 || time.Duration(d) > most {
			return fieldError(field, "%v is not between 0 and %v", time.Duration(d), most)
		}
		return nil
	}
	for _, err := range []error{
		lasting("polls.spacing", l.Polls.Spacing, MaxLaneSpacing),
		bounded("polls.per_second", l.Polls.PerSecond, MaxLanePolls),
	} {
		if err != nil {
			return err
		}
	}
	for _, key := range slices.Sorted(maps.Keys(l.Models)) {
		m, field := l.Models[key], "models."+key+"."
		if key == "" || len(key) > MaxModelBytes {
			return fieldError("models", "%q is not what a model's name begins with, nor %q", key, AnyModel)
		}
		for _, err := range []error{
			bounded(field+"requests", m.Requests, MaxLaneRequests), lasting(field+"window", m.Window, MaxLaneWindow),
			bounded(field+"in_flight", m.InFlight, MaxLaneInFlight), lasting(field+"spacing", m.Spacing, MaxLaneSpacing),
		} {
			if err != nil {
				return err
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(l.Projects)) {
		p, field := l.Projects[key], "projects."+key+"."
		if !ValidToken(key) {
			return fieldError("projects", "%q is not 1 to %d characters of A-Z a-z 0-9 _ -", key, MaxTokenBytes)
		}
		for _, err := range []error{
			bounded(field+"weight", p.Weight, MaxLaneWeight), bounded(field+"requests", p.Requests, MaxLaneRequests),
			bounded(field+"in_flight", p.InFlight, MaxLaneInFlight),
		} {
			if err != nil {
				return err
			}
		}
	}
	return nil
}
