package bench

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// waitingWait bounds all that is done with the tasks that wait.
	waitingWait = time.Hour
	// idleTime is for how long the processor time of services is measured that have nothing to do.
	idleTime = 30 * time.Second
)

// WaitingOptions say how waiting is measured.
type WaitingOptions struct {
	// Bin is the directory of the services' binaries.
	Bin string
	// Waiting is how many waiting tasks are copied in.
	Waiting int
	// Progress is told what is being done; nil tells nobody.
	Progress func(string)
}

// MeasureWaiting measures what tasks cost that wait for a provider which cannot be reached: memory by process, processor
// time, and how long each service takes to start.
func MeasureWaiting(ctx context.Context, o WaitingOptions) (t Table, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, waitingWait, errors.New("it did not end in time"))
	defer cancel()
	options := Options{Bin: o.Bin, Progress: o.Progress}
	err = options.onRecords(ctx, o.Waiting, waitingRecord, func(w *world, broker *process, server string) error {
		t.Name = fmt.Sprintf("%d tasks wait", o.Waiting)
		nobody, err := freePorts(1)
		if err != nil {
			return err
		}
		provider := providerFlags(first(), "http://"+nobody[0])
		all, err := t.startServices(ctx, w, options, server, []serviceArgs{
			{"status", nil}, {"submitter", append([]string{"--store-dir", w.dir}, provider...)}, {"poller", provider},
		})
		if err != nil {
			return err
		}
		all = append(all, broker)
		if err := t.idle(ctx, options, all); err != nil {
			return err
		}
		for _, p := range all {
			options.progress("start of " + p.name + " after kill -9")
			_, took, err := w.restart(ctx, p)
			if err != nil {
				return err
			}
			t.add("start of "+p.name+" after kill -9, s", took.Seconds())
		}
		return nil
	})
	return t, err
}

// serviceArgs are a service and its own arguments.
type serviceArgs struct {
	name string
	args []string
}

// startServices starts services, and tells how long each took.
func (t *Table) startServices(ctx context.Context, w *world, o Options, server string, services []serviceArgs) (
	all []*process, err error,
) {
	for _, s := range services {
		o.progress("start of " + s.name)
		command := append([]string{o.bin(s.name), "--server", server, "--log-level", "warn"}, s.args...)
		p, took, err := w.startTimed(ctx, command...)
		if err != nil {
			return nil, err
		}
		t.add("start of "+s.name+", s", took.Seconds())
		all = append(all, p)
	}
	return all, nil
}

// idle measures what the processes take while nothing can be done.
func (t *Table) idle(ctx context.Context, o Options, all []*process) error {
	o.progress("nothing is done")
	if err := sleep(ctx, settleWait); err != nil {
		return err
	}
	before, err := usageOf(ctx, all)
	if err != nil {
		return err
	}
	if err := sleep(ctx, idleTime); err != nil {
		return err
	}
	after, err := usageOf(ctx, all)
	if err != nil {
		return err
	}
	for _, p := range all {
		used, err := usageOf(ctx, []*process{p})
		if err != nil {
			return err
		}
		t.add("memory of "+p.name+", MB", used.metrics[metricMemory]/1e6)
		t.add("CPU of "+p.name+", cores", (after.cpu[p.name]-before.cpu[p.name])/idleTime.Seconds())
	}
	t.add("memory of all, MB", after.metrics[metricMemory]/1e6)
	t.add("CPU of all, cores", (after.metrics[metricCPU]-before.metrics[metricCPU])/idleTime.Seconds())
	return nil
}
