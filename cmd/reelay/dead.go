package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
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

// maxDeadLimit is the most letters of one list.
const maxDeadLimit = 1000

// errDeclined says that a person was asked and did not agree.
var errDeclined = errors.New("nothing was published")

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

func (l deadLetter) json() deadJSON {
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

// Run lists them.
func (c *deadLsCmd) Run(ctx context.Context, e *env) error {
	if c.Limit < 1 || c.Limit > maxDeadLimit {
		return usagef("--limit: %d is not between 1 and %d", c.Limit, maxDeadLimit)
	}
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	stream, err := a.deadStream(ctx)
	if err != nil {
		return err
	}
	state := stream.CachedInfo().State
	var all []deadLetter
	for id := state.LastSeq; id >= max(state.FirstSeq, 1) && len(all) < c.Limit; id-- {
		l, err := readDead(ctx, stream, id)
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound): // an operator has deleted it
			continue
		case errors.Is(err, events.ErrDeadLetter):
			fmt.Fprintf(e.stderr, "%s\n", clean(err.Error()))
			continue
		case err != nil:
			return err
		}
		all = append(all, l)
	}
	if c.JSON {
		out := struct {
			Letters []deadJSON `json:"letters"`
		}{make([]deadJSON, len(all))}
		for i, l := range all {
			out.Letters[i] = l.json()
		}
		raw, err := events.Marshal(out)
		if err != nil {
			return err
		}
		return printJSON(e.stdout, raw)
	}
	return printDead(e.stdout, all, time.Local)
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

// read returns the letter.
func (c letterArg) read(ctx context.Context, a *api) (deadLetter, error) {
	stream, err := a.deadStream(ctx)
	if err != nil {
		return deadLetter{}, err
	}
	l, err := readDead(ctx, stream, c.ID)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return l, fmt.Errorf("no dead message %d; see: reelay dead ls", c.ID)
	}
	return l, err
}

// deadShowCmd shows one letter.
type deadShowCmd struct {
	connection `embed:""`
	letterArg  `embed:""`
}

// Run shows it.
func (c *deadShowCmd) Run(ctx context.Context, e *env) error {
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	l, err := c.read(ctx, a)
	if err != nil {
		return err
	}
	return printLetter(e.stdout, l, time.Local)
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
	lines := strings.Split(string(body), "\n")
	for i := range lines {
		lines[i] = clean(lines[i])
	}
	return strings.Join(lines, "\n")
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
	l, err := c.read(ctx, a)
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
	js, err := jetstream.New(a.nc)
	if err != nil {
		return err
	}
	ack, err := bounded(ctx, func(ctx context.Context) (*jetstream.PubAck, error) {
		return js.PublishMsg(ctx, &nats.Msg{Subject: subject, Header: header, Data: body})
	})
	if err != nil {
		return fmt.Errorf("message %d on %s: %w", c.ID, clean(subject), err)
	}
	fmt.Fprintf(e.stdout, "published again on %s, now message %d of %s\n", clean(subject), ack.Sequence, ack.Stream)
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

// deadStream finds the stream of letters.
func (a *api) deadStream(ctx context.Context) (jetstream.Stream, error) {
	return a.stream(ctx, events.StreamDead)
}

// stream finds a stream. Without it, no service has ever run here.
func (a *api) stream(ctx context.Context, name string) (jetstream.Stream, error) {
	js, err := jetstream.New(a.nc)
	if err != nil {
		return nil, err
	}
	stream, err := bounded(ctx, func(ctx context.Context) (jetstream.Stream, error) { return js.Stream(ctx, name) })
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("%w: there is no stream %s", errNoService, name)
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", name, err)
	}
	return stream, nil
}

// readDead reads one letter. It fails with jetstream.ErrMsgNotFound or events.ErrDeadLetter.
func readDead(ctx context.Context, stream jetstream.Stream, id uint64) (deadLetter, error) {
	raw, err := bounded(ctx, func(ctx context.Context) (*jetstream.RawStreamMsg, error) { return stream.GetMsg(ctx, id) })
	if err != nil {
		return deadLetter{}, fmt.Errorf("message %d: %w", id, err)
	}
	l, err := events.DecodeDeadLetter(raw.Header, raw.Data)
	if err != nil {
		return deadLetter{}, fmt.Errorf("message %d: %w", id, err)
	}
	return deadLetter{DeadLetter: l, id: raw.Sequence, at: raw.Time}, nil
}
