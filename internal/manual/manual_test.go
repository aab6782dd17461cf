package manual

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestTopics: each text is a topic, and each topic has one, with a title.
func TestTopics(t *testing.T) {
	files, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range Topics() {
		text, err := Text(topic.Name)
		if err != nil || !strings.HasPrefix(text, "# ") || !strings.HasSuffix(text, "\n") {
			t.Errorf("%s: %v\n%.40s", topic.Name, err, text)
		}
		files = slices.DeleteFunc(files, func(f string) bool { return f == topic.Name+".md" })
	}
	if len(files) > 0 {
		t.Errorf("no topic is for %v", files)
	}
	if _, err := Text("weather"); err == nil {
		t.Error("weather has a text")
	}
}

// blocks returns the fenced blocks of a topic in a language.
func blocks(t *testing.T, topic, language string) (all []string) {
	t.Helper()
	text, err := Text(topic)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}

// TestUnits: systemd takes the units, and they stop as slowly as they must.
func TestUnits(t *testing.T) {
	units := blocks(t, "systemd", "ini")
	if len(units) != 2 {
		t.Fatalf("%d units", len(units))
	}
	binary := filepath.Join(t.TempDir(), "any")
	if err := os.WriteFile(binary, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	start := regexp.MustCompile(`(?m)^ExecStart=\S+`)
	var files []string
	for _, unit := range units {
		for _, want := range []string{"\nTimeoutStopSec=75\n", "\nRestart=always\n", "REELAY_STORE_DIR=%S/", "REELAY_EPOCH_DIR=%S/"} {
			if !strings.Contains(unit, want) {
				t.Errorf("no %q in\n%s", want, unit)
			}
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(unit, "# "), "\n")
		name = strings.Replace(filepath.Join(filepath.Dir(binary), name), "@.", "@poller.", 1)
		if err := os.WriteFile(name, []byte(start.ReplaceAllString(unit, "ExecStart="+binary)), 0o644); err != nil {
			t.Fatal(err)
		}
		files = append(files, name)
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	out, err := exec.CommandContext(t.Context(), analyze, append([]string{"verify", "--man=no"}, files...)...).CombinedOutput()
	for line := range strings.Lines(string(out)) { // it also checks the units of this machine
		if strings.Contains(line, "reelay") {
			t.Errorf("systemd-analyze: %s", line)
		}
	}
	if err != nil && t.Failed() {
		t.Error(err)
	}
}

// TestContainers: the files are well formed, name binaries that there are, and stop as slowly as they must.
func TestContainers(t *testing.T) {
	var compose struct {
		Services map[string]struct {
			Stop    string `yaml:"stop_grace_period"`
			Command []string
			Volumes []string
		}
		Volumes map[string]any
	}
	var pod struct {
		Spec struct {
			Stop       int `yaml:"terminationGracePeriodSeconds"`
			Containers []struct{ Command []string }
		}
	}
	files := blocks(t, "container", "yaml")
	for i, into := range []any{&compose, &pod} {
		if err := yaml.Unmarshal([]byte(files[i]), into); err != nil {
			t.Fatal(err)
		}
	}
	for name, s := range compose.Services {
		if s.Stop != "75s" {
			t.Errorf("%s: stop time %q", name, s.Stop)
		}
		if name != "nats" && !isBinary(s.Command[0]) {
			t.Errorf("%s: %v is no binary", name, s.Command)
		}
		for _, v := range s.Volumes {
			volume, _, _ := strings.Cut(v, ":")
			if _, ok := compose.Volumes[volume]; !ok {
				t.Errorf("%s: no volume %s", name, volume)
			}
		}
	}
	if pod.Spec.Stop != 75 || !isBinary(pod.Spec.Containers[0].Command[0]) {
		t.Errorf("%+v", pod)
	}
	image := blocks(t, "container", "dockerfile")[0]
	for _, want := range []string{"\nHEALTHCHECK ", "\nVOLUME [", "\nSTOPSIGNAL SIGTERM\n", "\nUSER 65532\n", "./cmd/..."} {
		if !strings.Contains(image, want) {
			t.Errorf("no %q in\n%s", want, image)
		}
	}
}

func isBinary(name string) bool {
	_, err := os.Stat(filepath.Join("..", "..", "cmd", name, "main.go"))
	return err == nil
}

// TestPorts: the ports of the health checks are those of the mains.
func TestPorts(t *testing.T) {
	text, err := Text("systemd")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("`([a-z]+)`(?:, `reelay up`)? \\| (91\\d\\d)").FindAllStringSubmatch(text, -1)
	if len(rows) != 10 {
		t.Fatalf("%d ports", len(rows))
	}
	for _, row := range rows {
		main, err := os.ReadFile(filepath.Join("..", "..", "cmd", row[1], "main.go"))
		if err != nil || !strings.Contains(string(main), `"127.0.0.1:`+row[2]+`"`) {
			t.Errorf("%s is not at %s: %v", row[1], row[2], err)
		}
	}
	mains, err := filepath.Glob(filepath.Join("..", "..", "cmd", "*", "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	taken := map[string]string{} // all of them run side by side by the Procfile
	for _, name := range mains {
		main, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, port := range regexp.MustCompile(`OpsListen\("([^"]+)"\)`).FindAllStringSubmatch(string(main), -1) {
			if other := taken[port[1]]; other != "" {
				t.Errorf("%s and %s have %s", name, other, port[1])
			}
			taken[port[1]] = name
		}
	}
}
