package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/provider/registry"
	"reelay/internal/taskstore"
)

const (
	// copiers is how many records are written at once.
	copiers = 128
	// startWait bounds the start of a service on many records.
	startWait = 5 * time.Minute
)

// A Table is what was measured, one row each.
type Table struct {
	Name string   `json:"name"`
	Rows []Figure `json:"rows"`
}

// A Figure is one row.
type Figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
}

func (t *Table) add(name string, value float64) { t.Rows = append(t.Rows, Figure{name, value}) }

// Write writes the table.
func (t *Table) Write(w io.Writer) error {
	out := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(out, "%s\n", t.Name)
	for _, row := range t.Rows {
		fmt.Fprintf(out, "%s\t%.4g\t\n", row.Name, row.Value)
	}
	return out.Flush()
}

// onRecords measures beside a broker with so many records on a new store, which is removed afterwards.
func (o Options) onRecords(ctx context.Context, n int, record func(i int) events.Task,
	measure func(w *world, broker *process, server string) error,
) (err error) {
	dir, err := os.MkdirTemp("", "reelay-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	w := world{dir: dir}
	defer w.stop()
	ports, err := freePorts(1)
	if err != nil {
		return err
	}
	server := "nats://" + ports[0]
	broker, err := w.start(o.bin("natsd"), "--sandbox", "--listen", ports[0], "--sync", "interval", "--store-dir", dir)
	if err != nil {
		return err
	}
	if err := w.awaitReady(ctx); err != nil {
		return err
	}
	o.progress(fmt.Sprintf("%d records are copied in", n))
	if err := copyIn(ctx, server, n, record); err != nil {
		return err
	}
	return measure(&w, broker, server)
}

// startTimed starts a command and tells how long it took until it was ready.
func (w *world) startTimed(ctx context.Context, command ...string) (*process, time.Duration, error) {
	begin := time.Now()
	p, err := w.start(command...)
	if err != nil {
		return nil, 0, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startWait, errors.New("it was not ready in time"))
	defer cancel()
	for !p.ready(ctx) {
		select {
		case <-p.done:
			return nil, 0, fmt.Errorf("%s has ended: %v\n%s", p.name, p.cmd.ProcessState, p.tail())
		case <-ctx.Done():
			return nil, 0, fmt.Errorf("%s: %w\n%s", p.name, context.Cause(ctx), p.tail())
		case <-time.After(readyTick):
		}
	}
	return p, time.Since(begin), nil
}

// restart kills a process and starts it anew, and tells how long it took until it was ready.
func (w *world) restart(ctx context.Context, p *process) (*process, time.Duration, error) {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
	w.all = slices.DeleteFunc(w.all, func(other *process) bool { return other == p })
	args := p.cmd.Args
	return w.startTimed(ctx, args[:slices.Index(args, "--ops-listen")]...)
}

// copyIn stores records, each with its heartbeat, as a submitter does.
func copyIn(ctx context.Context, server string, n int, record func(i int) events.Task) error {
	nc, err := nats.Connect(server, nats.Name("reelay bench"))
	if err != nil {
		return fmt.Errorf("broker at %s: %w", server, err)
	}
	defer nc.Close()
	b, err := bus.Open(ctx, nc, bus.Options{World: events.WorldSandbox, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	var next atomic.Int64
	all, ctx := errgroup.WithContext(ctx)
	for range copiers {
		all.Go(func() error {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				if err := taskstore.CopyIn(ctx, b, record(int(i))); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return all.Wait()
}

// waitingRecord is the record of a task that waits for its turn, of one project of a hundred.
func waitingRecord(i int) events.Task {
	p := first()
	created := time.Now().Add(-time.Hour).Add(time.Duration(i) * time.Millisecond).UTC()
	digest := fmt.Sprintf("%064d", i)
	return events.Task{
		Schema: events.TaskSchema, ID: fmt.Sprintf("task-%016d", i), Project: fmt.Sprintf("%s-%d", project, i%100),
		TaskType: events.Video, Provider: p.Name, Lane: p.Name, Model: p.ExampleModel, RequestDigest: digest, InputDigest: digest,
		Input: json.RawMessage(`{"prompt":"` + prompt + `"}`), Status: events.StatusQueued, Phase: events.PhaseWaiting,
		CreatedAt: created, Deadline: created.Add(48 * time.Hour), OnInDoubt: events.InDoubtHold, MaxPaidAttempts: 1, Version: 1,
		Transitions: []events.Transition{{Version: 1, At: created, Name: "accept", To: events.PhaseWaiting, By: "submitter"}},
	}
}

// readRecord is a record of a project in which one task of ten waits, one is at the provider, and the others have ended.
func readRecord(i int) events.Task {
	t := waitingRecord(i)
	t.Project, t.SceneID, t.BatchID = project, fmt.Sprint("scene-", i/4), fmt.Sprint("batch-", i/12)
	if i%10 == 0 {
		return t
	}
	sent, cost := t.CreatedAt.Add(time.Second), 0.84
	step := func(version uint64, name string, to events.Phase, by string) {
		at := t.CreatedAt.Add(time.Duration(version) * time.Second)
		t.Version, t.Phase = version, to
		t.Transitions = append(t.Transitions, events.Transition{
			Version: version, At: at, Name: name, From: t.Transitions[len(t.Transitions)-1].To, To: to, By: by,
		})
	}
	t.SubmittedAt, t.StartedAt, t.Status = &sent, &sent, events.StatusInProgress
	t.ProviderID, t.ProviderRef = t.ID, json.RawMessage(`{"status_url":"https://queue.example/`+t.ID+`/status"}`)
	t.Attempts = []events.Attempt{{
		N: 1, Owner: t.ID, IntentAt: sent, NotAfter: sent.Add(time.Minute), BodySHA256: t.InputDigest,
		Outcome: events.AttemptAccepted, OutcomeAt: &sent, Ref: t.ProviderRef, ProviderID: t.ID,
		Charge: events.ChargeConfirmed, CostUSD: &cost,
	}}
	t.Cost = &events.Cost{EstimatedUSD: &cost}
	step(2, "intend", events.PhaseSubmitting, "submitter")
	step(3, "accepted", events.PhaseProviderQueued, "submitter")
	step(4, "running", events.PhaseRunning, "poller")
	if i%10 == 1 {
		return t
	}
	ended := t.CreatedAt.Add(time.Minute)
	t.Status, t.CompletedAt = events.StatusCompleted, &ended
	t.Result = &events.Result{
		Outputs: []events.Output{{URL: "https://media.example/" + t.ID + ".mp4", ContentType: "video/mp4"}},
		Raw:     json.RawMessage(`{"video":{"url":"https://media.example/` + t.ID + `.mp4"},"text":"` + strings.Repeat("x", 300) + `"}`),
	}
	step(5, "completed", events.PhaseDone, "poller")
	return t
}

// providerFlags are the flags by which a service finds the emulated provider at url.
func providerFlags(p registry.Provider, url string) []string {
	return []string{"--sandbox", "--" + p.BaseURL().Flag, url}
}
