package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"reelay/internal/config"
)

// helpCmd tells what no --help has room for.
type helpCmd struct {
	Topic string `arg:"" help:"What to explain: config (every setting), sandbox (how an emulated provider is made to misbehave) or proofs (what shows that reelay keeps its promises)." enum:"config,sandbox,proofs"`
}

// Run prints the topic.
func (c *helpCmd) Run(e *env) error {
	switch c.Topic {
	case "proofs":
		return printProofs(e.stdout)
	case "sandbox":
		return printSandbox(e.stdout)
	}
	settings, err := config.Settings()
	if err != nil {
		return err
	}
	settings = append(settings, config.Setting{
		Section: "Commands", Flag: "--project", Env: "REELAY_PROJECT", Placeholder: "NAME", Default: "default",
		Help: "Project that commands are about.",
	})
	return printSettings(e.stdout, settings)
}

// printSettings writes a table for each section of the settings.
func printSettings(w io.Writer, settings []config.Setting) error {
	fmt.Fprintln(w, "Every flag has a variable; what is not given has the default; a wrong value stops the start with "+
		"its name.")
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	section := ""
	for _, s := range settings {
		if s.Section != section {
			section = s.Section
			fmt.Fprintf(t, "\n%s\n", section)
		}
		value := s.Placeholder
		if s.Default != "" {
			value = strings.TrimSpace(value + " (" + s.Default + ")")
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\n", s.Env, orDash(s.Flag), value, s.Help)
	}
	return t.Flush()
}
