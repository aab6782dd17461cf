//go:build unix

package chaos_test

import (
	"flag"
	"math/rand/v2"
	"testing"
	"time"

	"reelay/internal/test/chaos"
)

var (
	seed      = flag.Uint64("chaos.seed", 0, "seed of the run; 0 draws one")
	tasks     = flag.Int("chaos.tasks", 84, "tasks to hand in")
	kills     = flag.Int("chaos.kills", 25, "processes to kill")
	nodes     = flag.Int("chaos.nodes", 1, "brokers: 1, or 3 for a cluster")
	nodeKills = flag.Int("chaos.node-kills", 9, "faults of the nodes of a cluster")
	sync      = flag.String("chaos.sync", "interval", "how the broker syncs: always or interval")
	bin       = flag.String("chaos.bin", "", "directory of programs that are built already; empty builds them")
	keys      = flag.Bool("chaos.keys", true,
		"run with canary keys, which must turn up nowhere, instead of in the sandbox")
	drain = flag.Duration("chaos.drain", 0, "bound of the time without faults at the end; 0 chooses one")
)

// smokeKills is up to how many kills a run is a short one: it does not wait two minutes for the tasks whose submitter
// was killed with their request out.
const smokeKills = 50

func options() chaos.Options {
	o := chaos.Options{
		Seed: *seed, Tasks: *tasks, Kills: *kills, Nodes: *nodes, NodeKills: *nodeKills, Sync: *sync,
		Programs: *bin, Keys: *keys, Drain: *drain, Short: *kills <= smokeKills,
	}
	for o.Seed == 0 {
		o.Seed = rand.Uint64N(1_000_000)
	}
	if o.Drain == 0 {
		// The lost replies open the breaker, and a lane whose breaker is open sends little more than that.
		o.Drain = 6*time.Minute + time.Duration(o.Tasks)*time.Second/4
		if o.Short {
			o.Drain = 3 * time.Minute
		}
	}
	return o
}

func TestChaos(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("processes are killed for half a minute: not with -short, and -race does not reach them")
	}
	chaos.Run(t, options())
}
