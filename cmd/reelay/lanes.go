package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/user"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/events/client"
	"reelay/internal/provider/registry"
)

// lanesCmd is the switch by which a person keeps lanes from spending, and their limits.
type lanesCmd struct {
	Ls     lanesLsCmd     `cmd:"" help:"List the lanes, whether they are paused, what else keeps them, their limits, and who sends."`
	Set    lanesSetCmd    `cmd:"" help:"Set limits of a lane: for a family of models, or the share of a project."`
	Pause  lanesPauseCmd  `cmd:"" help:"Send no more paid requests. Everything else goes on: intake, polls, cancels, events."`
	Resume lanesResumeCmd `cmd:"" help:"Send paid requests again."`
}

// laneArg names one lane or all.
type laneArg struct {
	Lane string `arg:"" optional:"" help:"Lane, as lanes ls shows it."`
	All  bool   `help:"Every lane, also those to come."`
}

// key returns the key of the switch. Its error is a usageError.
func (l laneArg) key() (string, error) {
	switch {
	case l.All == (l.Lane != ""):
		return "", usagef("name one lane, or --all")
	case l.All:
		return events.AllLanes, nil
	case !events.ValidToken(l.Lane):
		return "", usagef("%q is no lane: 1 to %d characters of A-Z a-z 0-9 _ -", l.Lane, events.MaxTokenBytes)
	}
	return l.Lane, nil
}

// lanesPauseCmd pauses.
type lanesPauseCmd struct {
	connection `embed:""`
	laneArg    `embed:""`

	Reason string `help:"Why, for those who find it paused." required:""`
}

// Run sets the switch. When it returns, no paid request of the lane is completed any more.
func (c *lanesPauseCmd) Run(ctx context.Context, e *env) error {
	return c.set(ctx, e, c.laneArg, events.LanePause{Paused: true, Reason: c.Reason})
}

// lanesResumeCmd resumes.
type lanesResumeCmd struct {
	connection `embed:""`
	laneArg    `embed:""`

	Reason string `help:"Why, for the history of the switch."`
}

// Run sets the switch. A lane goes on when neither its own switch nor that of all lanes pauses it.
func (c *lanesResumeCmd) Run(ctx context.Context, e *env) error {
	return c.set(ctx, e, c.laneArg, events.LanePause{Reason: c.Reason})
}

// set sets a switch and prints all that there are.
func (c connection) set(ctx context.Context, e *env, l laneArg, s events.LanePause) error {
	key, err := l.key()
	if err != nil {
		return err
	}
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	kv, err := a.switches(ctx)
	if err != nil {
		return err
	}
	s.By, s.At = person(), time.Now().UTC().Truncate(time.Second)
	value, err := events.Marshal(s)
	if err != nil {
		return err
	}
	if _, err := bounded(ctx, func(ctx context.Context) (uint64, error) { return kv.Put(ctx, key, value) }); err != nil {
		return fmt.Errorf("switch of %s: %w", key, err)
	}
	return a.printLanes(ctx, e, kv, false)
}

// lanesLsCmd lists the switches, and what keeps the lanes.
type lanesLsCmd struct {
	connection `embed:""`
}

// Run lists them.
func (c *lanesLsCmd) Run(ctx context.Context, e *env) error {
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	kv, err := a.switches(ctx)
	if err != nil {
		return err
	}
	return a.printLanes(ctx, e, kv, true)
}

// switches opens the bucket of the switches.
func (a *api) switches(ctx context.Context) (jetstream.KeyValue, error) {
	js, err := jetstream.New(a.nc)
	if err != nil {
		return nil, fmt.Errorf("jetstream: %w", err)
	}
	kv, err := bounded(ctx, func(ctx context.Context) (jetstream.KeyValue, error) { return js.KeyValue(ctx, events.LaneBucket) })
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, fmt.Errorf("%w: bucket %s is missing; the services make it", client.ErrNoService, events.LaneBucket)
	}
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", events.LaneBucket, err)
	}
	return kv, nil
}

