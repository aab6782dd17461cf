package secret

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// canary is the secret of these tests. It has no digits or letters in a row that an address or a number could show.
const canary = "sk-CANARY-text-of-a-key"

// traces are the forms in which fmt could show the canary.
func traces() []string {
	return []string{
		canary, "CANARY", strconv.Quote(canary), fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary),
		fmt.Sprintf("% x", canary), fmt.Sprint([]byte(canary)), strings.Trim(fmt.Sprint([]byte(canary)), "[]"),
		fmt.Sprintf("%U", canary[3]) + " ",
	}
}

func wantHidden(t *testing.T, how, shown string) {
	t.Helper()
	for _, trace := range traces() {
		if strings.Contains(shown, trace) {
			t.Errorf("%s shows the secret: %s", how, shown)
			return
		}
	}
}

type options struct {
	URL string
	Key Value
	key Value
}

type driver struct {
	name string
	o    *options
	byID map[string]options
}

// holders are the ways in which a Value may be inside of what somebody prints.
func holders() map[string]any {
	v := New(canary)
	o := options{URL: "https://example.test", Key: v, key: v}
	return map[string]any{
		"the value":                      v,
		"a pointer":                      &v,
		"a struct":                       o,
		"a pointer to a struct":          &o,
		"a struct with unexported parts": struct{ key Value }{v},
		"an unexported pointer":          struct{ key *Value }{&v},
		"nested":                         driver{"fal", &o, map[string]options{"a": o}},
		"a pointer to nested":            &driver{"fal", &o, map[string]options{"a": o}},
		"a slice":                        []Value{v, v},
		"a slice of pointers":            []*Value{&v},
		"an array":                       [1]Value{v},
		"a map":                          map[string]Value{"key": v},
		"a map of any":                   map[string]any{"key": v, "all": []any{v, o}},
		"a map's key":                    map[Value]int{v: 1},
		"an interface in a struct":       struct{ any any }{v},
		"an embedded value":              struct{ Value }{v},
		"a channel of it":                make(chan Value),
	}
}

func TestNoVerbShowsTheText(t *testing.T) {
	for name, holder := range holders() {
		for _, verb := range []string{
			"%s", "%q", "%v", "%+v", "%#v", "%x", "%X", "% x", "%d", "%t", "%c", "%U", "%b", "%o", "%e", "%p", "%T", "%w", "%z",
			"%100s", "%-5v", "%.3s", "%08d",
		} {
			wantHidden(t, name+" by "+verb, fmt.Sprintf(verb, holder))
		}
		wantHidden(t, name+" by Sprint", fmt.Sprint(holder))
		wantHidden(t, name+" as an extra operand", fmt.Sprintf("%%", []any{holder}...))
		wantHidden(t, name+" as a width", fmt.Sprintf("%*d", []any{holder, 1}...))
		wantHidden(t, name+" in an error", fmt.Errorf("call: %v: %w", holder, fs.ErrInvalid).Error())
		wantHidden(t, name+" in a wrong error", fmt.Errorf("call: %w", []any{holder}...).Error())
		wantHidden(t, name+" in joined errors", errors.Join(fmt.Errorf("%+v", holder), fs.ErrInvalid).Error())
	}
	if got := fmt.Sprintf("%s %v %q", New(canary), New(""), Value{}); got != "[redacted] [redacted] [redacted]" {
		t.Errorf("shown as %s", got)
	}
}

func TestNoLogShowsTheText(t *testing.T) {
	for format, handler := range map[string]func(*bytes.Buffer) slog.Handler{
		"text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"JSON": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		for name, holder := range holders() {
			var b bytes.Buffer
			log := slog.New(handler(&b))
			log.Info("one", "key", holder)
			log.With("key", holder).WithGroup("g").Info("two", slog.Group("h", "key", holder), slog.Any("any", []any{holder}))
			log.Error("three", "err", fmt.Errorf("call with %+v", holder))
			if b.Len() == 0 {
				t.Fatalf("%s: nothing was logged", format)
			}
			wantHidden(t, name+" by slog as "+format, b.String())
		}
	}
}

func TestNoEncodingShowsTheText(t *testing.T) {
	for name, holder := range holders() {
		// What cannot be encoded fails; its error must not show the text either.
		b, err := json.Marshal(holder)
		wantHidden(t, name+" by json", string(b)+fmt.Sprint(err))
		b, err = json.MarshalIndent(map[string]any{"a": holder}, "", " ")
		wantHidden(t, name+" by json in a map", string(b)+fmt.Sprint(err))
	}
	b, err := xml.Marshal(options{Key: New(canary)})
	if err != nil {
		t.Error(err)
	}
	wantHidden(t, "a struct by xml", string(b))
	if b, err := json.Marshal(options{Key: New(canary)}); err != nil || string(b) != `{"URL":"","Key":"[redacted]"}` {
		t.Errorf("encoded as %s, %v", b, err)
	}
}

func TestValue(t *testing.T) {
	if v := New(canary); v.Reveal() != canary || v.Empty() {
		t.Error("the text is not what was put in")
	}
	for name, v := range map[string]Value{"zero": {}, "empty text": New("")} {
		if v.Reveal() != "" || !v.Empty() || v != (Value{}) {
			t.Errorf("%s: not empty", name)
		}
	}
}

