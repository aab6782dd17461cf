// Package bench measures what a task costs: tasks a second, latency, processor time, memory, and messages at the
// broker. The same work is done in the same run by a bare JetStream loop, which keeps none of reelay's promises: what
// counts is the ratio between the two, for the machine cancels out of it.
//
// Each run starts a broker on an empty store and an emulated provider that answers at once, then the loop, then the
// services, all as processes of their own. The provider and the client that hands tasks in and hears their ends are the
// same for both, and are not counted.
//
// Beside that it measures what is read of many stored tasks (MeasureReads), and what many tasks cost that wait
// (MeasureWaiting): for both, records are copied in.
package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"reelay/internal/provider/registry"
)

const (
	// runWait bounds one half of a run.
	runWait = 10 * time.Minute
	// settleWait lets a half come to rest before it is measured.
	settleWait = time.Second
	// warmUp is how many tasks go before those that are measured.
	warmUp = 50
)

// Options say what is measured.
type Options struct {
	// Bin is the directory of the services' binaries.
	Bin string
	// Loop is the command line that runs the loop: RunLoop in a process of its own, with the flags --server, --url, --model
	// and --ops-listen.
	Loop []string
	// Sync is when the broker syncs: "interval" or "always".
	Sync string
	// Tasks is how many tasks are handed in at once for the throughput, Alone how many one after the other for the latency.
	Tasks, Alone int
	// Runs is how often all is measured, on a new store each time.
	Runs int
	// Profile is the directory that gets a profile of each process of reelay, as it works on the tasks handed in at once;
	// empty for none. The figures are those of processes that are profiled, then.
	Profile string
	// Progress is told what is being done; nil tells nobody.
	Progress func(string)
}

// Measure runs everything Runs times. It fails if a process does not get ready, or tasks do not end within ten minutes.
func Measure(ctx context.Context, o Options) (Report, error) {
	r := Report{Sync: o.Sync, Tasks: o.Tasks, Alone: o.Alone}
	for n := range o.Runs {
		run, err := o.run(ctx, fmt.Sprintf("run %d of %d", n+1, o.Runs))
		if err != nil {
			return r, err
		}
		r.Runs = append(r.Runs, run)
	}
	r.sum()
	return r, nil
}

// run measures both halves on one new store.
func (o Options) run(ctx context.Context, name string) (r Run, err error) {
	dir, err := os.MkdirTemp("", "reelay-bench-")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	w := world{dir: dir}
	defer w.stop()
	p := first()
	ports, err := freePorts(len(registry.All()) + 1)
	if err != nil {
		return r, err
	}
	url := "http://" + ports[0]
	server := "nats://" + ports[len(ports)-1]
	broker, err := w.start(o.bin("natsd"), "--sandbox", "--listen", ports[len(ports)-1], "--sync", o.Sync, "--store-dir", dir)
	if err != nil {
		return r, err
	}
	emulator := []string{o.bin("emulator"), "--queue", "0s", "--run", "0s", "--position", "0", "--store-dir", dir}
	for i, p := range registry.All() {
		emulator = append(emulator, "--"+p.Name+"-listen", ports[i])
	}
	if _, err := w.start(emulator...); err != nil {
		return r, err
	}
	if err := w.awaitReady(ctx); err != nil {
		return r, err
	}
	nc, err := nats.Connect(server, nats.Name("reelay bench"))
	if err != nil {
		return r, fmt.Errorf("broker at %s: %w", server, err)
	}
	defer nc.Close()

	loop, err := w.start(append(o.Loop, "--server", server, "--url", url, "--model", p.ExampleModel)...)
	if err != nil {
		return r, err
	}
	o.progress(name + ": bare loop")
	if r.Loop, err = o.half(ctx, &w, nc, loopClient(), broker, loop); err != nil {
		return r, fmt.Errorf("bare loop: %w", err)
	}
	loop.stop()

	counted := []*process{broker}
	for service, args := range map[string][]string{
		"submitter": {"--sandbox", "--" + p.BaseURL().Flag, url, "--store-dir", dir},
		"poller":    {"--sandbox", "--" + p.BaseURL().Flag, url},
		"status":    {},
	} {
		s, err := w.start(append([]string{o.bin(service), "--server", server, "--log-level", "warn"}, args...)...)
		if err != nil {
			return r, err
		}
		counted = append(counted, s)
	}
	o.progress(name + ": reelay")
	if r.Reelay, err = o.half(ctx, &w, nc, taskClient(p), counted...); err != nil {
		return r, fmt.Errorf("reelay: %w", err)
	}
	return r, nil
}

// first is the provider that is emulated.
func first() registry.Provider { return registry.All()[0] }

func (o Options) bin(name string) string { return filepath.Join(o.Bin, name) }

func (o Options) progress(text string) {
	if o.Progress != nil {
		o.Progress(text)
	}
}

// half measures one of the two, at the processes that are counted.
func (o Options) half(ctx context.Context, w *world, nc *nats.Conn, c client, counted ...*process) (h Half, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, runWait, errors.New("the tasks did not end in time"))
	defer cancel()
	if err := w.awaitReady(ctx); err != nil {
		return h, err
	}
	l, err := newLoad(nc, c)
	if err != nil {
		return h, err
	}
	defer l.close()
	if _, err := l.together(ctx, warmUp); err != nil {
		return h, err
	}
	if err := sleep(ctx, settleWait); err != nil {
		return h, err
	}
	times, err := l.alone(ctx, o.Alone)
	if err != nil {
		return h, err
	}
	before, err := usageOf(ctx, counted)
	if err != nil {
		return h, err
	}
	profiled := o.profile(ctx, counted)
	took, err := l.together(ctx, o.Tasks)
	if err != nil {
		return h, err
	}
	// What follows an end, such as the last acknowledgements, is part of the cost.
	if err := sleep(ctx, settleWait); err != nil {
		return h, err
	}
	after, err := usageOf(ctx, counted)
	if err = errors.Join(err, profiled()); err != nil {
		return h, err
	}
	return newHalf(o.Tasks, took, times, before, after), nil
}

// profile begins to profile the processes, if that is asked for, and returns what waits for the profiles. The last run's
// stay, and of the two halves those of reelay, which has other names of processes.
func (o Options) profile(ctx context.Context, counted []*process) (wait func() error) {
	var g errgroup.Group
	for _, p := range counted {
		if o.Profile != "" {
			g.Go(func() error { return p.profile(ctx, filepath.Join(o.Profile, p.name+".pprof")) })
		}
	}
	return g.Wait
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