// readSwitches returns every switch by its key.
func readSwitches(ctx context.Context, kv jetstream.KeyValue) (map[string]events.LanePause, error) {
	keys, err := bounded(ctx, func(ctx context.Context) ([]string, error) { return kv.Keys(ctx) })
	if err != nil && !errors.Is(err, jetstream.ErrNoKeysFound) {
		return nil, fmt.Errorf("bucket %s: %w", events.LaneBucket, err)
	}
	all := map[string]events.LanePause{}
	for _, key := range keys {
		lane, isLimits := events.LaneOfLimits(key)
		if isLimits { // printed by themselves
			if _, ok := all[lane]; !ok {
				all[lane] = events.LanePause{}
			}
			continue
		}
		entry, err := bounded(ctx, func(ctx context.Context) (jetstream.KeyValueEntry, error) { return kv.Get(ctx, key) })
		if errors.Is(err, jetstream.ErrKeyNotFound) { // deleted since
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("switch of %s: %w", key, err)
		}
		all[key] = events.DecodeLanePause(entry.Value())
	}
	return all, nil
}

// printLanes writes a table of the switches, and of the lanes that have none as far as the services tell, then, with holds, what
// keeps the lanes, the limits in force, and who sends and what it has learned. Right after a change the holds may still be those
// from before it.
func (a *api) printLanes(ctx context.Context, e *env, kv jetstream.KeyValue, holds bool) error {
	all, err := readSwitches(ctx, kv)
	if err != nil {
		return err
	}
	providers := map[string]string{}
	var strangers []string
	r, err := a.Queue(ctx, "")
	if err == nil { // else the switches alone
		strangers = unknownLanes(slices.Sorted(maps.Keys(all)), r.Lanes)
		for _, l := range r.Lanes {
			providers[l.Lane] = l.Provider
			if _, ok := all[l.Lane]; !ok {
				all[l.Lane] = events.LanePause{}
			}
		}
	}
	t := tabwriter.NewWriter(e.stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "LANE\tSWITCH\tREASON\tBY\tAT")
	for _, key := range slices.Sorted(maps.Keys(all)) {
		s, state, at := all[key], "on", "-"
		if s.Paused {
			state = "paused"
		}
		if !s.Until.IsZero() && s.Paused { // by reelay itself, which tries again
			state = "paused until " + s.Until.Format(time.TimeOnly)
		}
		if !s.At.IsZero() {
			at = s.At.Format(time.RFC3339)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", key, state, clean(s.Reason), clean(s.By), at)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, lane := range strangers {
		fmt.Fprintf(e.stdout, "%s is a lane that no service knows: nothing is sent there, and its settings keep nothing\n", clean(lane))
	}
	if holds {
		for _, l := range r.Lanes {
			printHolds(e.stdout, l, time.Local)
		}
	}
	for _, lane := range slices.Sorted(maps.Keys(all)) {
		l, _, err := readLimits(ctx, kv, lane)
		if err != nil {
			fmt.Fprintf(e.stdout, "%s is paused: %s\n", lane, clean(err.Error()))
			continue
		}
		for _, line := range describeLimits(l, registry.Find(providers[lane]).Limits) {
			fmt.Fprintf(e.stdout, "%s %s\n", lane, line)
		}
	}
	return a.printDispatchers(ctx, e.stdout, slices.Sorted(maps.Keys(all)))
}

// unknownLanes returns those of the lanes that no service knows: most likely somebody has mistyped one, and the lane that was meant
// goes on.
func unknownLanes(lanes []string, known []events.LaneQueue) []string {
	return slices.DeleteFunc(lanes, func(lane string) bool {
		return lane == events.AllLanes || slices.ContainsFunc(known, func(l events.LaneQueue) bool { return l.Lane == lane })
	})
}

// person names whoever runs the command.
func person() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}
