//go:build unix

package chaos

import (
	"context"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The programs of a cluster. Every service has two replicas.
const (
	broker     = "natsd"
	emulators  = "emulator"
	submitterA = "submitter-a"
	submitterB = "submitter-b"
	pollerA    = "poller-a"
	pollerB    = "poller-b"
	statusA    = "status-a"
	statusB    = "status-b"
)

const (
	// providerQuiet is after how long a silent connection to a provider is closed; an answer that never comes costs this long.
	providerQuiet = 3 * time.Second
	reconnectWait = 100 * time.Millisecond
)

// The keys that a run without the sandbox gives to the services. They must turn up nowhere.
const (
	canaryFal     = "canary-fal-5b1f0c7e9a"
	canaryMinimax = "canary-minimax-83d2e4f610"
)

// A cluster is a running reelay in processes, its faulty network and a client beside it.
type cluster struct {
	t        testing.TB
	o        Options
	dir      string // stores and logs; kept when the test fails
	programs map[string]*program
	links    map[string]*Link
	// ledgers are the URLs of the emulators' ledgers.
	ledgers []string
	// metrics are the URLs of the metrics of a run with keys.
	metrics []string
	// direct goes to the broker itself, client through the faulty network.
	direct, client *nats.Conn
	js, clientJS   jetstream.JetStream
}

// build builds the programs into a directory that is removed at the end of the test.
func build(t testing.TB, o Options) string {
	t.Helper()
	if o.Programs != "" {
		return o.Programs
	}
	dir := t.TempDir()
	root := moduleRoot(t)
	visit(t, root)
	args := []string{"build", "-o", dir}
	for _, name := range []string{"natsd", "emulator", "submitter", "poller", "status"} {
		args = append(args, "./cmd/"+name)
	}
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return dir
}

func moduleRoot(t testing.TB) string {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// visit looks at every source file. The go command keeps a test's result only as long as the files that the test itself
// has looked at are the same; without this it would repeat a verdict over programs that have changed.
func visit(t testing.TB, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != root:
			return fs.SkipDir
		case strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go"):
			_, err = os.Stat(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// start starts everything, in no order.
func start(t testing.TB, bin string, o Options) *cluster {
	t.Helper()
	dir, err := os.MkdirTemp("", "reelay-chaos-")
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, o: o, dir: dir, programs: map[string]*program{}, links: map[string]*Link{}}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("stores and logs are kept in %s", dir)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	natsAt, falAt, minimaxAt := freeAddress(t), freeAddress(t), freeAddress(t)
	c.links["nats"] = OpenLink(t, natsAt, 0, newDeck(o.Seed, 11, brokerFaults()).draw)
	c.links["fal"] = OpenLink(t, falAt, providerQuiet, newDeck(o.Seed, 12, providerFaults()).draw)
	c.links["minimax"] = OpenLink(t, minimaxAt, providerQuiet, newDeck(o.Seed, 13, providerFaults()).draw)

	run := func(name, command string, env []string, args ...string) {
		ops := ""
		if o.Keys {
			ops = freeAddress(t)
			c.metrics = append(c.metrics, "http://"+ops+"/metrics")
		}
		c.programs[name] = launch(t, dir, name, filepath.Join(bin, command), slices.Concat(env, []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH")}),
			slices.Concat(args, []string{"--ops-listen=" + ops})...)
	}
	run(broker, "natsd", nil, "--listen="+natsAt, "--store-dir="+filepath.Join(dir, "broker"), "--sync="+o.Sync)
	run(emulators, "emulator", nil, "--fal-listen="+falAt, "--minimax-listen="+minimaxAt, "--store-dir="+filepath.Join(dir, "ledgers"))
	c.ledgers = []string{"http://" + falAt + "/_emulator/ledger", "http://" + minimaxAt + "/_emulator/ledger"}

	server := "--server=nats://" + c.links["nats"].Address()
	providers := []string{
		server, "--fal-url=http://" + c.links["fal"].Address(), "--fal-platform-url=http://" + c.links["fal"].Address(),
		"--minimax-url=http://" + c.links["minimax"].Address(),
	}
	var keys []string
	if o.Keys {
		keys = []string{"FAL_KEY=" + canaryFal, "MINIMAX_API_KEY=" + canaryMinimax}
		providers = append(providers, "--poll-interval=5s")
	} else {
		providers = append(providers, "--sandbox")
	}
	// Two submitters of one machine share the directory of their journals, so that one settles what the other left.
	spending := []string{"--store-dir=" + filepath.Join(dir, "journals")}
	if o.Keys { // a killed broker has left in the kernel what it acknowledged; nobody cuts the power
		spending = append(spending, "--allow-unsynced-spending")
	}
	for _, replica := range []string{"-a", "-b"} {
		run("submitter"+replica, "submitter", keys, slices.Concat(providers, spending)...)
		run("poller"+replica, "poller", keys, providers...)
		run("status"+replica, "status", nil, server)
	}
	c.direct, c.js = connect(t, natsAt)
	c.client, c.clientJS = connect(t, c.links["nats"].Address())
	return c
}

func connect(t testing.TB, address string) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc, err := nats.Connect("nats://"+address, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(reconnectWait),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return nc, js
}

// brokerFaults are the faults of connections to the broker. They live long, so most faults come late.
func brokerFaults() []Fault {
	return append(
		repeat(3, Fault{}),
		Fault{Kind: Cut, Up: true, After: 2_000}, Fault{Kind: Cut, After: 20_000}, Fault{Kind: Cut, Up: true, After: 60_000},
		Fault{Kind: Reset, Up: true, After: 5_000}, Fault{Kind: Reset, After: 3_000}, Fault{Kind: Reset, After: 90_000},
		Fault{Kind: HalfClose, Up: true, After: 4_000}, Fault{Kind: HalfClose, After: 10_000},
		Fault{Kind: Delay, After: 1_000, For: 40 * time.Millisecond}, Fault{Kind: Delay, Up: true, After: 1_000, For: 40 * time.Millisecond},
		Fault{Kind: Hold, After: 6_000, For: 1500 * time.Millisecond}, Fault{Kind: Hold, Up: true, After: 6_000, For: 2500 * time.Millisecond},
	)
}

// providerFaults are the faults of connections to a provider: one in three, within the head, the body and the answer of a
// submit, whose request is about 600 bytes and whose answer is 200 to 700.
func providerFaults() []Fault {
	return append(
		repeat(26, Fault{}),
		Fault{Kind: Cut, Up: true, After: 0}, Fault{Kind: Cut, Up: true, After: 350}, Fault{Kind: Cut, After: 0}, Fault{Kind: Cut, After: 120},
		Fault{Kind: Reset, Up: true, After: 100}, Fault{Kind: Reset, After: 0}, Fault{Kind: Reset, After: 60},
		Fault{Kind: HalfClose, Up: true, After: 200}, Fault{Kind: HalfClose, After: 30},
		Fault{Kind: Delay, After: 0, For: 150 * time.Millisecond}, Fault{Kind: Delay, Up: true, After: 0, For: 150 * time.Millisecond},
		Fault{Kind: Hold, After: 0, For: 1200 * time.Millisecond}, Fault{Kind: Hold, Up: true, After: 50, For: 1200 * time.Millisecond},
	)
}

// heal ends all faults.
func (c *cluster) heal() {
	for _, p := range c.programs {
		p.signal(sigCont)
	}
	for _, l := range c.links {
		l.Heal()
	}
}

// fired sums the faults of all links.
func (c *cluster) fired() map[FaultKind]int {
	sum := map[FaultKind]int{}
	for _, l := range c.links {
		for k, n := range l.Fired() {
			sum[k] += n
		}
	}
	return sum
}

// troubles are the ends of processes that nobody asked for.
func (c *cluster) troubles() []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(c.programs)) {
		p := c.programs[name]
		p.mu.Lock()
		all = append(all, p.troubles...)
		p.mu.Unlock()
	}
	return all
}

// within bounds one call.
func within(ctx context.Context, d time.Duration, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return call(ctx)
}
