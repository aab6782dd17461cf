package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
)

// deadCmd is about messages that could not be processed.
type deadCmd struct {
	Ls     deadLsCmd     `cmd:"" help:"List messages that could not be processed, newest first."`
	Show   deadShowCmd   `cmd:"" help:"Show one with its headers and body."`
	Replay deadReplayCmd `cmd:"" help:"Publish one again on its original subject, once its cause is repaired."`
}

// A deadLetter is one message of REELAY_DEAD.
type deadLetter struct {
	events.DeadLetter
	id uint64
	at time.Time
}

// from says in one word where it was.
func (l deadLetter) from() string { return l.Stream + "/" + l.Consumer }

// letters is how dead letters are read and shown.
func letters() stored[deadLetter] {
	return stored[deadLetter]{
		stream: events.StreamDead, noun: "message", kind: "dead message", list: "reelay dead ls",
		decode: func(raw *jetstream.RawStreamMsg) (deadLetter, error) {
			l, err := events.DecodeDeadLetter(raw.Header, raw.Data)
			return deadLetter{DeadLetter: l, id: raw.Sequence, at: raw.Time}, err
		},
		print: printLetter, table: printDead, layout: deadLetter.json, plural: "letters",
	}
}

// The layout of a letter in JSON.
type deadJSON struct {
	ID         uint64     `json:"id"`
	Time       time.Time  `json:"time"`
	Stream     string     `json:"stream"`
	Consumer   string     `json:"consumer"`
	Sequence   uint64     `json:"sequence"`
	Subject    string     `json:"subject"`
	StoredAt   *time.Time `json:"stored_at,omitempty"`
	Deliveries uint64     `json:"deliveries"`
	Reason     string     `json:"reason"`
	Bytes      int        `json:"bytes"`
}

func (l deadLetter) json() any {
	j := deadJSON{
		ID: l.id, Time: l.at, Stream: l.Stream, Consumer: l.Consumer, Sequence: l.Sequence, Subject: l.Subject, Deliveries: l.Deliveries,
		Reason: l.Reason, Bytes: max(l.CutFrom, len(l.Body)),
	}
	if !l.StoredAt.IsZero() {
		j.StoredAt = &l.StoredAt
	}
	return j
}

// deadLsCmd lists letters.
type deadLsCmd struct {
	connection `embed:""`

	Limit int  `help:"Messages to list, 1 to 1000." default:"50"`
	JSON  bool `name:"json" help:"Print JSON."`
}

// Run lists them, newest first.
func (c *deadLsCmd) Run(ctx context.Context, e *env) error {
	return letters().ls(ctx, e, c.connection, c.Limit, c.JSON, func(deadLetter) bool { return true })
}

// printDead writes letters as a table.
func printDead(w io.Writer, all []deadLetter, zone *time.Location) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tTIME\tFROM\tSUBJECT\tTRIES\tREASON")
	for _, l := range all {
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%d\t%s\n", l.id, l.at.In(zone).Format(time.DateTime), clean(l.from()), orDash(clean(l.Subject)), l.Deliveries,
			orDash(clean(l.Reason)))
	}
	return t.Flush()
}

// letterArg names one letter on the command line.
type letterArg struct {
	ID uint64 `arg:"" help:"The message's id, as reelay dead ls prints it."`
}

// deadShowCmd shows one letter.
type deadShowCmd struct {
	connection `embed:""`
	letterArg  `embed:""`
}

// Run shows it.
func (c *deadShowCmd) Run(ctx context.Context, e *env) error {
	return letters().show(ctx, e, c.connection, c.ID)
}

// printLetter writes all there is to know of a letter.
func printLetter(w io.Writer, l deadLetter, zone *time.Location) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	row := func(name, value string) { fmt.Fprintf(t, "%s\t%s\n", name, orDash(clean(value))) }
	row("id", fmt.Sprint(l.id))
	row("given up", l.at.In(zone).Format(time.DateTime))
	row("reason", l.Reason)
	row("from", fmt.Sprintf("%s, message %d, %d deliveries", l.from(), l.Sequence, l.Deliveries))
	row("subject", l.Subject)
	if !l.StoredAt.IsZero() {
		row("stored", l.StoredAt.In(zone).Format(time.DateTime))
	}
	for _, name := range slices.Sorted(maps.Keys(l.Header)) {
		for _, value := range l.Header[name] {
			row("header", name+": "+value)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if l.CutFrom > 0 {
		fmt.Fprintf(w, "\nonly %d of about %d bytes could be kept:", len(l.Body), l.CutFrom)
	}
	_, err := fmt.Fprintf(w, "\n%s\n", printable(l.Body))
	return err
}

// printable writes JSON indented, other text as it is but for control characters, anything else as its size.
func printable(body []byte) string {
	var b bytes.Buffer
	switch {
	case len(body) == 0:
		return "(no body)"
	case json.Indent(&b, body, "", "  ") == nil:
		return b.String()
	case !utf8.Valid(body):
		return fmt.Sprintf("(%d bytes that are not text)", len(body))
	}
	return cleanLines(string(body))
}

// deadReplayCmd publishes the message of a letter again.
type deadReplayCmd struct {
	connection `embed:""`
	letterArg  `embed:""`

	Yes bool `help:"Do not ask."`
}

// Run publishes it and says where it now is. The letter stays.
func (c *deadReplayCmd) Run(ctx context.Context, e *env) error {
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	l, err := letters().read(ctx, a, c.ID)
	if err != nil {
		return err
	}
	subject, header, body, err := l.Replay()
	if err != nil {
		return fmt.Errorf("message %d: %w", c.ID, err)
	}
	if !c.Yes && !confirm(e, fmt.Sprintf("publish %d bytes again on %s%s?", len(body), clean(subject), costs(l))) {
		return errDeclined
	}
	if err := letters().publishAgain(ctx, e, a, c.ID, &nats.Msg{Subject: subject, Header: header, Data: body}); err != nil {
		return err
	}
	if k, ok := l.Key(); ok {
		fmt.Fprintf(e.stderr, "follow it: reelay watch %s\n", k)
	}
	return nil
}

// costs reminds of the price of a request.
func costs(l deadLetter) string {
	if l.IsRequest() {
		return ", a request that may be paid for"
	}
	return ""
}

// confirm asks a question. Whoever cannot answer says no.
func confirm(e *env, question string) bool {
	fmt.Fprintf(e.stderr, "%s [y/N] ", question)
	line, _ := bufio.NewReader(io.LimitReader(e.stdin, 16)).ReadString('\n')
	answer := strings.ToLower(strings.TrimSpace(line))
	return answer == "y" || answer == "yes"
}
