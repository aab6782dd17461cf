package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/events/operator"
)

// spendCmd shows what was spent, and limits what is.
type spendCmd struct {
	Show spendShowCmd `cmd:"" default:"withargs" help:"Show what was spent and what is reserved (the default)."`
	Cap  spendCapCmd  `cmd:"" help:"Limit what may be spent in a day, of a project, a lane or everything."`
}

// spendShowCmd shows what was spent.
type spendShowCmd struct {
	connection `embed:""`

	Project string   `help:"One project only (default: all)." env:"REELAY_PROJECT"`
	By      []string `help:"What the rows tell apart: day, project, provider, lane, model." enum:"day,project,provider,lane,model" default:"project,model"`
	Since   string   `help:"First day, in UTC (default: 30 days back)." placeholder:"2026-01-31"`
	Until   string   `help:"Last day, in UTC (default: today)." placeholder:"2026-01-31"`
	JSON    bool     `name:"json" help:"Print JSON."`
}

// Run shows it.
func (c *spendShowCmd) Run(ctx context.Context, e *env) error {
	if err := checkProject(c.Project); err != nil {
		return err
	}
	request := events.SpendRequest{Since: c.Since, Until: c.Until}
	for _, g := range c.By {
		request.By = append(request.By, events.SpendGroup(g))
	}
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	r, err := a.Spend(ctx, c.Project, request)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, r)
	}
	return printSpend(e.stdout, r, request.By)
}

// printSpend writes a table of the rows with their total, and one of the caps.
func printSpend(w io.Writer, r events.SpendReply, by []events.SpendGroup) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	var heads []string
	for _, g := range events.SpendGroups() {
		if slices.Contains(by, g) {
			heads = append(heads, strings.ToUpper(string(g)))
		}
	}
	fmt.Fprintln(t, strings.Join(append(heads, "TASKS", "ATTEMPTS", "SPENT USD", "RESERVED USD"), "\t"))
	for _, row := range r.Rows {
		var words []string
		for _, cell := range []struct {
			group events.SpendGroup
			text  string
		}{
			{events.SpendByDay, row.Day},
			{events.SpendByProject, row.Project},
			{events.SpendByProvider, row.Provider},
			{events.SpendByLane, row.Lane},
			{events.SpendByModel, row.Model},
		} {
			if slices.Contains(by, cell.group) {
				words = append(words, clean(cell.text))
			}
		}
		fmt.Fprintln(t, strings.Join(append(words, spendCells(row.Spend)...), "\t"))
	}
	total := append([]string{"total"}, make([]string, max(0, len(heads)-1))...)
	fmt.Fprintln(t, strings.Join(append(total, spendCells(r.Total)...), "\t"))
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\n%s to %s (UTC)", r.Since, r.Until)
	if r.RowsLeftOut > 0 {
		fmt.Fprintf(w, "; %d rows are left out, the total has them", r.RowsLeftOut)
	}
	if r.Total.Unpriced > 0 {
		fmt.Fprintf(w, "; of %d attempts nobody knows the price", r.Total.Unpriced)
	}
	fmt.Fprintln(w)
	if len(r.Caps) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	t = tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "CAP\tUSD A DAY\tTAKEN TODAY\tBY\tSINCE")
	for _, c := range r.Caps {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", bucket.Scope(c.Scope), usd(c.DailyUSD), usd(c.ReservedUSD), clean(c.By),
			c.Since.Format(time.RFC3339))
	}
	return t.Flush()
}

func spendCells(s events.Spend) []string {
	return []string{strconv.Itoa(s.Tasks), strconv.Itoa(s.Attempts), usd(s.SpentUSD), usd(s.ReservedUSD)}
}

// usd writes an amount to the cent, and one of less than that as it is.
func usd(v float64) string {
	if v > 0 && v < 0.01 {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// spendCapCmd sets a cap.
type spendCapCmd struct {
	connection `embed:""`

	Scope   string  `arg:"" help:"What to limit: a project, project.<project>, lane.<lane>, or all."`
	USD     string  `arg:"" name:"usd" help:"US dollars a day (UTC), or off."`
	Unknown float64 `help:"What an attempt counts for whose price nobody knows, in US dollars." default:"1"`
	JSON    bool    `name:"json" help:"Print the cap as it was stored as JSON."`
}

// Run sets the cap. It counts as soon as a status service has counted what was spent today, and within a minute for
// tasks that it kept waiting before.
func (c *spendCapCmd) Run(ctx context.Context, e *env) error {
	scope, err := parseScope(c.Scope)
	if err != nil {
		return err
	}
	limit, err := strconv.ParseFloat(c.USD, 64)
	off := c.USD == "off"
	if !off && (err != nil || !(limit >= 0) || limit > bucket.MaxCapUSD) {
		return usagef("%q is neither an amount of US dollars from 0 to %g nor off", c.USD, float64(bucket.MaxCapUSD))
	}
	if !(c.Unknown >= 0) || c.Unknown > bucket.MaxCapUSD {
		return usagef("--unknown: %v is not between 0 and %g", c.Unknown, float64(bucket.MaxCapUSD))
	}
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	r := operator.CapRequest{Scope: scope, By: person()}
	var set operator.CapReply
	if off {
		set, err = a.UnsetCap(ctx, r)
	} else {
		r.DailyUSD, r.UnknownUSD = &limit, &c.Unknown
		set, err = a.SetCap(ctx, r)
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, set)
	}
	if off {
		fmt.Fprintf(e.stdout, "%s: no cap\n", scope)
	} else {
		fmt.Fprintf(e.stdout, "%s: at most %s US dollars a day (UTC)\n", scope, usd(limit))
	}
	return nil
}

// parseScope reads what a cap counts for; a bare name is a project.
func parseScope(s string) (bucket.Scope, error) {
	scope := bucket.Scope(s)
	if events.ValidToken(s) && scope != bucket.AllScope {
		scope = bucket.ProjectScope(s)
	}
	if !scope.Valid() {
		return "", usagef("%q is no project, project.<project>, lane.<lane> or all", s)
	}
	return scope, nil
}
