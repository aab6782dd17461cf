package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"reelay/events"
	"reelay/internal/media"
)

// maxRawBytes is how much of a result without a file is shown.
const maxRawBytes = 4 << 10

// getCmd shows one task.
type getCmd struct {
	connection `embed:""`
	taskArg    `embed:""`

	JSON   bool   `name:"json" help:"Print the record as JSON."`
	Output string `aliases:"save" help:"Save what the task has made in this directory, and print the paths." placeholder:"DIR"`
}

// Run shows the task.
func (c *getCmd) Run(ctx context.Context, e *env) error {
	k, err := c.key()
	if err != nil {
		return err
	}
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	task, err := a.Get(ctx, k)
	if err != nil {
		return err
	}
	if c.Output != "" {
		if !task.Status.Terminal() {
			return fmt.Errorf("task %s has not ended; to wait for it: reelay wait %s", k.ID, k)
		}
		if err := outcome(task); err != nil && (task.Result == nil || len(task.Result.Outputs) == 0) {
			return err
		}
		return saveResult(ctx, e, a, task, c.Output)
	}
	if c.JSON {
		return printJSON(e.stdout, events.TaskReply{Task: task})
	}
	return printTask(e.stdout, task, time.Now(), time.Local)
}

// rows writes lines of a name and a value.
type rows struct {
	w    io.Writer
	zone *time.Location
}

// add writes a line, unless its value is empty.
func (r rows) add(name, value string) {
	if value != "" {
		fmt.Fprintf(r.w, "%s\t%s\n", name, clean(value))
	}
}

// at says a time; empty for none.
func (r rows) at(v *time.Time) string {
	if v == nil {
		return ""
	}
	return v.In(r.zone).Format(time.DateTime)
}

// printTask writes what a person wants to know of a task.
func printTask(w io.Writer, task events.Task, now time.Time, zone *time.Location) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	r := rows{t, zone}
	r.state(task, now)
	r.add("scene", task.SceneID)
	r.add("after", strings.Join(task.After, ", "))
	r.add("provider", task.Provider)
	if task.Lane != task.Provider {
		r.add("lane", task.Lane)
	}
	r.add("model", task.Model)
	for _, warning := range task.Warnings {
		r.add("warning", warning)
	}
	r.add("provider id", task.ProviderID)
	r.add("provider says", task.ProviderWord)
	r.add("created", r.at(&task.CreatedAt))
	r.add("submitted", r.at(task.SubmittedAt))
	r.add("started", r.at(task.StartedAt))
	r.add("ended", r.at(task.CompletedAt))
	if !task.Status.Terminal() {
		if len(task.WaitsFor) == 0 { // else its time has not begun
			r.add("deadline", r.at(&task.Deadline))
			r.add("start by", r.at(task.StartDeadline))
		}
	}
	r.cancel(task.Cancel)
	if task.Error != nil {
		r.add("error", task.Error.Error())
		r.add("kind", string(task.Error.Kind))
		r.add("charge", string(task.Error.Charge))
		r.add("trace id", task.Error.TraceID)
	}
	r.doubt(task)
	if cost := task.Cost; cost != nil {
		r.add("cost", describeCost(*cost))
	}
	for _, name := range slices.Sorted(maps.Keys(task.Metadata)) {
		r.add("metadata", name+"="+task.Metadata[name])
	}
	if task.Result != nil {
		r.result(*task.Result)
	}
	for _, l := range task.Logs {
		r.add("log", l.Message)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if task.Result != nil && len(task.Result.Outputs)+len(task.Result.Values) == 0 {
		return printRaw(w, task.Result.Raw, task.Key())
	}
	return nil
}

// state writes where a task is and how long that may take.
func (r rows) state(task events.Task, now time.Time) {
	r.add("task", task.Key().String())
	r.add("makes", string(task.TaskType))
	r.add("status", string(task.Status))
	blocked, trouble := task.Blocked, task.Trouble
	task.Blocked, task.Trouble = nil, nil // they have rows of their own
	r.add("state", describeState(task))
	if blocked != nil && task.Phase == events.PhaseWaiting {
		r.add("blocked", describeBlocked(*blocked, r.zone))
	}
	if trouble != nil {
		r.add("polls say", fmt.Sprintf("%s: %s (since %s)", trouble.Kind, trouble.Message, r.at(&trouble.Since)))
	}
	r.add("time", describeTimes(task, now))
	if !task.Status.Terminal() {
		r.add("ends about", describeETA(task, r.zone))
		r.add("pace", string(task.Pace))
	}
}

func (r rows) cancel(c *events.CancelState) {
	if c == nil {
		return
	}
	text := "asked for by " + c.By + " at " + r.at(&c.AskedAt)
	if c.Reason != "" {
		text += ", reason: " + c.Reason
	}
	if c.Outcome != "" {
		text += ", outcome: " + c.Outcome
	}
	r.add("cancel", text)
}

