package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"reelay/internal/config"
	"reelay/internal/manual"
	"reelay/internal/mixin"
	"reelay/internal/telemetry"
)

// helpCmd tells what no --help has room for.
type helpCmd struct {
	Topic []string `arg:"" optional:"" help:"What to explain: a topic or a command; without one: list the topics."`
}

// A topic is something that helpCmd explains.
type topic struct {
	manual.Topic
	print func(io.Writer) error
}

// topics lists what is embedded, and what follows from the code.
func topics() (all []topic) {
	for _, t := range manual.Topics() {
		all = append(all, topic{t, func(w io.Writer) error {
			text, err := manual.Text(t.Name)
			if err != nil {
				return err
			}
			_, err = io.WriteString(w, text)
			return err
		}})
	}
	return append(all,
		topic{manual.Topic{Name: "config", Summary: "every setting: flag, variable, default"}, printConfig},
		topic{manual.Topic{Name: "proofs", Summary: "what shows that promises are kept, with the commands to run it"}, printProofs},
		topic{manual.Topic{Name: "alerts", Summary: "rules for Prometheus: what to be woken for, and what to do then"}, printed(mixin.Rules())},
		topic{manual.Topic{Name: "dashboard", Summary: "a dashboard for Grafana, as JSON to be imported"}, printed(mixin.Dashboard())},
	)
}

// printed prints a file as it is.
func printed(file []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(file)
		return err
	}
}

// Run prints the topic, or the help of the command that is named.
func (c *helpCmd) Run(ctx context.Context, e *env) error {
	if len(c.Topic) == 0 {
		return printTopics(e.stdout)
	}
	for _, t := range topics() {
		if len(c.Topic) == 1 && t.Name == c.Topic[0] {
			return t.print(e.stdout)
		}
	}
	quiet := *e
	quiet.stderr = io.Discard
	if execute(ctx, &quiet, append(slices.Clone(c.Topic), "--help")) != 0 {
		return usagef("%q is no topic and no command; reelay help lists the topics", strings.Join(c.Topic, " "))
	}
	return nil
}

// printTopics lists the topics.
func printTopics(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprint(t, "reelay help <topic> explains, and reelay help <command> shows the flags of a command.\n\n")
	for _, topic := range topics() {
		fmt.Fprintf(t, "  %s\t%s\n", topic.Name, topic.Summary)
	}
	return t.Flush()
}

// printConfig writes every setting.
func printConfig(w io.Writer) error {
	settings, err := config.Settings()
	if err != nil {
		return err
	}
	settings = append(settings, config.Setting{
		Section: "Commands", Flag: "--project", Env: "REELAY_PROJECT", Placeholder: "NAME", Default: "default",
		Help: "Project that commands are about.",
	})
	for _, v := range telemetry.Variables() {
		settings = append(settings, config.Setting{
			Section: "Telemetry (OpenTelemetry; off unless one of these turns it on)", Env: v.Env, Placeholder: v.Placeholder,
			Default: v.Default, Help: v.Help,
		})
	}
	return printSettings(w, settings)
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
