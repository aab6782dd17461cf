package main

import (
	"context"
	"fmt"
	"maps"
	"os/user"
	"slices"
	"text/tabwriter"
	"time"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/events/client"
	"reelay/events/operator"
)

// lanesCmd is how a person keeps lanes from spending, and sets their limits.
type lanesCmd struct {
	Ls     lanesLsCmd     `cmd:"" help:"List the lanes, whether they are paused, what else keeps them, their limits, and who sends."`
	Set    lanesSetCmd    `cmd:"" help:"Set limits of a lane: for a limit group (models that share a limit), or the share of a project."`
	Pause  lanesPauseCmd  `cmd:"" help:"Send no more paid requests. Everything else goes on: intake, polls, cancels, events."`
	Resume lanesResumeCmd `cmd:"" help:"Send paid requests again."`
}

// laneArg names one lane or all.
type laneArg struct {
	Lane string `arg:"" optional:"" help:"Lane, as lanes ls shows it."`
	All  bool   `help:"Every lane, also those to come."`
}

// name returns the lane, or bucket.AllLanes. Its error is a usageError.
func (l laneArg) name() (string, error) {
	switch {
	case l.All == (l.Lane != ""):
		return "", usagef("name one lane, or --all")
	case l.All:
		return bucket.AllLanes, nil
	}
	return l.Lane, checkLane(l.Lane)
}

// checkLane checks the name of a lane. Its error is a usageError.
func checkLane(lane string) error {
	if !events.ValidToken(lane) {
		return usagef("%q is no lane: 1 to %d characters of A-Z a-z 0-9 _ -", lane, events.MaxTokenBytes)
	}
	return nil
}

// lanesOutput is how the lanes are printed.
type lanesOutput struct {
	JSON bool `name:"json" help:"Print the lanes as they then are as JSON."`
}

// lanesPauseCmd pauses.
type lanesPauseCmd struct {
	connection  `embed:""`
	laneArg     `embed:""`
	lanesOutput `embed:""`

	Reason string `help:"Why, for those who find it paused." required:""`
}

// Run pauses the lane. When it returns, no paid request of the lane is completed any more.
func (c *lanesPauseCmd) Run(ctx context.Context, e *env) error {
	return c.changeLane(ctx, e, c.laneArg, c.lanesOutput, c.Reason, (*client.Client).PauseLane)
}

// lanesResumeCmd resumes.
type lanesResumeCmd struct {
	connection  `embed:""`
	laneArg     `embed:""`
	lanesOutput `embed:""`

	Reason string `help:"Why, for the history of the pause."`
}

// Run resumes the lane. It sends when neither its own pause nor that of all lanes is set.
func (c *lanesResumeCmd) Run(ctx context.Context, e *env) error {
	return c.changeLane(ctx, e, c.laneArg, c.lanesOutput, c.Reason, (*client.Client).ResumeLane)
}

// changeLane pauses or resumes a lane and prints all that there are.
func (c connection) changeLane(
	ctx context.Context, e *env, l laneArg, o lanesOutput, reason string,
	change func(*client.Client, context.Context, operator.PauseRequest) (operator.PauseReply, error),
) error {
	lane, err := l.name()
	if err != nil {
		return err
	}
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	if _, err := change(a.Client, ctx, operator.PauseRequest{Lane: lane, Reason: reason, By: person()}); err != nil {
		return err
	}
	return a.printLanes(ctx, e, o, false)
}

// lanesLsCmd lists the lanes.
type lanesLsCmd struct {
	connection  `embed:""`
	lanesOutput `embed:""`
}

// Run lists them.
func (c *lanesLsCmd) Run(ctx context.Context, e *env) error {
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	return a.printLanes(ctx, e, c.lanesOutput, true)
}

// printLanes writes a table of the lanes and their pauses, then, with blocked, what keeps them, the limits in force,
// and who sends and what it has learned. Right after a change what keeps them may still be from before it.
func (a *api) printLanes(ctx context.Context, e *env, o lanesOutput, blocked bool) error {
	r, err := a.Lanes(ctx)
	if err != nil {
		return err
	}
	if o.JSON {
		return printJSON(e.stdout, r)
	}
	t := tabwriter.NewWriter(e.stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "LANE\tSTATE\tREASON\tBY\tAT")
	for _, l := range r.Lanes {
		p, state, at := l.Pause, "on", "-"
		if p.Paused {
			state = "paused"
		}
		if !p.Until.IsZero() && p.Paused { // by reelay itself, which tries again
			state = "paused until " + p.Until.Format(time.TimeOnly)
		}
		if !p.At.IsZero() {
			at = p.At.Format(time.RFC3339)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", l.Lane, state, clean(p.Reason), clean(p.By), at)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, l := range r.Lanes {
		if l.Provider == "" && l.Lane != bucket.AllLanes { // most likely mistyped, and the lane that was meant goes on
			fmt.Fprintf(e.stdout, "%s is a lane that no service knows: nothing is sent there, and its settings keep nothing\n",
				clean(l.Lane))
		}
	}
	for _, l := range r.Lanes {
		if blocked {
			printBlocked(e.stdout, l.Lane, l.Blocked, time.Local)
		}
	}
	for _, l := range r.Lanes {
		lines := describeLimits(l.Limits, l.Defaults)
		if l.LimitsError != "" {
			lines = []string{"is paused: " + limitsError(l)}
		}
		for _, line := range append(lines, describeDispatcher(l, time.Now())...) {
			fmt.Fprintf(e.stdout, "%s %s\n", l.Lane, line)
		}
	}
	return nil
}

// limitsError says what is wrong with the limits of a lane, and where they are.
func limitsError(l operator.LaneState) string {
	return bucket.LimitsKey(l.Lane) + ": " + clean(l.LimitsError)
}

// describeDispatcher says who sends the tasks of a lane and what was learned, one line each.
func describeDispatcher(l operator.LaneState, now time.Time) (lines []string) {
	if l.DispatcherError != "" {
		lines = append(lines, "has a lease that cannot be read: "+clean(l.DispatcherError))
	}
	if h := l.Dispatcher; h != nil {
		lines = append(lines, fmt.Sprintf("sent by %s for %s", clean(h.Name), short(max(0, now.Sub(h.Since)))))
	}
	for _, name := range slices.Sorted(maps.Keys(l.Learned)) {
		g, of := l.Learned[name], "learned for models "+clean(name)+": "
		if g.Rate.Limit > 0 {
			lines = append(lines, fmt.Sprintf("%s%d requests in a window", of, g.Rate.Limit))
		}
		if g.Concurrency.Limit > 0 {
			lines = append(lines, fmt.Sprintf("%s%d in flight", of, g.Concurrency.Limit))
		}
		if left := g.PausedUntil.Sub(now); left > 0 {
			lines = append(lines, of+"nothing is sent for "+short(left))
		}
	}
	return lines
}

// person names whoever runs the command.
func person() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}
