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
	// A node is struck again that long after the cluster is whole.
	minNodePause, maxNodePause = 2 * time.Second, 6 * time.Second
	// A node that is felled stays down for up to maxDown; two at once for minDark to maxDark, in which nothing can be written.
	maxDown          = 4 * time.Second
	minDark, maxDark = 3 * time.Second, 8 * time.Second
	// standstill is longer than an election needs, and shorter than the services' patience with a connection.
	standstill = 10 * time.Second
	// maxWhole is how long a cluster may take to be whole again: it is the longest pause of writes that a run allows.
	maxWhole  = time.Minute
	wholeTick = 250 * time.Millisecond
	// nodeTime is about what one blow at a node takes, and its consequences.
	nodeTime = 16 * time.Second
)

// A nodeBlow is what is done to the nodes of a cluster of brokers at one time.
type nodeBlow string

const (
	fellOne    nodeBlow = "fell_one"
	fellLeader nodeBlow = "fell_leader" // of the task records
	fellMeta   nodeBlow = "fell_meta"   // the leader of the cluster
	fellTwo    nodeBlow = "fell_two"    // nothing can be written
	haltOne    nodeBlow = "halt_one"
	haltLeader nodeBlow = "halt_leader"
	rollNodes  nodeBlow = "roll" // each in turn, as an upgrade does
)

// nodeBlows are the cards of a run.
func nodeBlows() []nodeBlow {
	return []nodeBlow{fellOne, fellOne, fellLeader, fellLeader, fellMeta, fellTwo, haltOne, haltLeader, rollNodes}
}

// nodeName is that of the nth node, from 1.
func nodeName(n int) string { return fmt.Sprintf("nats-%d", n) }

// A node is one broker of a cluster.
type node struct {
	// client and monitor are its addresses.
	client, monitor string
}

// startNodes starts the brokers of a cluster, which tell nobody of each other: clients come through the faulty network.
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
			name, n.client, n.monitor, filepath.Join(c.dir, "broker", name), sync, routes[i], `"nats-route://`+strings.Join(routes, `", "nats-route://`)+`"`)
		path := filepath.Join(c.dir, name+".conf")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			c.t.Fatal(err)
		}
		run(name, server, "-c", path)
		c.links[name] = OpenLink(c.t, 0, newDeck(c.o.Seed, 40+uint64(i), brokerFaults()).draw, n.client)
	}
}

// strikeNodes deals blows to the nodes, one after the other, each when the cluster is whole, until there were enough or ctx ends.
func (c *cluster) strikeNodes(ctx context.Context, f *Figures) {
	next := newDeck(c.o.Seed, 51, nodeBlows())
	rng := newDeck(c.o.Seed, 52, []struct{}{{}}).rng
	for range c.o.Fells {
		select {
		case <-ctx.Done():
			return
		case <-time.After(between(rng, minNodePause, maxNodePause)):
		}
		begin := time.Now()
		b := next.draw()
		done := c.strikeNode(ctx, b, rng)
		f.NodeBlows[b]++
		err := c.awaitWhole(ctx)
		took := time.Since(begin)
		c.t.Logf("%s: %s; whole after %.1f s", b, done, took.Seconds())
		if err != nil && ctx.Err() == nil {
			c.t.Errorf("nodes: after %s the cluster was not whole again within %v: %v", b, maxWhole, err)
			return
		}
		f.Unwhole = max(f.Unwhole, took)
	}
}

// strikeNode deals one blow, and returns when its own time is over.
func (c *cluster) strikeNode(ctx context.Context, b nodeBlow, rng *rand.Rand) (done string) {
	n := len(c.nodes)
	first := rng.IntN(n)
	victim := nodeName(first + 1)
	switch b {
	case fellLeader, haltLeader:
		if s, err := c.js.Stream(ctx, events.StreamTasks); err == nil && s.CachedInfo().Cluster != nil && s.CachedInfo().Cluster.Leader != "" {
			victim = s.CachedInfo().Cluster.Leader
		}
	case fellMeta:
		if name := c.metaLeader(ctx); name != "" {
			victim = name
		}
	}
	switch b {
	case haltOne, haltLeader:
		c.programs[victim].pause(standstill)
		sleep(ctx, standstill)
	case fellTwo:
		down := between(rng, minDark, maxDark)
		c.programs[victim].fell(down)
		second := nodeName((first+1)%n + 1)
		c.programs[second].fell(down + between(rng, 0, time.Second))
		sleep(ctx, down)
		return victim + " and " + second
	case rollNodes:
		for i := range n {
			c.programs[nodeName(i+1)].terminate()
			sleep(ctx, 2*time.Second)
			if c.awaitWhole(ctx) != nil {
				break
			}
		}
		return "all"
	default:
		down := between(rng, 0, maxDown)
		c.programs[victim].fell(down)
		sleep(ctx, down)
	}
	return victim
}

// awaitWhole waits until every replica of every stream is there and knows everything.
func (c *cluster) awaitWhole(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, maxWhole)
	defer cancel()
	for {
		err := within(ctx, publishWait, c.whole)
		if err == nil {
			return nil
		}
		if !sleep(ctx, wholeTick) {
			return err
		}
	}
}

func (c *cluster) whole(ctx context.Context) error {
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

// metaLeader returns the node that leads the cluster; "" if nobody tells.
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

// missedNodes returns which blows the nodes have not met.
func (f Figures) missedNodes(o Options) []string {
	if o.Nodes <= 1 {
		return nil
	}
	var missing []string
	if n := sum(f.NodeBlows); n < o.Fells {
		missing = append(missing, fmt.Sprintf("void: %d blows at nodes, want %d", n, o.Fells))
	}
	if o.Fells >= len(nodeBlows()) {
		for _, b := range nodeBlows() {
			if f.NodeBlows[b] == 0 {
				missing = append(missing, "void: no node met "+string(b))
			}
		}
	}
	return missing
}

// lineOfNodes tells what became of the nodes; "" of a single broker.
func (f Figures) lineOfNodes() string {
	if len(f.NodeBlows) == 0 {
		return ""
	}
	return fmt.Sprintf("blows at nodes %d %v, whole again after %.1f s at most", sum(f.NodeBlows), f.NodeBlows, f.Unwhole.Seconds())
}

// brokerURLs are the servers that a client is given, by their addresses.
func brokerURLs(addresses []string) string { return "nats://" + strings.Join(addresses, ",nats://") }

// natsLinks are the names of the links to the brokers.
func (c *cluster) natsLinks() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(c.links)), func(name string) bool { return !strings.HasPrefix(name, "nats") })
}
