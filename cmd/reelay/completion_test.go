package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestComplete(t *testing.T) {
	for _, row := range []struct{ words, want string }{
		{"la", "lanes"},
		{"lanes ", "ls pause resume set"},
		{"lanes p", "pause"},
		{"submit ", "audio image music speech video voice"},
		{"submit video --on-in", "--on-in-doubt"},
		{"submit video --on-in-doubt ", "fail hold resubmit"},
		{"submit --prompt kite v", "video voice"},
		{"submit video --prompt ", ""}, // the value of a flag, for which there is no list
		{"submit video x", ""},
		{"help ser", "servers"},
		{"help guar", "guarantees"},
		{"completion ", "bash fish zsh"},
		{"up --sync i", "interval"},
		{"up --jo", "--join-world"},
		{"weather --x", ""},
	} {
		e, stdout, stderr := testEnv()
		code := execute(t.Context(), e, append([]string{completeArg}, strings.Split(row.words, " ")...))
		if got := strings.Join(strings.Fields(stdout.String()), " "); code != 0 || got != row.want {
			t.Errorf("%q: %d %q, want %q\n%s", row.words, code, got, row.want, stderr)
		}
	}
}

// TestCompletionInBash has a real bash complete words by the script; the binary is a stand-in that says what it is asked.
func TestCompletionInBash(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("bash is not installed")
	}
	dir := t.TempDir()
	standIn := filepath.Join(dir, "reelay")
	if err := os.WriteFile(standIn, []byte("#!/bin/sh\nfor w in \"$@\"; do echo \"<$w>\"; done\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		e, stdout, stderr := testEnv()
		code := execute(t.Context(), e, []string{"completion", shell})
		result{code, stdout.String(), stderr.String()}.check(t, 0, completeArg, "")
		if err := os.WriteFile(filepath.Join(dir, "script."+shell), []byte(stdout.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		if path, err := exec.LookPath(shell); err == nil {
			out, err := exec.CommandContext(t.Context(), path, "-n", filepath.Join(dir, "script."+shell)).CombinedOutput()
			if err != nil {
				t.Errorf("%s: %v\n%s", shell, err, out)
			}
		}
	}
	for words, want := range map[string]string{
		"reelay lanes pa":           "<__complete> <lanes> <pa>",
		"reelay up --sync = alw":    "<__complete> <up> <--sync> <alw>",
		"reelay up --sync =":        "<__complete> <up> <--sync> <>",
		"reelay submit video --p '": "<__complete> <submit> <video> <--p> <'>",
	} {
		script := `source ` + filepath.Join(dir, "script.bash") + `
			COMP_WORDS=("$@") COMP_CWORD=$(($#-1)); _reelay; echo "${COMPREPLY[@]}"; complete -p reelay`
		c := exec.CommandContext(t.Context(), bash, append([]string{"-c", script, "bash"}, strings.Split(words, " ")...)...)
		c.Env = []string{"PATH=" + dir + ":/usr/bin:/bin"}
		out, err := c.CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), want+"\n") || !strings.Contains(string(out), "-F _reelay") {
			t.Errorf("%s: %v %s\nwant %s", words, err, out, want)
		}
	}
}
