package arch

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestSetup: what a process gives a service is taken in one file of it, so that the rest of a service knows of no
// process.
func TestSetup(t *testing.T) {
	ofProcess := []string{
		"reelay/internal/proc", "reelay/internal/config", "reelay/internal/storeguard",
		"reelay/internal/version",
	}
	for _, p := range find(t, services) {
		files := token.NewFileSet()
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(files, filepath.Join(p.Dir, name), nil, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, spec := range file.Imports {
				if imported := strings.Trim(spec.Path.Value, `"`); name != "setup.go" && slices.Contains(ofProcess, imported) {
					t.Errorf("%s of %s imports %s, which only its setup.go may", name, p.ImportPath, imported)
				}
			}
		}
		if !slices.Contains(p.GoFiles, "setup.go") {
			t.Errorf("%s has no setup.go, by which its main and allinone start it", p.ImportPath)
		}
	}
}

// TestRooms: the page of package internal has one line for each package, and none for one that is gone.
func TestRooms(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "internal", "doc.go"))
	if err != nil {
		t.Fatal(err)
	}
	_, page, _ := strings.Cut(string(text), "// # Rooms")
	page, _, _ = strings.Cut(page, "// # The path")
	lines := map[string]int{}
	for line := range strings.Lines(page) {
		if row, ok := strings.CutPrefix(line, "//\t"); ok {
			lines[strings.Fields(row)[0]]++
		}
	}
	rooms := map[string]bool{}
	for _, p := range packages(t) {
		room := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, "reelay/"), "internal/")
		switch {
		case room == "internal":
			continue
		case strings.HasPrefix(room, "cmd/"):
			room = "cmd/*"
		case slices.Contains(drivers, p.ImportPath):
			room = "provider/<name>"
		case slices.Contains(emulated, p.ImportPath):
			room = "emulator/<name>"
		}
		rooms[room] = true
		if lines[room] != 1 {
			t.Errorf("internal/doc.go has %d lines for %s", lines[room], p.ImportPath)
		}
	}
	for room := range lines {
		if !rooms[room] {
			t.Errorf("internal/doc.go has a line for %s, which is no package", room)
		}
	}
}
