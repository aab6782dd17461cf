package arch

import (
	"os"
	"path/filepath"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestRelease: a release has every binary, for every system, and each is in an archive.
func TestRelease(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, ".goreleaser.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var release struct {
		Builds []struct {
			ID, Main, Binary string
			GOOS             []string `yaml:"goos"`
		}
		Archives []struct{ IDs []string }
	}
	if err := yaml.Unmarshal(text, &release); err != nil {
		t.Fatal(err)
	}
	archived := map[string]int{}
	for _, a := range release.Archives {
		for _, id := range a.IDs {
			archived[id]++
		}
	}
	built := map[string]bool{}
	for _, b := range release.Builds {
		if built[b.ID] = true; b.Main != "./cmd/"+b.ID || b.Binary != b.ID || len(b.GOOS) != 3 || archived[b.ID] != 1 {
			t.Errorf("%+v, in %d archives", b, archived[b.ID])
		}
	}
	mains, err := filepath.Glob(filepath.Join(root, "cmd", "*", "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, main := range mains {
		if name := filepath.Base(filepath.Dir(main)); !built[name] {
			t.Errorf(".goreleaser.yaml does not build %s", name)
		}
	}
	if len(mains) != len(release.Builds) {
		t.Errorf("%d mains, %d builds", len(mains), len(release.Builds))
	}
}
