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
			"tasks that wait for each other, 20 in each of 6 layers, asked for in reverse under the same faults: none sent " +
				"before those that it depends on have ended, none left, none that failed for another paid for",
			"go test ./internal/test/sim -run 'TestChains$' -sim.fanout=20 -sim.depth=6 -sim.chains=5 -timeout 20m -v",
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
			"REELAY_TEST_LONG=1 go test ./services/submitter ./internal/test/sim ./internal/dispatch ./internal/spend " +
				"-run 'Window|InFlight|TakeOver|Fence|Learns|OneBeside|Weights|Starves|LaneLimit|Cap|Estimate|Predicted|Positions|Blocked|WaitingETA' -v",
		},
		{
			"what takes hours to come out: searches that find nothing, stores that are new or put back, messages given up, " +
				"rejections that lapse",
			"REELAY_TEST_LONG=1 go test ./internal/test/sim ./internal/bus ./internal/spend ./internal/storeguard " +
				"./internal/taskstore ./services/status -run 'Long$' -v",
		},
		{
			"every simulation, with a broker that gives each service no more than the rights of `reelay auth`: nothing denied; " +
				"and a tenant's tricks with subjects and replies, which reach nothing of another's",
			"REELAY_TEST_LONG=1 go test ./internal/test/sim -sim.rights -timeout 60m -v",
		},
		{
			"an operator's acts under running work: streams removed and purged, settings changed, a backup restored, a whole " +
				"directory put back: nothing paid twice",
			"go test ./internal/test/ops -v",
		},
		{
			"10,000 results with links of six minutes, a fifth of the downloads broken, the media away for five minutes, an " +
				"archiver that dies at every write: all stored, byte for byte, at most 1.3 bytes fetched for each kept",
			"go test ./internal/test/sim -run 'TestArtifactFaults$' -sim.artifacts=10000 -timeout 1h -v",
		},
		{
			"2 GB fetched and stored, beside a plain io.Copy of the same transfer: share of its rate, and heap",
			"go test ./services/archiver -run '^$' -bench Stream -benchtime 3x -archiver.bytes=2147483648",
		},
		{
			"file, S3, Azure and NATS: one suite for all stores, with a process killed in the middle of a put; it needs " +
				"versitygw and azurite-blob in the path",
			"go test ./internal/artifact -run 'TestStores$' -v",
		},
		{
			"1,000 agents at once over MCP, each with a video: no call lost, each paid once; p99 of get_task, and memory",
			"go test ./services/mcp -run TestManyAgents -mcp.agents=1000 -v",
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