// doubt writes what is known of the last paid attempt if nobody knows whether it was accepted: what the provider
// answered, and what the search for it has found.
func (r rows) doubt(task events.Task) {
	if len(task.Attempts) == 0 {
		return
	}
	last := task.Attempts[len(task.Attempts)-1]
	if last.Outcome != events.AttemptInDoubt {
		return
	}
	for _, e := range last.Evidence {
		r.add("in doubt", fmt.Sprintf("%s: %s", e.Source, e.Note))
		r.add("  answer", e.Answer)
	}
	if last.Error != nil {
		r.add("  error", last.Error.Error())
	}
}

// result writes where the files of a result are, and what a person should know of it.
func (r rows) result(result events.Result) {
	for _, o := range result.Outputs {
		r.add("output", describeOutput(o))
		if o.URL == "" && o.Object != "" {
			r.add("", "to get it: "+getObject(o.Object))
		}
		if o.ExpiresAt != nil {
			r.add("", "expires "+r.at(o.ExpiresAt))
		}
		r.add("", describeStored(o))
	}
	for _, line := range valueLines(result) {
		r.add("value", line)
	}
	for _, note := range result.Notes {
		r.add("note", note)
	}
	if len(result.Outputs)+len(result.Values) > 0 {
		return
	}
	if len(result.Raw) > 0 {
		r.add("output", "no file; the provider's own result is below")
	}
	if result.RawRef != "" {
		r.add("output", "no file; the provider's own result is stored as "+result.RawRef)
		r.add("", "to get it: "+getObject(result.RawRef))
	}
}

// valueLines are what a result is besides its files, one NAME=VALUE a line.
func valueLines(result events.Result) []string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(result.Values)) {
		lines = append(lines, name+"="+result.Values[name])
	}
	return lines
}

// describeOutput says where a file is; of one that is in the record itself it says what it is.
func describeOutput(o events.Output) string {
	switch {
	case media.IsDataURL(o.URL):
		return media.DescribeDataURL(o.URL) + ", in the record (--output DIR saves it)"
	case o.URL == "" && o.Object != "":
		return fmt.Sprintf("stored as %s (%d bytes)", o.Object, o.Size)
	default:
		return o.URL
	}
}

// describeStored says where the stored copy of an output is, or why there is none; empty while nothing is known.
func describeStored(o events.Output) string {
	switch {
	case o.Stored == nil && o.StoreError != nil:
		return "not stored yet: " + o.StoreError.Error()
	case o.Stored == nil:
		return ""
	case *o.Stored:
		text := "stored " + o.StoredURL + fmt.Sprintf(" (%s, %d bytes", o.ContentType, o.Size)
		if o.Width > 0 {
			text += fmt.Sprintf(", %dx%d", o.Width, o.Height)
		}
		if o.DurationS > 0 {
			text += fmt.Sprintf(", %.2f s", o.DurationS)
		}
		return text + ")"
	case o.StoreError != nil:
		return "not stored: " + o.StoreError.Error()
	default:
		return "not stored"
	}
}

// linkOf is an output's link, or how to read it from the store.
func linkOf(o events.Output) string {
	if o.URL == "" && o.Object != "" {
		return getObject(o.Object)
	}
	return o.URL
}

// getObject is how a program without reelay reads what is stored.
func getObject(name string) string { return "nats object get " + events.ObjectBucket + " " + name }

// printRaw writes the provider's own result, as far as maxRawBytes.
func printRaw(w io.Writer, raw []byte, k events.Key) error {
	if len(raw) == 0 {
		return nil
	}
	text := cleanLines(printable(raw))
	more := ""
	if len(text) > maxRawBytes {
		text = strings.ToValidUTF8(text[:maxRawBytes], "")
		more = fmt.Sprintf("\n... all of it: reelay get %s --json", k)
	}
	_, err := fmt.Fprintf(w, "\n%s%s\n", text, more)
	return err
}

// describeETA says when a task is thought to end; empty if that is not known.
func describeETA(t events.Task, zone *time.Location) string {
	if t.ETA == nil || t.Phase == events.PhaseCancelling {
		return ""
	}
	text := t.ETA.In(zone).Format(time.DateTime)
	if t.ETAEarliest != nil && t.ETALatest != nil && t.ETAEarliest.Before(*t.ETALatest) {
		text += ", likely between " + t.ETAEarliest.In(zone).Format(time.TimeOnly) + " and " +
			t.ETALatest.In(zone).Format(time.TimeOnly)
	}
	if t.ETA.After(t.Deadline) && len(t.WaitsFor) == 0 {
		text += "; its deadline is before that"
	}
	return text
}

// describeCost says what a task was thought to cost and what it did cost.
func describeCost(c events.Cost) string {
	text := ""
	add := func(s string) {
		if text != "" {
			text += ", "
		}
		text += s
	}
	if c.EstimatedUSD != nil {
		add(fmt.Sprintf("estimated $%.4f", *c.EstimatedUSD))
	}
	if c.ActualUSD != nil {
		add(fmt.Sprintf("actual $%.4f", *c.ActualUSD))
	}
	if c.MaxUSD != nil {
		add(fmt.Sprintf("limit $%.4f", *c.MaxUSD))
	}
	if c.Units != nil {
		add(fmt.Sprintf("billed %g %s", *c.Units, c.Unit))
	}
	return text
}
