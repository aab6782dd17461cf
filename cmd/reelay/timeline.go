package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"reelay/events"
	"reelay/internal/describe"
)

// timelineCmd tells the story of a task.
type timelineCmd struct {
	connection `embed:""`
	taskArg    `embed:""`

	JSON bool `name:"json" help:"Print JSON."`
}

// Run tells the story.
func (c *timelineCmd) Run(ctx context.Context, e *env) error {
	k, err := c.key()
	if err != nil {
		return err
	}
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	r, err := a.Timeline(ctx, k)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, r)
	}
	return printTimeline(e.stdout, k, r, time.Local)
}

// printTimeline writes each step with its time, who took it and why; then each paid attempt with its evidence and
// price; then, for a task in doubt, what a person can do.
func printTimeline(w io.Writer, k events.Key, r events.TimelineReply, zone *time.Location) error {
	fmt.Fprintf(w, "task %s\n", k)
	if r.RetryOf != "" {
		fmt.Fprintf(w, "  makes again %s.%s\n", k.Project, r.RetryOf)
	}
	for _, id := range r.RetriedBy {
		fmt.Fprintf(w, "  is made again by %s.%s\n", k.Project, id)
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "TIME\tAFTER\tWHO\tSTEP\tPHASE\tWHY")
	var phase events.Phase
	for i, step := range r.Transitions {
		after := ""
		if i > 0 {
			after = "+" + fine(step.At.Sub(r.Transitions[i-1].At))
		}
		phases := string(step.To)
		if step.From != "" && step.From != step.To {
			phases = string(step.From) + " > " + string(step.To)
		}
		why := clean(step.Note)
		if step.Attempt > 0 {
			why = strings.TrimSpace(fmt.Sprintf("[attempt %d] %s", step.Attempt, why))
		}
		who := clean(step.By)
		if step.RequestedBy != "" {
			who += " for " + clean(step.RequestedBy)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", step.At.In(zone).Format("2006-01-02 15:04:05.000"), after, who,
			clean(step.Name), phases, why)
		phase = step.To
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, a := range r.Attempts {
		printAttempt(w, a, zone)
	}
	if phase == events.PhaseInDoubt || phase == events.PhaseParked {
		fmt.Fprintf(w, `
Nobody knows whether the provider took the last request. Search the provider's own dashboard for it, then:
  reelay resolve %[1]s --adopt ID    it is there, under this id
  reelay resolve %[1]s --resubmit    it is not there: ask again, which pays again if it was there after all
  reelay resolve %[1]s --write-off   end the task as failed
`, k)
	}
	return nil
}

// printAttempt writes what is known about one paid attempt.
func printAttempt(w io.Writer, a events.Attempt, zone *time.Location) {
	at := func(t time.Time) string { return t.In(zone).Format(time.TimeOnly) }
	fmt.Fprintf(w, "\npaid attempt %d, begun %s: %s, %s", a.N, at(a.IntentAt), attemptWords(a.Outcome),
		describe.Charge(a.Charge))
	if a.ProviderID != "" {
		fmt.Fprintf(w, ", provider id %s", clean(a.ProviderID))
	}
	fmt.Fprintln(w)
	if a.BodySHA256 != "" {
		fmt.Fprintf(w, "  sent      body with SHA-256 %s\n", a.BodySHA256)
	}
	for _, e := range a.Evidence {
		fmt.Fprintf(w, "  %s  %s: %s\n", at(e.At), clean(string(e.Source)), clean(e.Note))
	}
	if a.Error != nil {
		fmt.Fprintf(w, "  error     %s\n", clean(a.Error.Error()))
	}
}

func attemptWords(o events.AttemptOutcome) string {
	switch o {
	case events.AttemptOpen:
		return "the request may be out"
	case events.AttemptReleased:
		return "proven not sent"
	case events.AttemptAccepted:
		return "accepted by the provider"
	case events.AttemptRefused:
		return "refused by the provider"
	case events.AttemptInDoubt:
		return "in doubt"
	default:
		return clean(string(o))
	}
}

// fine writes a duration with milliseconds where they matter.
func fine(d time.Duration) string {
	if d < 10*time.Second {
		return d.Round(time.Millisecond).String()
	}
	return short(d)
}
