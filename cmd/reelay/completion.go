package main

import (
	"embed"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"reelay/internal/config"
)

// completeArg is the first argument by which the scripts ask for what a word may become; the words follow, that which is
// being written last.
const completeArg = "__complete"

//go:embed completion
var completionScripts embed.FS

// completionCmd prints what makes a shell complete commands, flags and their values. The script asks this binary each time,
// so that it never gets old.
type completionCmd struct {
	Shell string `arg:"" help:"Shell: bash, zsh or fish." enum:"bash,zsh,fish"`
}

// Run prints the script.
func (c *completionCmd) Run(e *env) error {
	script, err := completionScripts.ReadFile("completion/reelay." + c.Shell)
	if err != nil {
		return err
	}
	_, err = e.stdout.Write(script)
	return err
}

// complete prints what the last of the words may become, one a line. It prints nothing where a file may stand, which the
// shell knows better.
func complete(w io.Writer, words []string) error {
	app, err := config.Grammar(newCommands(), "reelay", description)
	if err != nil {
		return err
	}
	for _, candidate := range candidates(app.Node, words) {
		if _, err := fmt.Fprintln(w, candidate); err != nil {
			return err
		}
	}
	return nil
}

// candidates returns what the last word may become behind the others, sorted.
func candidates(node *kong.Node, words []string) []string {
	if len(words) == 0 {
		return nil
	}
	last, before := words[len(words)-1], words[:len(words)-1]
	var open *kong.Flag // whose value comes next
	arguments := 0
	for _, word := range before {
		switch {
		case open != nil:
			open = nil
		case strings.HasPrefix(word, "-"):
			open = opened(node, word)
		default:
			if child := childOf(node, word); child != nil && arguments == 0 {
				node = child
				continue
			}
			arguments++
		}
	}
	var all []string
	switch {
	case open != nil:
		all = values(open.Value)
	case strings.HasPrefix(last, "-"):
		all = flagNames(node)
	default:
		all = wordsOf(node, arguments)
	}
	all = slices.DeleteFunc(all, func(s string) bool { return !strings.HasPrefix(s, last) })
	slices.Sort(all)
	return slices.Compact(all)
}

// opened returns the flag of a word if its value is the next word.
func opened(node *kong.Node, word string) *kong.Flag {
	for _, flags := range node.AllFlags(false) {
		for _, f := range flags {
			if (word == "--"+f.Name || f.Short != 0 && word == "-"+string(f.Short)) && !f.IsBool() {
				return f
			}
		}
	}
	return nil
}

func childOf(node *kong.Node, word string) *kong.Node {
	for _, child := range node.Children {
		if child.Name == word || slices.Contains(child.Aliases, word) {
			return child
		}
	}
	return nil
}

func flagNames(node *kong.Node) (all []string) {
	for _, flags := range node.AllFlags(true) {
		for _, f := range flags {
			all = append(all, "--"+f.Name)
		}
	}
	return all
}

// wordsOf returns the commands and the values that may stand where so many arguments stand already.
func wordsOf(node *kong.Node, arguments int) (all []string) {
	if arguments == 0 {
		for _, child := range node.Children {
			if !child.Hidden {
				all = append(all, child.Name)
			}
		}
	}
	if node.Name == "help" && arguments == 0 {
		for _, t := range topics() {
			all = append(all, t.Name)
		}
	}
	if arguments < len(node.Positional) {
		all = append(all, values(node.Positional[arguments])...)
	}
	return all
}

// values returns those of an enumeration.
func values(v *kong.Value) []string {
	if v.Enum == "" {
		return nil
	}
	return slices.DeleteFunc(strings.Split(v.Enum, ","), func(s string) bool { return s == "" })
}
