package smallfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"reelay/internal/smallfile"
)

// TestRead: a file of the limit is read whole, a larger one not at all.
func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "table")
	if err := os.WriteFile(path, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := smallfile.Read(path, 5); string(text) != "12345" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	text, err := smallfile.Read(path, 4)
	if text != nil || !errors.Is(err, smallfile.ErrTooLarge) || err.Error() != path+" is larger than 4 bytes" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := smallfile.Read(path+"x", 5); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}
