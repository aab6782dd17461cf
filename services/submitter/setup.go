package submitter

import (
	"context"
	"path/filepath"
	"slices"

	"reelay/internal/backlog"
	"reelay/internal/config"
	"reelay/internal/failpoint"
	"reelay/internal/journal"
	"reelay/internal/proc"
	"reelay/internal/provider"
	"reelay/internal/provider/registry"
	"reelay/internal/storeguard"
)

// A Setup is what a process gives its submitter.
type Setup struct {
	// Options need no Known, IgnoredProxy, Journal, Spending, Witness, Registerer and Tracer.
	Options
	// StoreDir is the directory in which the journal is, on a local disk.
	StoreDir string
	Guard    config.Guard
	// Sync is when the broker syncs, if the process knows.
	Sync storeguard.Sync
	// Faults is for simulations only.
	Faults failpoint.Plan
}

// Start runs a submitter, with its journal and the guard of the broker's store, as parts of p under a name, which is
// the service's but for a further one in the same process.
func Start(ctx context.Context, p *proc.Process, part string, s Setup) (err error) {
	o, dir := s.Options, filepath.Join(s.StoreDir, "journal")
	o.Registerer, o.Tracer, o.Known = p.Registerer(part), p.Tracer(part), append(registry.Names(), registry.Local)
	o.IgnoredProxy = config.IgnoredProxy()
	if o.Journal, err = journal.Open(dir, o.Log, s.Faults); err != nil {
		return err
	}
	p.Defer("journal", o.Journal.Close)
	guard := storeguard.Open(ctx, storeguard.Options{
		Bus: o.Bus, Dir: dir, EpochDir: s.Guard.EpochDir, Paid: slices.ContainsFunc(o.Lanes, func(l provider.Lane) bool { return !l.Emulated && !l.Free }),
		Sync: s.Sync, AcceptNewStore: s.Guard.AcceptNewStore, AllowUnsyncedSpending: s.Guard.AllowUnsyncedSpending,
		Log: o.Log, Registerer: o.Registerer, Faults: s.Faults,
	})
	p.Go("guard", guard.Run, nil)
	p.Check("spending", guard.Allowed)
	p.Go("backlog", backlog.New(o.Bus, o.Log, o.Registerer).Run, nil)
	o.Spending, o.Witness = guard, guard
	svc, err := New(o)
	if err != nil {
		return err
	}
	p.Go(part, svc.Run, svc.Ready)
	return nil
}
