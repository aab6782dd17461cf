package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"reelay/events"
)

// modelsCmd shows what models can be told.
type modelsCmd struct {
	connection `embed:""`

	Model    string `arg:"" optional:"" help:"Id or alias of one model, to see it in full."`
	Provider string `help:"Only models of this provider." placeholder:"NAME"`
	Type     string `help:"Only models that make this: video, image, audio, speech, voice or music." placeholder:"TYPE"`
	Project  string `help:"Project that asks." env:"REELAY_PROJECT" default:"default"`
	JSON     bool   `name:"json" help:"Print JSON."`
}

// Run shows the sheets.
func (c *modelsCmd) Run(ctx context.Context, e *env) error {
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	reply, err := a.Models(ctx, c.Project,
		events.ModelsRequest{Provider: c.Provider, Model: c.Model, TaskType: events.TaskType(c.Type)})
	switch {
	case err != nil:
		return err
	case c.JSON:
		return printJSON(e.stdout, reply)
	case c.Model != "":
		for _, m := range reply.Models {
			printSheet(e.stdout, m)
		}
		return nil
	}
	return printModels(e.stdout, reply.Models)
}

// printModels writes a line for each model.
func printModels(w io.Writer, all []events.ModelSheet) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "MODEL\tALIAS\tMAKES\tSECONDS\tRESOLUTION\tFRAMES\tSOUND\tSEED\tUSD\tTYPICAL")
	for _, m := range all {
		makes := string(m.TaskTypes[0])
		if slices.Contains(m.DefaultFor, m.TaskTypes[0]) {
			makes += "*"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", clean(m.Model), cells(m.Aliases), makes,
			shortRange(m.SupportedDurations), cells(m.SupportedResolutions), frames(m), yes(m.Audio), yes(m.Seed),
			prices(m.Prices), typicalTime(m.Typical))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, "\n* taken where a request names no model. One in full: reelay models MODEL")
	return err
}

// cells writes a list for a table.
func cells(all []string) string {
	if len(all) == 0 {
		return "-"
	}
	return clean(strings.Join(all, ","))
}

// shortRange writes a row of whole numbers as its ends.
func shortRange(all []string) string {
	if len(all) < 5 {
		return cells(all)
	}
	return clean(all[0] + ".." + all[len(all)-1])
}

func frames(m events.ModelSheet) string {
	var all []string
	for _, f := range m.SupportedFrameImages {
		all = append(all, strings.TrimSuffix(f, "_frame"))
	}
	if m.References {
		all = append(all, "refs")
	}
	return cells(all)
}

func yes(is bool) string {
	if is {
		return "yes"
	}
	return "-"
}

// prices writes the cheapest and the dearest price of a unit.
func prices(all []events.ModelPrice) string {
	if len(all) == 0 {
		return "?"
	}
	low, high := all[0].USD, all[0].USD
	for _, p := range all {
		low, high = min(low, p.USD), max(high, p.USD)
	}
	text := usd(low)
	if high > low {
		text += ".." + usd(high)
	}
	return text + "/" + clean(all[0].Unit)
}

func typicalTime(t *events.Typical) string {
	if t == nil {
		return "-"
	}
	return fmt.Sprintf("%.0fs", t.WholeS)
}

// printSheet writes one model in full.
func printSheet(w io.Writer, m events.ModelSheet) {
	fmt.Fprintf(w, "%s  %s of %s", clean(m.Model), makesOf(m), clean(m.Provider))
	if len(m.Aliases) > 0 {
		fmt.Fprintf(w, ", also %s", cells(m.Aliases))
	}
	fmt.Fprintln(w)
	for _, f := range m.Forms {
		by := ""
		if f.Served {
			by = "  (by the schema that " + m.Provider + " serves)"
		}
		fmt.Fprintf(w, "\n%s\n", clean(f.Model+by))
		var names []string
		for name := range f.Wants {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			line := "  " + name
			if slices.Contains(f.Needs, name) {
				line += " (needed)"
			}
			if values := f.Wants[name]; len(values) > 0 {
				line += ": " + strings.Join(values, ", ")
			}
			fmt.Fprintln(w, clean(line))
		}
		if len(f.Options) > 0 {
			fmt.Fprintln(w, clean("  options: "+strings.Join(f.Options, ", ")))
		}
	}
	fmt.Fprintln(w)
	for _, p := range m.Prices {
		fmt.Fprintf(w, "%s USD a %s%s (%s, %s)\n", usd(p.USD), clean(p.Unit), condition(p.When), clean(p.Source), clean(p.AsOf))
	}
	if t := m.Typical; t != nil {
		fmt.Fprintf(w, "typically %.0f s, nine of ten within %.0f s (%d tasks)\n", t.WholeS, t.LateS, t.Samples)
	}
	fmt.Fprintf(w, "from %s, %s\n", clean(m.Source), clean(m.AsOf))
}

func makesOf(m events.ModelSheet) string {
	var all []string
	for _, t := range m.TaskTypes {
		all = append(all, string(t))
	}
	return cells(all)
}

// condition writes with which input a price holds.
func condition(when map[string][]string) string {
	var all []string
	for name, values := range when {
		text := strings.Join(values, " or ")
		if slices.Equal(values, []string{""}) {
			text = "not set"
		}
		all = append(all, name+" "+text)
	}
	if len(all) == 0 {
		return ""
	}
	slices.Sort(all)
	return clean(" with " + strings.Join(all, ", "))
}

// quoteCmd tells what a task would cost.
type quoteCmd struct {
	connection   `embed:""`
	requestFlags `embed:""`

	JSON bool `name:"json" help:"Print JSON."`
}

// Run asks for the price. Nothing is submitted.
func (c *quoteCmd) Run(ctx context.Context, e *env) error {
	request, _, err := c.build(e.stdin)
	if err != nil {
		return err
	}
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	q, err := a.Quote(ctx, c.Project, events.QuoteRequest{TaskType: events.TaskType(c.TaskType), Request: request})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, q)
	}
	fmt.Fprintf(e.stdout, "%s at %s\n%s\n", clean(q.Model), clean(q.Provider), clean(string(q.Input)))
	for _, warning := range q.Warnings {
		fmt.Fprintln(e.stdout, "warning: "+clean(warning))
	}
	if q.Cost == nil || q.Cost.EstimatedUSD == nil {
		fmt.Fprintln(e.stdout, "nobody knows what it costs")
	} else {
		fmt.Fprintf(e.stdout, "%s USD: %s\n", usd(*q.Cost.EstimatedUSD), clean(q.Cost.Basis))
	}
	if t := q.Typical; t != nil {
		fmt.Fprintf(e.stdout, "typically %.0f s, nine of ten within %.0f s (%d tasks)\n", t.WholeS, t.LateS, t.Samples)
	}
	return nil
}
