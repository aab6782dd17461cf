package main

import (
	"fmt"
	"io"
)

// A proof is what shows that a promise is kept, by a command that anybody can run in the source tree.
type proof struct{ what, command string }

// proofs lists them. A test makes sure that each test and each flag exists.
func proofs() []proof {
	return []proof{
		{
			"every interleaving of two submitters, crashes, lost replies, callbacks, cancel and resubmit over the real state " +
				"machine: " +
				"over 3 million states, every broken variant caught (over 30 million with -model.long)",
			"go test ./internal/test/model -v",
		},
		{
			"whole task lives on the real broker in simulated time: a third of the provider calls failing, webhooks in every " +
				"disorder, " +
				"two replicas of each service crashing at every kind of write, the broker restarted; compared with the " +
				"emulators' ledgers",
			"go test ./internal/test/sim -run 'TestSeeds$' -sim.seeds=1250 -sim.tasks=8 -timeout 1h -v",
		},
		{
			"the share of submits in doubt that finds its way without a person, none wrongly",
			"go test ./internal/test/sim -run TestResolvedShare -sim.share=60 -v",
		},
		{
			"two replicas of every service, the webhook service among them, and the broker as processes, killed (-9), stopped " +
				"and cut off; " +
				"webhooks lost, repeated, late, forged; no key in any log, stream, record or metric",
			"go test ./internal/test/chaos -chaos.tasks=2000 -chaos.kills=500 -timeout 40m -v",
		},
		{
			"three brokers in a cluster, killed one at a time or two at once, stopped and restarted in turn, under the " +
				"same faults",
			"go test ./internal/test/chaos -run TestChaos -chaos.nodes=3 -chaos.node-kills=9 -chaos.tasks=300 -chaos.kills=40 " +
				"-timeout 40m -v",
		},
		{
			"limits through four submitters and their failovers; fairness; caps; what is said of all that",
			"go test ./services/submitter ./internal/test/sim ./internal/dispatch ./internal/spend " +
				"-run 'Window|InFlight|TakeOver|Fence|Learns|OneBeside|Weights|Starves|LaneLimit|Cap|Estimate|Predicted|Positions|Blocked|WaitingETA' -v",
		},
		{
			"learned polls against fixed 10 s, and ETAs against the polling guide's table",
			"go test ./internal/forecast -run 'Table|Drift' -v",
		},
		{
			"2,000 vetoed requests, none complete at the server, HTTP/1.1 and HTTP/2",
			"go test ./internal/paid -v",
		},
	}
}

// printProofs writes what is shown, and below it the command that shows it.
func printProofs(w io.Writer) error {
	for i, p := range proofs() {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if _, err := fmt.Fprintf(w, "%s\n    %s\n", p.what, p.command); err != nil {
			return err
		}
	}
	return nil
}
