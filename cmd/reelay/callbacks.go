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

	"reelay/events"
	"reelay/events/operator"
)

// callbacksCmd is about what providers have called back with.
type callbacksCmd struct {
	Ls     callbacksLsCmd     `cmd:"" help:"List the newest callbacks of providers."`
	Show   callbacksShowCmd   `cmd:"" help:"Show one with its body; what is secret in links is left out."`
	Replay callbacksReplayCmd `cmd:"" help:"Hand one to the pipeline again, as if the provider had sent it again."`
}

// callbacksLsCmd lists callbacks.
type callbacksLsCmd struct {
	connection `embed:""`

	Lane  string `help:"Only of this lane, as lanes ls shows it."`
	Limit int    `help:"Callbacks to list, 1 to 1000." default:"50"`
	JSON  bool   `name:"json" help:"Print JSON."`
}

// Run lists them, newest first.
func (c *callbacksLsCmd) Run(ctx context.Context, e *env) error {
	if err := checkLimit(c.Limit); err != nil {
		return err
	}
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	all := operator.CallbacksReply{Callbacks: []operator.StoredCallback{}}
	err = pages(e, operator.StoredRequest{Lane: c.Lane, Limit: c.Limit},
		func(r operator.StoredRequest) (int, operator.StoredPage, error) {
			page, err := a.Callbacks(ctx, r)
			all.Callbacks = append(all.Callbacks, page.Callbacks...)
			return len(page.Callbacks), page.StoredPage, err
		})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, all)
	}
	return printCallbacks(e.stdout, all.Callbacks, time.Local)
}

// printCallbacks writes callbacks as a table.
func printCallbacks(w io.Writer, all []operator.StoredCallback, zone *time.Location) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tRECEIVED\tLANE\tTASK\tATTEMPT\tBYTES\tSAYS")
	for _, c := range all {
		fmt.Fprintf(t, "%d\t%s\t%s\t%s.%s\t%d\t%d\t%s\n", c.ID, c.Received.In(zone).Format(time.DateTime), c.Lane, c.Project,
			c.TaskID, c.Attempt, c.Bytes, orDash(clean(callbackSays(c))))
	}
	return t.Flush()
}

// callbackSays is the provider's word, or why it was not heard.
func callbackSays(c operator.StoredCallback) string {
	if c.Unproven != "" {
		return fmt.Sprintf("refused: %s", c.Unproven)
	}
	return c.ProviderWord
}

// callback asks for one callback.
func (a *api) callback(ctx context.Context, id uint64) (c operator.StoredCallback, err error) {
	r, err := a.Callbacks(ctx, operator.StoredRequest{ID: id})
	if err == nil && len(r.Callbacks) != 1 {
		err = fmt.Errorf("the service knows %d callbacks with the id %d", len(r.Callbacks), id)
	}
	if err != nil {
		return c, missing(err, "reelay callbacks ls")
	}
	return r.Callbacks[0], nil
}

// callbacksShowCmd shows one callback.
type callbacksShowCmd struct {
	connection `embed:""`
	storedID   `embed:""`
}

// Run shows it.
func (c *callbacksShowCmd) Run(ctx context.Context, e *env) error {
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	cb, err := a.callback(ctx, c.ID)
	if err != nil {
		return err
	}
	return printCallback(e.stdout, cb, time.Local)
}

// printCallback writes all there is to know of a callback.
func printCallback(w io.Writer, c operator.StoredCallback, zone *time.Location) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	row := func(name, value string) { fmt.Fprintf(t, "%s\t%s\n", name, orDash(clean(value))) }
	row("id", fmt.Sprint(c.ID))
	row("received", c.Received.In(zone).Format(time.DateTime))
	row("lane", c.Lane)
	row("task", fmt.Sprintf("%s.%s, attempt %d", c.Project, c.TaskID, c.Attempt))
	if c.Unproven != "" {
		row("refused", fmt.Sprintf("%s; its body was not kept, and the task was polled", c.Unproven))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Header)) {
		for _, value := range c.Header[name] {
			row("header", name+": "+value)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	body := bodyOf(c.StoredMessage)
	left := c.Bytes - len(body)
	body = withoutSecrets(body)
	return printBody(w, body, len(body)+left)
}

var (
	jsonText = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	link     = regexp.MustCompile(`(?i)\bhttps?:[^\s"'<>]+`)
)

// withoutSecrets returns a body in which no link has its user, query or fragment, for a signed link is as good as a
// key. Of JSON only the texts are touched that have such a link.
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

// callbacksReplayCmd publishes a callback again.
type callbacksReplayCmd struct {
	connection `embed:""`
	storedID   `embed:""`

	Yes bool `help:"Do not ask."`
}

// Run publishes it and says where it now is. Like any callback that comes twice, it changes nothing that has been
// settled.
func (c *callbacksReplayCmd) Run(ctx context.Context, e *env) error {
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	cb, err := a.callback(ctx, c.ID)
	if err != nil {
		return err
	}
	question := fmt.Sprintf("hand %d bytes about attempt %d of %s.%s to the pipeline again?", cb.Bytes, cb.Attempt,
		cb.Project, cb.TaskID)
	if _, err := replay(ctx, e, c.Yes, question, c.ID, a.ReplayCallback); err != nil {
		return err
	}
	fmt.Fprintf(e.stderr, "see what came of it: reelay timeline %s.%s\n", cb.Project, cb.TaskID)
	return nil
}
