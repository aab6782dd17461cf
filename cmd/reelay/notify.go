package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"reelay/events/client"
	"reelay/events/operator"
)

// notifyCmd is about webhooks to users' services.
type notifyCmd struct {
	Ls     notifyLsCmd     `cmd:"" help:"List the endpoints, and what waits for them."`
	Replay notifyReplayCmd `cmd:"" help:"Deliver again what an endpoint did not take within a day."`
	Test   notifyTestCmd   `cmd:"" help:"Send an endpoint a signed body of the type test, once."`
}

// notifyLsCmd lists endpoints.
type notifyLsCmd struct {
	connection `embed:""`

	JSON bool `name:"json" help:"Print JSON."`
}

// Run lists them.
func (c *notifyLsCmd) Run(ctx context.Context, e *env) error {
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	r, err := a.Notify(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, r)
	}
	if r.FileError != "" {
		fmt.Fprintln(e.stderr, "the file of endpoints is wrong as it is now; what it said before goes on:", clean(r.FileError))
	}
	return printEndpoints(e.stdout, r.Endpoints, time.Now())
}

func printEndpoints(w io.Writer, all []operator.NotifyEndpoint, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "ENDPOINT\tWAITING\tOLDEST\tDEAD\tDELIVERED\tSTATE")
	for _, p := range all {
		state := "ok"
		switch {
		case !p.Defined:
			state = "not defined in REELAY_NOTIFY_FILE"
		case p.Failures > 0:
			state = fmt.Sprintf("%d failures, the last %s: %s", p.Failures, ago(p.FailedAt, now), clean(p.LastFailure))
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%d\t%s\t%s\n", p.Endpoint, p.Waiting, ago(p.Oldest, now), p.Dead, ago(p.DeliveredAt, now), state)
	}
	return t.Flush()
}

func ago(at *time.Time, now time.Time) string {
	if at == nil {
		return "-"
	}
	return now.Sub(*at).Round(time.Second).String() + " ago"
}

// notifyReplayCmd replays the dead letters of an endpoint.
type notifyReplayCmd struct {
	connection `embed:""`

	Endpoint string        `arg:"" help:"Name of the endpoint."`
	Since    time.Duration `help:"Only what was given up in this time (default: all that is kept, 90 days)." placeholder:"DURATION"`
	JSON     bool          `name:"json" help:"Print JSON."`
}

// Run replays page after page.
func (c *notifyReplayCmd) Run(ctx context.Context, e *env) error {
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	r := operator.NotifyReplayRequest{Endpoint: c.Endpoint, Limit: operator.MaxNotifyReplay}
	if c.Since > 0 {
		r.Since = new(time.Now().Add(-c.Since).UTC())
	}
	for replayed := 0; ; {
		page, err := a.ReplayNotifications(ctx, r)
		if err != nil {
			return err
		}
		replayed += page.Replayed
		if r.After = page.NextAfter; r.After == 0 {
			if c.JSON {
				return printJSON(e.stdout, operator.NotifyReplayReply{Replayed: replayed})
			}
			fmt.Fprintf(e.stdout, "%d are on their way again\n", replayed)
			return nil
		}
	}
}

// notifyTestCmd tries an endpoint.
type notifyTestCmd struct {
	connection `embed:""`

	Endpoint string `arg:"" help:"Name of the endpoint."`
	JSON     bool   `name:"json" help:"Print JSON."`
}

// Run says what came of it.
func (c *notifyTestCmd) Run(ctx context.Context, e *env) error {
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	r, err := a.TestNotify(ctx, operator.NotifyTestRequest{Endpoint: c.Endpoint})
	if err != nil {
		return err
	}
	if c.JSON {
		if err := printJSON(e.stdout, r); err != nil {
			return err
		}
	}
	if r.Failure != "" {
		return fmt.Errorf("endpoint %s did not take it: %s", r.Endpoint, clean(r.Failure))
	}
	if !c.JSON {
		fmt.Fprintf(e.stdout, "endpoint %s has taken %s in %.2f s\n", r.Endpoint, r.WebhookID, r.TookS)
	}
	return nil
}

// longWaiting is how long an event may wait for an endpoint before it is worth a word.
const longWaiting = 5 * time.Minute

// checkNotify shows endpoints that do not take what they are sent.
func (a *api) checkNotify(ctx context.Context) []check {
	r, err := bounded(ctx, a.Notify)
	switch {
	case errors.Is(err, client.ErrNoService):
		return []check{{
			levelWarn, "webhooks", "no notifier runs: events are sent to no web service, and requests that ask for it wait",
			"start the service notifier",
		}}
	case err != nil:
		return []check{{levelFail, "webhooks", err.Error(), ""}}
	}
	return endpointChecks(r, time.Now())
}

func endpointChecks(r operator.NotifyReply, now time.Time) []check {
	var checks []check
	if r.FileError != "" {
		checks = append(checks, check{
			levelFail, "webhooks", "the file of endpoints is wrong, and the notifier goes on with what it said before: " + r.FileError,
			"correct it: reelay help notify",
		})
	}
	for _, p := range r.Endpoints {
		c := check{levelOK, "webhook " + p.Endpoint, fmt.Sprintf("%d waiting, %d dead letters", p.Waiting, p.Dead), ""}
		switch {
		case !p.Defined:
			c.level, c.todo = levelWarn, "define the endpoint in REELAY_NOTIFY_FILE; after a day its events are dead letters"
		case p.Oldest != nil && now.Sub(*p.Oldest) > longWaiting:
			c.level, c.todo = levelWarn, "reelay notify test "+p.Endpoint
			c.detail += ", the oldest since " + ago(p.Oldest, now)
			if p.LastFailure != "" {
				c.detail += "; " + p.LastFailure
			}
		case p.Dead > 0 && p.DeliveredAt != nil:
			c.todo = "what was given up can be sent again: reelay notify replay " + p.Endpoint
		}
		checks = append(checks, c)
	}
	return checks
}
