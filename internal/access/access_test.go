package access_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"reelay/internal/access"
)

// A file of tokens is refused with the entry and the reason, and never shows a token.
func TestReadTokens(t *testing.T) {
	row := func(token, name, projects, roles string) string {
		return `{"token":"` + token + `","name":"` + name + `","projects":` + projects + `,"roles":` + roles + `}`
	}
	const token = "hush-hush-hush-hush"
	good := row(token, "a", `["p","*"]`, `["read"]`)
	for _, c := range []struct{ text, want string }{
		{"[" + good + "]", ""},
		{"[" + good + "," + row(token+"2", "a", `["p","*"]`, `["read"]`) + "]", ""},
		{"[" + good + "," + row(token+"2", "a", `["q"]`, `["read"]`) + "]", "entry 2: a has other projects or roles"},
		{"[" + good + "," + row(token, "b", `["p"]`, `["read"]`) + "]", "entry 2: the token is that of an entry before"},
		{"[" + row("hush", "a", `["p"]`, `["read"]`) + "]", "entry 1: token has not 16 to 512 bytes"},
		{"[" + row(token, "", `["p"]`, `["read"]`) + "]", "entry 1: name must be"},
		{"[" + row(token, "a", `["*"]`, `["read"]`) + "]", "entry 1: projects must begin"},
		{"[" + row(token, "a", `["p","a b"]`, `["read"]`) + "]", `entry 1: project "a b"`},
		{"[" + row(token, "a", `["p"]`, `["admin"]`) + "]", `entry 1: role "admin" is not`},
		{"[" + row(token, "a", `["p"]`, `[]`) + "]", "entry 1: roles is empty"},
		{"[]", "has 0 tokens"},
		{good, "is not a JSON list"},
		{`["hush-hush-hush-hush"]`, "is not a JSON list"},
		{`[{"tokn":"hush-hush-hush-hush"}]`, "is not a JSON list"},
	} {
		file := filepath.Join(t.TempDir(), "tokens")
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := access.ReadTokens(file)
		switch {
		case (err == nil) != (c.want == ""), err != nil && !strings.Contains(err.Error(), c.want):
			t.Errorf("%s: %v, want %q", c.text, err, c.want)
		case err != nil && strings.Contains(err.Error(), "hush"):
			t.Errorf("the error shows a token: %v", err)
		}
	}
}
