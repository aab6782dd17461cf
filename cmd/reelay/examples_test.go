package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"reelay/internal/config"
)

// leaves returns the commands that people see.
func leaves(t *testing.T) (all []*kong.Node) {
	t.Helper()
	app, err := config.Grammar(newCommands(), "reelay", description)
	if err != nil {
		t.Fatal(err)
	}
	return app.Leaves(true)
}

// TestExamples: each command has an example, which is a right command line of it.
func TestExamples(t *testing.T) {
	all := examples()
	words := regexp.MustCompile(`"[^"]*"|\S+`)
	for _, leaf := range leaves(t) {
		path := commandPath(leaf)
		if len(all[path]) == 0 {
			t.Errorf("reelay %s has no example", path)
		}
		for _, line := range all[path] {
			var args []string
			for _, word := range words.FindAllString(line, -1) {
				args = append(args, strings.Trim(word, `"`))
			}
			parsed, err := config.Parse(args[1:], newCommands(), "reelay", description)
			if err != nil {
				t.Errorf("%s: %v", line, err)
				continue
			}
			if got := parsed.Selected(); args[0] != "reelay" || commandPath(got) != path {
				t.Errorf("%s is an example of %s", line, commandPath(got))
			}
		}
		delete(all, path)
	}
	for path := range all {
		t.Errorf("an example is for %q, which is no command", path)
	}
	e, stdout, stderr := testEnv()
	code := execute(t.Context(), e, []string{"lanes", "set", "--help"})
	result{code, stdout.String(), stderr.String()}.check(t, 0,
		"For example:\n\n    reelay lanes set gpu1 --model wan --requests 300 --in-flight 30\n", "")
}

// TestJSON: each command that tells something tells it as JSON as well.
func TestJSON(t *testing.T) {
	without := []string{
		"run", "segment", "concat", // they print the paths of files
		"up", "mcp", "backup", "restore", "auth init", "auth add", "auth revoke", // they do something
		"dead show", "dead replay", "callbacks show", "callbacks replay", // they print what is stored, and its new place
		"completion", "help", // texts
	}
	for _, leaf := range leaves(t) {
		has := slices.ContainsFunc(leaf.Flags, func(f *kong.Flag) bool { return f.Name == "json" })
		if path := commandPath(leaf); has == slices.Contains(without, path) {
			t.Errorf("reelay %s: --json is there: %v", path, has)
		}
	}
}