const variable = "REELAY_TEST_SECRET"

// set sets or, when empty, unsets the variables of a test.
func set(t *testing.T, text, file string) {
	t.Helper()
	t.Setenv(variable, text)
	t.Setenv(variable+"_FILE", file)
	if text == "" {
		os.Unsetenv(variable) // Setenv restores it
	}
	if file == "" {
		os.Unsetenv(variable + "_FILE")
	}
}

// TestBoth: of a key and a file of another one, nobody can tell which is meant.
func TestBoth(t *testing.T) {
	set(t, canary, write(t, "another"))
	v, err := Lookup(variable)
	if !v.Empty() || err == nil || err.Error() != "REELAY_TEST_SECRET: REELAY_TEST_SECRET_FILE is set as well; unset one of them" {
		t.Errorf("%d bytes, %v", len(v.Reveal()), err)
	}
}

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLookup(t *testing.T) {
	for _, row := range []struct{ name, text, file, want string }{
		{"neither", "", "", ""},
		{"environment", canary, "", canary},
		{"environment, white space around", " " + canary + "\n", "", canary},
		{"file", "", write(t, canary), canary},
		{"file with a line end", "", write(t, canary+"\r\n"), canary},
		{"blank environment, file", " \t", write(t, canary), canary},
		{"byte order mark", "\ufeff" + canary + "\r\n", "", canary},
		{"file with a byte order mark", "", write(t, "\ufeff"+canary+"\r\n"), canary},
		{"longest file", "", write(t, strings.Repeat("k", MaxBytes)), strings.Repeat("k", MaxBytes)},
	} {
		t.Run(row.name, func(t *testing.T) {
			set(t, row.text, row.file)
			v, err := Lookup(variable)
			if err != nil || v.Reveal() != row.want || v.Empty() != (row.want == "") {
				t.Errorf("%d bytes, error %v, want %d bytes", len(v.Reveal()), err, len(row.want))
			}
		})
	}
}

func TestLookupErrorsNameTheVariableOnly(t *testing.T) {
	const size = "REELAY_TEST_SECRET_FILE: the file must hold 1 to 4096 bytes"
	for _, row := range []struct {
		name, file string
		is         error
		want       string
	}{
		{"missing", filepath.Join(t.TempDir(), canary), fs.ErrNotExist, "REELAY_TEST_SECRET_FILE: no such file or directory"},
		// Somebody puts the key where its file should be named.
		{"the key itself", canary, fs.ErrNotExist, "REELAY_TEST_SECRET_FILE: no such file or directory"},
		{"a directory", t.TempDir(), syscall.EISDIR, "REELAY_TEST_SECRET_FILE: is a directory"},
		{"empty", write(t, ""), nil, size},
		{"white space", write(t, " \n"), nil, size},
		{"too large", write(t, canary+strings.Repeat("k", MaxBytes+1-len(canary))), nil, size},
		{"too large by white space", write(t, canary+strings.Repeat("\n", MaxBytes+1-len(canary))), nil, size},
		{"endless", "/dev/zero", nil, size},
	} {
		t.Run(row.name, func(t *testing.T) {
			set(t, "", row.file)
			v, err := Lookup(variable)
			if err == nil || err.Error() != row.want || row.is != nil && !errors.Is(err, row.is) {
				t.Fatalf("error %v, want %q", err, row.want)
			}
			if !v.Empty() {
				t.Error("a value came with the error")
			}
			wantHidden(t, "the error", fmt.Sprintf("%v %+v %#v", err, err, err))
		})
	}
}

func TestLookupKeyRefusesWhatIsNoKey(t *testing.T) {
	for _, row := range []struct{ name, text, want string }{
		{"quotes", `"` + canary + `"`, "the quotes are part of the key; set it without them"},
		{"single quotes", "'" + canary + "'", "the quotes are part of the key; set it without them"},
		{"typographic quotes", "“" + canary + "”", "the quotes are part of the key; set it without them"},
		{"fal's prefix", "Key " + canary, "set the key alone, without the word Key"},
		{"MiniMax's prefix", "Bearer " + canary, "set the key alone, without the word Bearer"},
		{"two lines", canary + "\nsecond", "it has more than one line; set the key alone"},
		{"an inner blank", canary + " x", "it has a blank inside; set the key alone"},
		{
			"an env file", "FAL_KEY=" + canary,
			"it begins as the assignment of a variable; set the key alone, without the name and the =",
		},
		{
			"a zero width space", canary + "\u200b",
			"it has a character that is not printable ASCII; type the key, or copy it again",
		},
		{
			"a control character", canary + "\x01",
			"it has a character that is not printable ASCII; type the key, or copy it again",
		},
		{"a good one", canary + "=:-_.", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, source := range []string{variable, variable + "_FILE"} {
				want := ""
				if set(t, row.text, ""); source != variable {
					set(t, "", write(t, row.text))
				}
				if row.want != "" {
					want = source + ": " + row.want
				}
				v, err := LookupKey(variable)
				got := ""
				if err != nil {
					got = err.Error()
				}
				if got != want || v.Empty() != (want != "") {
					t.Errorf("error %q, want %q", got, want)
				}
				wantHidden(t, "the error", got)
			}
		})
	}
}
