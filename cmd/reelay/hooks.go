package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/internal/provider"
)

// hooksCmd is about what providers have called back with.
type hooksCmd struct {
	Ls     hooksLsCmd     `cmd:"" help:"List the newest callbacks of providers."`
	Show   hooksShowCmd   `cmd:"" help:"Show one with its body; what is secret in links is left out."`
	Replay hooksReplayCmd `cmd:"" help:"Hand one to the pipeline again, as if the provider had sent it again."`
}

// A delivery is one message of REELAY_CALLBACKS.
type delivery struct {
	events.Callback
	id     uint64
	header nats.Header
}

// says returns the provider's own word for the state, for people; empty if there is none in its usual place.
func (d delivery) says() string {
	var body struct {
		Status string `json:"status"`
		Task   struct {
			Status string `json:"status"`
		} `json:"task"`
	}
	_ = json.Unmarshal(d.Body, &body) // a body of any other form says nothing
	return provider.Clip(body.Status+body.Task.Status, 20)
}

// deliveries is how callbacks are read and shown.
func deliveries() stored[delivery] {
	return stored[delivery]{
		stream: events.StreamCallbacks, noun: "callback", kind: "callback", list: "reelay hooks ls",
		decode: func(raw *jetstream.RawStreamMsg) (delivery, error) {
			h, err := events.ParseCallback(raw.Subject, raw.Header.Get, raw.Data)
			return delivery{Callback: h, id: raw.Sequence, header: raw.Header}, err
		},
		print: printDelivery, table: printDeliveries, layout: delivery.json, plural: "deliveries",
	}
}

// The layout of a callback in JSON.
type deliveryJSON struct {
	ID       uint64    `json:"id"`
	Received time.Time `json:"received"`
	Lane     string    `json:"lane"`
	Project  string    `json:"project"`
	Task     string    `json:"task"`
	Attempt  int       `json:"attempt"`
	Bytes    int       `json:"bytes"`
	Says     string    `json:"says,omitempty"`
}

func (d delivery) json() any {
	return deliveryJSON{
		ID: d.id, Received: d.Received, Lane: d.Lane, Project: d.Task.Project, Task: d.Task.ID, Attempt: d.Attempt, Bytes: len(d.Body),
		Says: d.says(),
	}
}

// hooksLsCmd lists callbacks.
type hooksLsCmd struct {
	connection `embed:""`

	Lane  string `help:"Only of this lane."`
	Limit int    `help:"Callbacks to list, 1 to 1000." default:"50"`
	JSON  bool   `name:"json" help:"Print JSON."`
}

// Run lists them, newest first.
func (c *hooksLsCmd) Run(ctx context.Context, e *env) error {
	ofLane := func(d delivery) bool { return c.Lane == "" || d.Lane == c.Lane }
	return deliveries().ls(ctx, e, c.connection, c.Limit, c.JSON, ofLane)
}

// printDeliveries writes callbacks as a table.
func printDeliveries(w io.Writer, all []delivery, zone *time.Location) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tRECEIVED\tLANE\tTASK\tATTEMPT\tBYTES\tSAYS")
	for _, d := range all {
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%d\t%d\t%s\n", d.id, d.Received.In(zone).Format(time.DateTime), d.Lane, d.Task, d.Attempt, len(d.Body),
			orDash(clean(d.says())))
	}
	return t.Flush()
}

// deliveryArg names one callback on the command line.
type deliveryArg struct {
	ID uint64 `arg:"" help:"The callback's id, as reelay hooks ls prints it."`
}

// hooksShowCmd shows one callback.
type hooksShowCmd struct {
	connection  `embed:""`
	deliveryArg `embed:""`
}

// Run shows it.
func (c *hooksShowCmd) Run(ctx context.Context, e *env) error {
	return deliveries().show(ctx, e, c.connection, c.ID)
}

// printDelivery writes all there is to know of a callback.
func printDelivery(w io.Writer, d delivery, zone *time.Location) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	row := func(name, value string) { fmt.Fprintf(t, "%s\t%s\n", name, orDash(clean(value))) }
	row("id", fmt.Sprint(d.id))
	row("received", d.Received.In(zone).Format(time.DateTime))
	row("lane", d.Lane)
	row("task", fmt.Sprintf("%s, attempt %d", d.Task, d.Attempt))
	for _, name := range slices.Sorted(maps.Keys(d.header)) {
		for _, value := range d.header[name] {
			row("header", name+": "+value)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s\n", printable(withoutSecrets(d.Body)))
	return err
}

var (
	jsonText = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	link     = regexp.MustCompile(`(?i)\bhttps?:[^\s"'<>]+`)
)

// withoutSecrets returns a body in which no link has its user, query or fragment, for a signed link is as good as a key. Of JSON
// only the texts are touched that have such a link.
func withoutSecrets(body []byte) []byte {
	if !json.Valid(body) {
		return []byte(redactLinks(string(body)))
	}
	return jsonText.ReplaceAllFunc(body, func(literal []byte) []byte {
		var text string
		if json.Unmarshal(literal, &text) != nil {
			return literal
		}
		redacted := redactLinks(text)
		if redacted == text {
			return literal
		}
		quoted, err := events.Marshal(redacted)
		if err != nil {
			return []byte(`"[redacted]"`)
		}
		return quoted
	})
}

func redactLinks(text string) string {
	return link.ReplaceAllStringFunc(text, func(found string) string {
		u, err := url.Parse(found)
		if err != nil {
			return "[unreadable link]"
		}
		rest := ""
		if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			rest = "?[redacted]"
		}
		u.User, u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = nil, "", false, "", ""
		return u.String() + rest
	})
}

// hooksReplayCmd publishes a callback again.
type hooksReplayCmd struct {
	connection  `embed:""`
	deliveryArg `embed:""`

	Yes bool `help:"Do not ask."`
}

// Run publishes it and says where it now is. Like any callback that comes twice, it changes nothing that has been settled.
func (c *hooksReplayCmd) Run(ctx context.Context, e *env) error {
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	d, err := deliveries().read(ctx, a, c.ID)
	if err != nil {
		return err
	}
	if !c.Yes && !confirm(e, fmt.Sprintf("hand %d bytes about attempt %d of %s to the pipeline again?", len(d.Body), d.Attempt, d.Task)) {
		return errDeclined
	}
	d.Received = time.Now()
	msg := &nats.Msg{Subject: d.Subject(), Header: nats.Header{}, Data: d.Body} // without an id, which would make it a duplicate
	for name, value := range d.Callback.Header() {
		msg.Header.Set(name, value)
	}
	if err := deliveries().publishAgain(ctx, e, a, c.ID, msg); err != nil {
		return err
	}
	fmt.Fprintf(e.stderr, "see what came of it: reelay timeline %s\n", d.Task)
	return nil
}
