package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestHelp(t *testing.T) {
	help := func(topic string) result {
		e, stdout, stderr := testEnv()
		code := execute(t.Context(), e, []string{"help", topic})
		return result{code, stdout.String(), stderr.String()}
	}
	r := help("config")
	for _, want := range [][]string{
		{"REELAY_STORE_DIR", "--store-dir", "DIR (.reelay)"},
		{"REELAY_SYNC", "--sync", "always|interval (always)"},
		{"NATS_URL", "--server"},
		{"FAL_KEY ", "-", "API key of fal"},
		{"REELAY_OPS_LISTEN", "--ops-listen"},
		{"REELAY_PROJECT", "--project"},
		{"OTEL_TRACES_EXPORTER", "otlp|none"},
	} {
		if r.code != 0 || lines(r.stdout, want...) != 1 {
			t.Errorf("not one line with %q:\n%s%s", want, r.stdout, r.stderr)
		}
	}
	help("proofs").check(t, 0, "    go test ./internal/test/model -v\n", "")
	help("sandbox").check(t, 0, "refuse_<code>_html", "")
	help("alerts").check(t, 0, "- alert: ReelaySpendingStopped\n", "")
	help("dashboard").check(t, 0, `"title": "reelay"`, "")
	help("weather").check(t, 2, "", "no topic")
	help("lanes").check(t, 0, "Usage: reelay lanes", "")
	r = result{}
	e, stdout, _ := testEnv()
	r.code = execute(t.Context(), e, []string{"help"})
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range topics() {
		if r.code != 0 || lines(stdout.String(), topic.Name+"  ", topic.Summary) != 1 {
			t.Errorf("reelay help does not list %s:\n%s", topic.Name, stdout)
		}
		if !strings.Contains(string(readme), "| `"+topic.Name+"` |") {
			t.Errorf("README.md does not list the topic %s", topic.Name)
		}
	}
}

// TestProofsExist: each package, test and flag that a proof names is there.
func TestProofsExist(t *testing.T) {
	const root = "../.."
	own := regexp.MustCompile(`-([a-z]+\.[a-z-]+)\b`)
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(|flag\.\w+\("([a-z.-]+)"`)
	for _, p := range proofs() {
		found := map[string]bool{}
		var tests []string
		for _, word := range strings.Fields(p.command) {
			if !strings.HasPrefix(word, "./") {
				continue
			}
			files, _ := filepath.Glob(filepath.Join(root, word, "*.go"))
			if len(files) == 0 {
				t.Errorf("%s: no tests in %s", p.command, word)
			}
			for _, file := range files {
				source, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range declared.FindAllStringSubmatch(string(source), -1) {
					tests = append(tests, m[1])
					found[m[2]] = true
				}
			}
		}
		for _, m := range own.FindAllStringSubmatch(p.what+p.command, -1) {
			if !found[m[1]] {
				t.Errorf("%s: there is no flag -%s", p.command, m[1])
			}
		}
		_, run, given := strings.Cut(p.command, "-run ")
		if !given {
			continue
		}
		run, _, _ = strings.Cut(run, " -")
		for _, name := range strings.Split(strings.Trim(run, "'"), "|") {
			matches := regexp.MustCompile(name).MatchString
			if !slices.ContainsFunc(tests, matches) {
				t.Errorf("%s: no test matches %s", p.command, name)
			}
		}
	}
}
