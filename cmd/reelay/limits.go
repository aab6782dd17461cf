package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/events/client"
	"reelay/events/operator"
)

// lanesSetCmd sets limits of a lane.
type lanesSetCmd struct {
	connection  `embed:""`
	lanesOutput `embed:""`

	Lane    string `arg:"" help:"Lane, as lanes ls shows it."`
	Model   string `help:"Limit group that it is about: what the names of its models begin with, * for all others." placeholder:"PREFIX"`
	Project string `help:"Project that it is about, in each limit group." placeholder:"NAME"`
	Reset   bool   `help:"Back to the default."`

	Requests *int           `help:"Most paid requests in a window; 0 for no limit." placeholder:"N"`
	Window   *time.Duration `help:"The window of a limit group; 1m if not set." placeholder:"DURATION"`
	InFlight *int           `help:"Most tasks at the provider at once; 0 for no limit." placeholder:"N"`
	Spacing  *time.Duration `help:"Least time between two requests of a limit group." placeholder:"DURATION"`
	Weight   *int           `help:"Share of a project while others wait as well, at least 1; 1 if not set." placeholder:"N"`

	PollSpacing *time.Duration `help:"Least time between two polls of a task of the lane; 0 for what the pollers choose." placeholder:"DURATION"`
	Polls       *int           `help:"Most polls a second of the lane, of all pollers; 0 for what the pollers choose." placeholder:"N"`

	Reason string `help:"Why, for the history of the limits."`
}

// Run changes what the flags name and leaves the rest as it is. It counts at once.
func (c *lanesSetCmd) Run(ctx context.Context, e *env) error {
	if err := checkLane(c.Lane); err != nil {
		return err
	}
	if err := c.check(); err != nil {
		return err
	}
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	set, err := a.laneState(ctx, c.Lane)
	if err != nil {
		return err
	}
	if set.LimitsError != "" { // whoever wrote them wanted something
		return errors.New(limitsError(set))
	}
	l := set.Limits
	c.apply(&l)
	if err := l.Validate(); err != nil {
		return usagef("%v", err)
	}
	l.Reason, l.By = c.Reason, person()
	_, err = a.LimitLane(ctx, operator.LimitsRequest{Lane: c.Lane, Limits: l, Revision: &set.LimitsRevision})
	if client.HasCode(err, events.CodeConflict) {
		return fmt.Errorf("%s: somebody else has just changed it; read it and try again", bucket.LimitsKey(c.Lane))
	}
	if err != nil {
		return err
	}
	return a.printLanes(ctx, e, c.lanesOutput, false)
}

// laneState returns what is set for a lane, nothing for one that was never seen.
func (a *api) laneState(ctx context.Context, lane string) (operator.LaneState, error) {
	r, err := a.Lanes(ctx)
	for _, l := range r.Lanes {
		if l.Lane == lane {
			return l, err
		}
	}
	return operator.LaneState{Lane: lane}, err
}

// check returns a usageError for flags that do not fit together.
func (c *lanesSetCmd) check() error {
	given := c.Requests != nil || c.Window != nil || c.InFlight != nil || c.Spacing != nil || c.Weight != nil
	polls := c.PollSpacing != nil || c.Polls != nil
	switch {
	case polls && !given && !c.Reset && c.Model == "" && c.Project == "":
		return nil
	case polls:
		return usagef("--poll-spacing and --polls are of the lane, and go without other limits")
	case (c.Model == "") == (c.Project == ""):
		return usagef("name --model or --project")
	case c.Reset == given:
		return usagef("give limits, or --reset")
	case c.Model != "" && c.Weight != nil:
		return usagef("--weight is of a project")
	case c.Weight != nil && *c.Weight < 1:
		return usagef("--weight: %d is less than 1; --reset takes all limits of a project away", *c.Weight)
	case c.Project != "" && (c.Window != nil || c.Spacing != nil):
		return usagef("--window and --spacing are of a limit group")
	}
	return nil
}

// apply changes limits as the flags say. A limit group that had the default begins with no limits but those that are
// given.
func (c *lanesSetCmd) apply(l *events.LaneLimits) {
	set := func(to *int, from *int) {
		if from != nil {
			*to = *from
		}
	}
	lasting := func(to *events.Duration, from *time.Duration) {
		if from != nil {
			*to = events.Duration(*from)
		}
	}
	set(&l.Polls.PerSecond, c.Polls)
	lasting(&l.Polls.Spacing, c.PollSpacing)
	switch {
	case c.Polls != nil || c.PollSpacing != nil:
	case c.Reset:
		delete(l.Models, c.Model)
		delete(l.Projects, c.Project)
	case c.Model != "":
		if l.Models == nil {
			l.Models = map[string]events.ModelLimits{}
		}
		m := l.Models[c.Model]
		set(&m.Requests, c.Requests)
		set(&m.InFlight, c.InFlight)
		lasting(&m.Window, c.Window)
		lasting(&m.Spacing, c.Spacing)
		l.Models[c.Model] = m
	default:
		if l.Projects == nil {
			l.Projects = map[string]events.ProjectShare{}
		}
		p := l.Projects[c.Project]
		set(&p.Requests, c.Requests)
		set(&p.InFlight, c.InFlight)
		set(&p.Weight, c.Weight)
		l.Projects[c.Project] = p
	}
}

// describeLimits says what is in force for a lane, one line each: what is set and, marked, the provider's defaults
// where nothing is. There are no lines if both are empty.
func describeLimits(set events.LaneLimits, defaults map[string]events.ModelLimits) (lines []string) {
	models := maps.Clone(defaults)
	if models == nil {
		models = map[string]events.ModelLimits{}
	}
	maps.Copy(models, set.Models)
	for _, name := range slices.Sorted(maps.Keys(models)) {
		m, mark := models[name], ""
		if _, own := set.Models[name]; !own {
			mark = " (default)"
		}
		var parts []string
		if m.Requests > 0 {
			parts = append(parts, fmt.Sprintf("%d requests in %v", m.Requests, m.EachWindow()))
		}
		if m.InFlight > 0 {
			parts = append(parts, fmt.Sprintf("%d in flight", m.InFlight))
		}
		if m.Spacing > 0 {
			parts = append(parts, fmt.Sprintf("%v apart", time.Duration(m.Spacing)))
		}
		if len(parts) == 0 {
			parts = []string{"no limit"}
		}
		lines = append(lines, "models "+clean(name)+": "+strings.Join(parts, ", ")+mark)
	}
	for _, name := range slices.Sorted(maps.Keys(set.Projects)) {
		p := set.Projects[name]
		parts := []string{fmt.Sprintf("weight %d", max(p.Weight, 1))}
		if p.Requests > 0 {
			parts = append(parts, fmt.Sprintf("%d requests in each window", p.Requests))
		}
		if p.InFlight > 0 {
			parts = append(parts, fmt.Sprintf("%d in flight", p.InFlight))
		}
		lines = append(lines, "project "+clean(name)+": "+strings.Join(parts, ", "))
	}
	var polls []string
	if set.Polls.Spacing > 0 {
		polls = append(polls, fmt.Sprintf("%v apart for each task", time.Duration(set.Polls.Spacing)))
	}
	if set.Polls.PerSecond > 0 {
		polls = append(polls, fmt.Sprintf("%d a second", set.Polls.PerSecond))
	}
	if len(polls) > 0 {
		lines = append(lines, "polls: "+strings.Join(polls, ", "))
	}
	return lines
}
