package sim_test

import (
	"flag"
	"fmt"
	"slices"
	"testing"

	"reelay/events"
)

var (
	chainSeeds  = flag.Int("sim.chains", 1, "how many seeds TestChains runs")
	chainFanOut = flag.Int("sim.fanout", 3, "tasks of each layer of a chain")
	chainDepth  = flag.Int("sim.depth", 3, "layers of a chain")
)

// TestChains runs layers of tasks, each of which waits for some of the layer before, under the faults of TestSeeds. They
// are asked for from the last layer to the first. After each seed no task may have been sent before those that it
// depends on have ended (sim.World.Check), none may be left, and none that failed for another may have been paid for.
func TestChains(t *testing.T) {
	sum := newTally()
	for seed := uint64(1); seed <= uint64(*chainSeeds); seed++ {
		if !t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			sum.add(oneSeed(t, seed, *chainFanOut**chainDepth, true, func(s *scene) { layers(s, *chainFanOut) }))
			sum.Seeds++
		}) {
			t.Fatalf("replay with: go test ./internal/test/sim -run TestChains/seed%d -sim.chains=%d -sim.fanout=%d -sim.depth=%d",
				seed, seed, *chainFanOut, *chainDepth)
		}
	}
	deps := 0
	for _, status := range events.Statuses() {
		n := sum.Hits["waited for others, "+string(status)]
		t.Logf("%6d tasks waited for others and are %s", n, status)
		deps += n
	}
	t.Logf("%d task lives, %d paid jobs", sum.Lives, sum.Jobs)
	if want := *chainSeeds * *chainFanOut * (*chainDepth - 1); deps != want {
		t.Errorf("%d tasks waited for others, want %d", deps, want)
	}
}

// layers puts the tasks into layers, the one that is asked for last being the first. Each task waits for one to three
// of the layer before.
func layers(s *scene, fanOut int) {
	s.order = slices.Clone(s.ids)
	slices.Reverse(s.order)
	for i, id := range s.order {
		for range 1 + s.chaos.Intn(3) {
			if before := i/fanOut - 1; before >= 0 {
				s.wait(id, s.order[before*fanOut+s.chaos.Intn(fanOut)])
			}
		}
	}
}
