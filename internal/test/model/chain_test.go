package model

import (
	"context"
	"strings"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/dependency"
	"reelay/internal/task"
)

// chains are the shapes that are explored; a number that no task has is never asked for.
func chains() map[string]Chain {
	all := map[string]Chain{
		"one behind another":       NewChain(nil, []int{0}),
		"three in a row":           NewChain(nil, []int{0}, []int{1}),
		"two behind one":           NewChain(nil, []int{0}, []int{0}),
		"one behind two":           NewChain(nil, nil, []int{0, 1}),
		"behind what nobody wants": NewChain([]int{9}, []int{0}),
		"a circle of two":          NewChain([]int{1}, []int{0}),
		"a circle of three":        NewChain([]int{1}, []int{2}, []int{0}),
		"behind a circle":          NewChain([]int{1}, []int{0}, []int{0}),
	}
	ignoring := NewChain(nil, nil, []int{0, 1})
	ignoring.Ignore, ignoring.Plain = true, true
	all["failures ignored"] = ignoring
	if *longForm {
		all["two between two"] = NewChain(nil, []int{0}, []int{0}, []int{1, 2})
		all["four in a row"] = NewChain(nil, []int{0}, []int{1}, []int{2})
		all["a circle of four"] = NewChain([]int{1}, []int{2}, []int{3}, []int{0})
	}
	return all
}

// TestChains: no task is sent before those that it depends on have ended, none is left waiting, and none that fails for
// another has cost anything, in every state of every shape.
func TestChains(t *testing.T) {
	for name, c := range chains() {
		c.MaxStates = 1_500
		if *longForm {
			c.MaxStates = 3_000_000
		}
		if testing.Short() || raceEnabled {
			c.MaxStates = 1_000
		}
		begin := time.Now()
		states, violation := c.Explore()
		t.Logf("%-26s %8d states %6.1f s", name, states, time.Since(begin).Seconds())
		if violation != "" {
			t.Errorf("%s: %s", name, violation)
		}
	}
}

// TestChainMutants: each property is broken by a protocol that lacks what it rests on.
func TestChainMutants(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("the mutants are left out")
	}
	noCycle := func(context.Context, dependency.Records, events.Key, []string) (*events.Error, error) {
		return nil, nil
	}
	for _, row := range []struct {
		name   string
		c      Chain
		mutate func(*Chain)
		want   string
	}{
		{"an intent is granted to what waits", NewChain(nil, []int{0}), func(c *Chain) {
			c.Apply = func(current *events.Task, tr task.Trigger) (task.Change, error) {
				if _, ok := tr.(task.Intent); ok {
					free := *current
					free.WaitsFor = nil
					current = &free
				}
				return task.Apply(current, tr)
			}
		}, "was sent"},
		{"one end releases", NewChain(nil, nil, []int{0, 1}), func(c *Chain) {
			c.Read = func(ctx context.Context, r dependency.Records, t events.Task, _ ...string) (dependency.State, error) {
				t.WaitsFor = t.WaitsFor[:1]
				return dependency.Read(ctx, r, t)
			}
		}, "was sent, and waits for 1"},
		{"failures are not noticed", NewChain(nil, []int{0}), func(c *Chain) {
			c.Plain = true
			c.Read = func(ctx context.Context, r dependency.Records, t events.Task, _ ...string) (dependency.State, error) {
				t.OnDependency = events.DependencyIgnore
				return dependency.Read(ctx, r, t)
			}
		}, "although 0 is"},
		{"nobody searches for circles", NewChain([]int{1}, []int{0}), func(c *Chain) { c.Cycle = noCycle }, "stays waiting"},
		{"what is missing is not noticed", NewChain([]int{9}), func(c *Chain) {
			c.Read = func(ctx context.Context, r dependency.Records, t events.Task, _ ...string) (dependency.State, error) {
				s, err := dependency.Read(ctx, r, t)
				s.Missing = ""
				return s, err
			}
		}, "stays waiting"},
	} {
		row.mutate(&row.c)
		row.c.MaxStates, row.c.Deciders = 10_000, 1
		if states, violation := row.c.Explore(); !strings.Contains(violation, row.want) {
			t.Errorf("%s: %d states, %q, want %q", row.name, states, violation, row.want)
		}
	}
}
