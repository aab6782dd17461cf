package media

import (
	"os"
	"path/filepath"
	"testing"
)

// TestScratch: a service removes what one has left that has died, and nothing of one that lives.
func TestScratch(t *testing.T) {
	parent := filepath.Join(t.TempDir(), "work")
	begin := func() (string, func() error) {
		t.Helper()
		dir, remove, err := scratch(parent)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "in0"), []byte("video"), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return dir, remove
	}
	lives, remove := begin()
	dead := filepath.Join(parent, "dead")
	if err := os.CopyFS(dead, os.DirFS(lives)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dead+lockSuffix, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, removeOther := begin()
	if _, err := os.Stat(filepath.Join(lives, "in0")); err != nil {
		t.Errorf("of the service that lives: %v", err)
	}
	if _, err := os.Stat(dead); !os.IsNotExist(err) {
		t.Errorf("of the service that has died: %v", err)
	}
	for _, remove := range []func() error{remove, removeOther} {
		if err := remove(); err != nil {
			t.Error(err)
		}
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}
