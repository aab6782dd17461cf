package callbackurl_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"reelay/internal/callbackurl"
)

// A key that was made once stays the same, so that URLs outlive a restart, and is nobody else's to read.
func TestKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "store", "callback.key")
	first, err := callbackurl.Kept(file)
	if err != nil {
		t.Fatal(err)
	}
	url := callbackurl.New(first).URL("", "fal", task, 1, until)
	again, err := callbackurl.Kept(file)
	if err != nil {
		t.Fatal(err)
	}
	if !verifies(callbackurl.New(again), url) {
		t.Error("the second start does not know the URLs of the first")
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	other, err := callbackurl.Kept(filepath.Join(t.TempDir(), "callback.key"))
	if err != nil || verifies(callbackurl.New(other), url) {
		t.Errorf("two stores share a key: %v", err)
	}
}

func TestKeptFails(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"empty": "", "cut": "local:c2Vj", "no kid": strings.Repeat("a", 44), "long": strings.Repeat("k", 5000),
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		keys, err := callbackurl.Kept(file)
		if err == nil || len(keys) != 0 || !strings.HasPrefix(err.Error(), "callback key in "+file+": ") ||
			strings.Contains(err.Error(), "c2Vj") {
			t.Errorf("%s: %d keys, %v", name, len(keys), err)
		}
		if left, _ := os.ReadFile(file); string(left) != text {
			t.Errorf("%s: the file was changed", name)
		}
	}
	if _, err := callbackurl.Kept(filepath.Join(dir, "empty", "below a file")); err == nil ||
		errors.Is(err, os.ErrNotExist) {
		t.Errorf("below a file: %v", err)
	}
}

func TestCallbackURLs(t *testing.T) {
	k := callbackurl.New([]callbackurl.Key{key("k", 'k')})
	for _, row := range []struct {
		urls callbackurl.URLs
		want string
	}{
		{callbackurl.URLs{Public: public, Keys: k}, k.URL(public, "fal", task, 1, until)},
		{callbackurl.URLs{Keys: k}, ""},
		{callbackurl.URLs{Public: public}, ""},
	} {
		if got := row.urls.CallbackURL("fal", task, 1, until); got != row.want {
			t.Errorf("%s, want %s", got, row.want)
		}
	}
}
