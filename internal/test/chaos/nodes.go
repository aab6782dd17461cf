//go:build unix

package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"reelay/events"
)

// server is the program of a node, as users run it.
const server = "nats-server"

const (
	// The next fault of a node comes that long after the cluster is healthy.
	minNodeFaultGap, maxNodeFaultGap = 2 * time.Second, 6 * time.Second
	// A killed node stays down for up to maxDown, two at once for minQuorumLoss to maxQuorumLoss: nothing can be written
	// then.
	maxDown                      = 4 * time.Second
	minQuorumLoss, maxQuorumLoss = 3 * time.Second, 8 * time.Second
	// nodePause is longer than an election needs, and shorter than the services' patience with a connection.
	nodePause = 10 * time.Second
	// maxRecovery is how long a cluster may take to be healthy again, and so the longest pause of writes that a run
	// allows.
	maxRecovery = time.Minute
	healthTick  = 250 * time.Millisecond
	// nodeFaultTime is about how long one fault of a node takes, recovery included.
	nodeFaultTime = 16 * time.Second
)

// A nodeFault is what is done to the nodes of a cluster of brokers at one time.
type nodeFault string

const (
	killOne        nodeFault = "kill_one"
	killLeader     nodeFault = "kill_leader"      // of the task records
	killMetaLeader nodeFault = "kill_meta_leader" // the leader of the cluster
	killTwo        nodeFault = "kill_two"         // nothing can be written
	pauseOne       nodeFault = "pause_one"
	pauseLeader    nodeFault = "pause_leader"
	rollingRestart nodeFault = "rolling_restart" // each in turn, as an upgrade does
)

// nodeFaults fill the shuffle bag of a run.
func nodeFaults() []nodeFault {
	return []nodeFault{
		killOne, killOne, killLeader, killLeader, killMetaLeader, killTwo, pauseOne, pauseLeader,
		rollingRestart,
	}
}

// nodeName is that of the nth node, from 1.
func nodeName(n int) string { return fmt.Sprintf("nats-%d", n) }

// A node is one broker of a cluster.
type node struct {
	// client and monitor are its addresses.
	client, monitor string
}

// startNodes starts the brokers of a cluster, which do not advertise each other: clients come through the faulty
// network.
func (c *cluster) startNodes(run func(name, command string, args ...string)) {
	c.t.Helper()
	var routes []string
	for range c.o.Nodes {
		c.nodes = append(c.nodes, node{freeAddress(c.t), freeAddress(c.t)})
		routes = append(routes, freeAddress(c.t))
	}
	sync := `"2m"`
	if c.o.Sync == "always" {
		sync = "always"
	}
	for i, n := range c.nodes {
		name := nodeName(i + 1)
		text := fmt.Sprintf("server_name: %s\nlisten: %q\nhttp: %q\njetstream { store_dir: %q, sync_interval: %s }\n"+
			"cluster { name: chaos, listen: %q, no_advertise: true, routes: [%s] }\n",
			name, n.client, n.monitor, filepath.Join(c.dir, "broker", name), sync, routes[i],
			`"nats-route://`+strings.Join(routes, `", "nats-route://`)+`"`)
		path := filepath.Join(c.dir, name+".conf")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			c.t.Fatal(err)
		}
		run(name, server, "-c", path)
		c.links[name] = OpenLink(c.t, 0, newShuffleBag(c.o.Seed, 40+uint64(i), brokerFaults()).draw, n.client)
	}
}

// injectNodeFaults injects one fault after the other, each when the cluster is healthy, until there were enough or ctx
// ends.
func (c *cluster) injectNodeFaults(ctx context.Context, f *Figures) {
	next := newShuffleBag(c.o.Seed, 51, nodeFaults())
	rng := newShuffleBag(c.o.Seed, 52, []struct{}{{}}).rng
	for range c.o.NodeKills {
		select {
		case <-ctx.Done():
			return
		case <-time.After(between(rng, minNodeFaultGap, maxNodeFaultGap)):
		}
		begin := time.Now()
		b := next.draw()
		done := c.injectNodeFault(ctx, b, rng)
		f.NodeFaults[b]++
		err := c.awaitHealthy(ctx)
		took := time.Since(begin)
		c.t.Logf("%s: %s; healthy after %.1f s", b, done, took.Seconds())
		if err != nil && ctx.Err() == nil {
			c.t.Errorf("nodes: after %s the cluster was not healthy again within %v: %v", b, maxRecovery, err)
			return
		}
		f.LongestRecovery = max(f.LongestRecovery, took)
	}
}

