package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"reelay/events"
	"reelay/events/client"
	"reelay/internal/terminal"
)

// batchAgain is how soon a batch is asked for again while it is waited for: its event is heard at once, and may be
// missed.
const batchAgain = 15 * time.Second

// batchPaint is how soon it is asked for again where a person sees how far it is.
const batchPaint = 2 * time.Second

// batchCmd shows a batch.
type batchCmd struct {
	connection `embed:""`

	Batch   string        `arg:"" help:"Batch id, or <project>.<batch>."`
	Project string        `help:"Project of the batch." env:"REELAY_PROJECT" default:"default"`
	Wait    bool          `help:"Wait until as many tasks as were announced have ended or were rejected."`
	Timeout time.Duration `help:"Longest wait (default: until it is done)." placeholder:"DURATION"`
	Save    string        `help:"Save what its completed tasks have made in this directory, and print the paths." placeholder:"DIR"`
	JSON    bool          `name:"json" help:"Print JSON."`
}

// Run shows the batch. With --wait it is a failure if a task of it has failed or was cancelled, or a request was
// rejected.
func (c *batchCmd) Run(ctx context.Context, e *env) error {
	k, err := parseKey(c.Project, c.Batch)
	if err != nil {
		return err
	}
	if c.Timeout < 0 {
		return usagef("--timeout: must not be negative")
	}
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	var stream <-chan events.Event
	if c.Wait {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		if stream, err = a.Subscribe(ctx, events.EventSubject(k, events.EventBatchDone)); err != nil {
			return err
		}
	}
	b, err := a.Batch(ctx, k)
	if err == nil && c.Wait && !b.Done() {
		b, err = c.untilDone(ctx, e, a, k, stream)
	}
	if err != nil {
		return err
	}
	switch {
	case c.Save != "":
		err = errors.Join(printBatch(e.stderr, b), c.save(ctx, e, a, k))
	case c.JSON:
		err = printJSON(e.stdout, b)
	default:
		err = printBatch(e.stdout, b)
	}
	if bad := b.ByStatus[events.StatusFailed] + b.ByStatus[events.StatusCancelled] + b.Rejected; err == nil && c.Wait &&
		bad > 0 {
		return fmt.Errorf("%d of %d tasks of batch %s did not complete", bad, b.Total+b.Rejected, k)
	}
	return err
}

// save saves what the completed tasks of the batch have made. One that cannot be saved does not keep the others.
func (c *batchCmd) save(ctx context.Context, e *env, a *api, k events.Key) error {
	r := events.ListRequest{BatchID: k.ID, Status: []events.Status{events.StatusCompleted}, Limit: events.MaxListLimit}
	var failed []error
	for {
		page, err := a.List(ctx, k.Project, r)
		if err != nil {
			return errors.Join(append(failed, err)...)
		}
		for _, t := range page.Tasks {
			if err := saveResult(ctx, e, a, t, c.Save); err != nil {
				failed = append(failed, fmt.Errorf("task %s: %w", t.ID, err))
			}
			if ctx.Err() != nil {
				return errInterrupted
			}
		}
		if r.Cursor = page.NextCursor; r.Cursor == "" {
			return errors.Join(failed...)
		}
	}
}

// untilDone waits at most Timeout, through restarts of the services.
func (c *batchCmd) untilDone(ctx context.Context, e *env, a *api, k events.Key,
	done <-chan events.Event,
) (events.Batch, error) {
	fmt.Fprintf(e.stderr, "waiting for batch %s\n", k)
	if c.Timeout > 0 {
		limited, cancel := context.WithTimeout(ctx, c.Timeout)
		defer cancel()
		ctx = limited
	}
	again := batchAgain
	if e.width() > 0 {
		again = batchPaint
		defer fmt.Fprintln(e.stderr)
	}
	for {
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return events.Batch{}, fmt.Errorf("batch %s is not done after %v", k, c.Timeout)
			}
			return events.Batch{}, errInterrupted
		case <-done:
		case <-time.After(again):
		}
		b, err := a.Batch(ctx, k)
		if columns := e.width(); err == nil && columns > 0 {
			fmt.Fprint(e.stderr, "\r"+terminal.Cut(batchLine(b), columns-1)+clearToEnd)
		}
		if err == nil && b.Done() {
			return b, nil
		}
		if err != nil && ctx.Err() == nil && !errors.Is(err, client.ErrNoService) && !errors.Is(err, client.ErrNoAnswer) {
			return b, err
		}
	}
}

// batchLine says how far a batch is.
func batchLine(b events.Batch) string {
	of, done := max(b.Announced, b.Total+b.Rejected), b.Ended+b.Rejected
	if of == 0 {
		return "nothing was handed in yet"
	}
	share := float64(done) / float64(of)
	return fmt.Sprintf("%s  %.0f%%  %d of %d ended  %d failed", terminal.Bar(share), 100*share, done, of,
		b.ByStatus[events.StatusFailed]+b.ByStatus[events.StatusCancelled]+b.Rejected)
}

// printBatch writes a batch in a line.
func printBatch(w io.Writer, b events.Batch) error {
	announced := "no request has said how many there will be"
	if b.Announced > 0 {
		announced = fmt.Sprintf("%d announced", b.Announced)
	}
	if b.Rejected > 0 {
		announced += fmt.Sprintf(", %d rejected", b.Rejected)
	}
	fmt.Fprintf(w, "%s.%s: %d of %d tasks have ended, %s:", b.Project, b.ID, b.Ended, b.Total, announced)
	for _, s := range events.Statuses() {
		fmt.Fprintf(w, "  %s %d", s, b.ByStatus[s])
	}
	_, err := fmt.Fprintf(w, "  cost %s USD\n", usd(b.CostUSD))
	return err
}
