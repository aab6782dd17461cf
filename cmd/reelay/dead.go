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

	"reelay/events"
	"reelay/events/operator"
)

// deadCmd is about messages that could not be processed.
type deadCmd struct {
	Ls     deadLsCmd     `cmd:"" help:"List messages that could not be processed, newest first."`
	Show   deadShowCmd   `cmd:"" help:"Show one with its headers and body."`
	Replay deadReplayCmd `cmd:"" help:"Publish one again on its original subject, once its cause is repaired."`
}

// deadLsCmd lists letters.
type deadLsCmd struct {
	connection `embed:""`

	Limit int  `help:"Messages to list, 1 to 1000." default:"50"`
	JSON  bool `name:"json" help:"Print JSON."`
}

// Run lists them, newest first.
func (c *deadLsCmd) Run(ctx context.Context, e *env) error {
	if err := checkLimit(c.Limit); err != nil {
		return err
	}
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	all := operator.DeadReply{Letters: []operator.StoredLetter{}}
	err = pages(e, operator.StoredRequest{Limit: c.Limit},
		func(r operator.StoredRequest) (int, operator.StoredPage, error) {
			page, err := a.DeadLetters(ctx, r)
			all.Letters = append(all.Letters, page.Letters...)
			return len(page.Letters), page.StoredPage, err
		})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, all)
	}
	return printDead(e.stdout, all.Letters, time.Local)
}

// printDead writes letters as a table.
func printDead(w io.Writer, all []operator.StoredLetter, zone *time.Location) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tTIME\tFROM\tSUBJECT\tTRIES\tREASON")
	for _, l := range all {
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%d\t%s\n", l.ID, l.Time.In(zone).Format(time.DateTime), clean(givenUpBy(l)),
			orDash(clean(l.Subject)), l.Deliveries, orDash(clean(l.Reason)))
	}
	return t.Flush()
}

// givenUpBy says in one word where a message was.
func givenUpBy(l operator.StoredLetter) string { return l.Stream + "/" + l.Consumer }

// deadLetter asks for one letter.
func (a *api) deadLetter(ctx context.Context, id uint64) (l operator.StoredLetter, err error) {
	r, err := a.DeadLetters(ctx, operator.StoredRequest{ID: id})
	if err == nil && len(r.Letters) != 1 {
		err = fmt.Errorf("the service knows %d messages with the id %d", len(r.Letters), id)
	}
	if err != nil {
		return l, missing(err, "reelay dead ls")
	}
	return r.Letters[0], nil
}

// deadShowCmd shows one letter.
type deadShowCmd struct {
	connection `embed:""`
	storedID   `embed:""`
}

// Run shows it.
func (c *deadShowCmd) Run(ctx context.Context, e *env) error {
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	l, err := a.deadLetter(ctx, c.ID)
	if err != nil {
		return err
	}
	return printLetter(e.stdout, l, time.Local)
}

// printLetter writes all there is to know of a letter.
func printLetter(w io.Writer, l operator.StoredLetter, zone *time.Location) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	row := func(name, value string) { fmt.Fprintf(t, "%s\t%s\n", name, orDash(clean(value))) }
	row("id", fmt.Sprint(l.ID))
	row("given up", l.Time.In(zone).Format(time.DateTime))
	row("reason", l.Reason)
	row("from", fmt.Sprintf("%s, message %d, %d deliveries", givenUpBy(l), l.Sequence, l.Deliveries))
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
	return printBody(w, bodyOf(l.StoredMessage), l.Bytes)
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
	storedID   `embed:""`

	Yes bool `help:"Do not ask."`
}

// Run publishes it and says where it now is. The letter stays.
func (c *deadReplayCmd) Run(ctx context.Context, e *env) error {
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	l, err := a.deadLetter(ctx, c.ID)
	if err != nil {
		return err
	}
	if l.NotReplayable != "" {
		return fmt.Errorf("message %d: %s", c.ID, l.NotReplayable)
	}
	question := fmt.Sprintf("publish %d bytes again on %s%s?", l.Bytes, clean(l.Subject), costs(l))
	r, err := replay(ctx, e, c.Yes, question, c.ID, a.ReplayDeadLetter)
	if err == nil && r.TaskID != "" {
		fmt.Fprintf(e.stderr, "follow it: reelay watch %s.%s\n", r.Project, r.TaskID)
	}
	return err
}

// costs reminds of the price of a request.
func costs(l operator.StoredLetter) string {
	if (events.DeadLetter{Subject: l.Subject}).IsRequest() {
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