// injectNodeFault injects one fault and returns when its own time is over.
func (c *cluster) injectNodeFault(ctx context.Context, b nodeFault, rng *rand.Rand) (done string) {
	n := len(c.nodes)
	first := rng.IntN(n)
	victim := nodeName(first + 1)
	switch b {
	case killLeader, pauseLeader:
		if s, err := c.js.Stream(ctx, events.StreamTasks); err == nil && s.CachedInfo().Cluster != nil &&
			s.CachedInfo().Cluster.Leader != "" {
			victim = s.CachedInfo().Cluster.Leader
		}
	case killMetaLeader:
		if name := c.metaLeader(ctx); name != "" {
			victim = name
		}
	}
	switch b {
	case pauseOne, pauseLeader:
		c.programs[victim].pause(nodePause)
		sleep(ctx, nodePause)
	case killTwo:
		down := between(rng, minQuorumLoss, maxQuorumLoss)
		c.programs[victim].killFor(down)
		second := nodeName((first+1)%n + 1)
		c.programs[second].killFor(down + between(rng, 0, time.Second))
		sleep(ctx, down)
		return victim + " and " + second
	case rollingRestart:
		for i := range n {
			c.programs[nodeName(i+1)].terminate()
			sleep(ctx, 2*time.Second)
			if c.awaitHealthy(ctx) != nil {
				break
			}
		}
		return "all"
	default:
		down := between(rng, 0, maxDown)
		c.programs[victim].killFor(down)
		sleep(ctx, down)
	}
	return victim
}

// awaitHealthy waits until every replica of every stream is online and current.
func (c *cluster) awaitHealthy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, maxRecovery)
	defer cancel()
	for {
		err := within(ctx, publishWait, c.healthy)
		if err == nil {
			return nil
		}
		if !sleep(ctx, healthTick) {
			return err
		}
	}
}

func (c *cluster) healthy(ctx context.Context) error {
	streams := c.js.ListStreams(ctx)
	count := 0
	for info := range streams.Info() {
		count++
		switch {
		case info.Config.Replicas != len(c.nodes):
			return fmt.Errorf("%s has %d replicas", info.Config.Name, info.Config.Replicas)
		case info.Cluster == nil || info.Cluster.Leader == "" || len(info.Cluster.Replicas) != len(c.nodes)-1:
			return fmt.Errorf("%s has no leader", info.Config.Name)
		}
		for _, r := range info.Cluster.Replicas {
			if !r.Current || r.Offline {
				return fmt.Errorf("%s: %s lags behind by %d", info.Config.Name, r.Name, r.Lag)
			}
		}
	}
	if streams.Err() == nil && count == 0 {
		return fmt.Errorf("no streams")
	}
	return streams.Err()
}

// metaLeader returns the node that leads the cluster; "" if no node answers.
func (c *cluster) metaLeader(ctx context.Context) string {
	for _, n := range c.nodes {
		body, err := read(ctx, "http://"+n.monitor+"/jsz")
		var j struct {
			Meta struct {
				Leader string `json:"leader"`
			} `json:"meta_cluster"`
		}
		if err == nil && json.Unmarshal(body, &j) == nil && c.programs[j.Meta.Leader] != nil {
			return j.Meta.Leader
		}
	}
	return ""
}

// sleep waits for d; false when ctx ends before.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// missedNodes returns which faults the nodes have not met.
func (f Figures) missedNodes(o Options) []string {
	if o.Nodes <= 1 {
		return nil
	}
	var missing []string
	if n := sum(f.NodeFaults); n < o.NodeKills {
		missing = append(missing, fmt.Sprintf("void: %d faults of nodes, want %d", n, o.NodeKills))
	}
	if o.NodeKills >= len(nodeFaults()) {
		for _, b := range nodeFaults() {
			if f.NodeFaults[b] == 0 {
				missing = append(missing, "void: no node met "+string(b))
			}
		}
	}
	return missing
}

// lineOfNodes describes the faults of the nodes; "" for a single broker.
func (f Figures) lineOfNodes() string {
	if len(f.NodeFaults) == 0 {
		return ""
	}
	return fmt.Sprintf("faults of nodes %d %v, healthy again after %.1f s at most", sum(f.NodeFaults), f.NodeFaults,
		f.LongestRecovery.Seconds())
}

// brokerURLs are the servers that a client is given, by their addresses.
func brokerURLs(addresses []string) string { return "nats://" + strings.Join(addresses, ",nats://") }

// natsLinks are the names of the links to the brokers.
func (c *cluster) natsLinks() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(c.links)),
		func(name string) bool { return !strings.HasPrefix(name, "nats") })
}
