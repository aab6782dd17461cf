package secret

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

const canaryID, canaryHalf = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0", "c4n/ry+K3y<of>thirty-two\"bytes\\0"

// encodings are how a text may stand in what a stranger says.
func encodings() map[string]func(string) string {
	asJSON := func(s string) string {
		b, err := json.Marshal(s)
		if err != nil {
			panic(err)
		}
		return strings.Trim(string(b), `"`)
	}
	each := func(format string) func(string) string {
		return func(s string) string {
			var b strings.Builder
			for i := range len(s) {
				fmt.Fprintf(&b, format, s[i])
			}
			return b.String()
		}
	}
	all := map[string]func(string) string{
		"plain": func(s string) string { return s }, "json": asJSON, "json twice": func(s string) string { return asJSON(asJSON(s)) },
		"slashes": func(s string) string { return strings.ReplaceAll(asJSON(s), "/", `\/`) },
		"unicode": each(`\u%04x`), "unicode upper": each(`\u%04X`), "percent": each("%%%02X"), "percent lower": each("%%%02x"),
		"percent twice": each("%%25%02X"), "query": url.QueryEscape, "path": url.PathEscape,
		"hex": func(s string) string { return hex.EncodeToString([]byte(s)) },
		"HEX": func(s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) },
	}
	for before := range 4 {
		for behind := range 4 {
			for name, e := range map[string]*base64.Encoding{
				"std": base64.StdEncoding, "url": base64.URLEncoding, "raw": base64.RawStdEncoding,
			} {
				b64 := func(s string) string {
					return e.EncodeToString([]byte(strings.Repeat("<", before) + s + strings.Repeat(">", behind)))
				}
				at := fmt.Sprintf("base64 %s %d %d", name, before, behind)
				all[at], all[at+" query"] = b64, func(s string) string { return url.QueryEscape(b64(s)) }
				all[at+" slashes"] = func(s string) string { return strings.ReplaceAll(b64(s), "/", `\/`) }
			}
		}
	}
	return all
}

// TestRedact: a key, and each half of one, is taken out in every encoding, and nothing else is; what was JSON stays so.
func TestRedact(t *testing.T) {
	r := NewRedactor(New(canaryID + ":" + canaryHalf))
	for name, encode := range encodings() {
		for part, text := range map[string]string{"key": canaryID + ":" + canaryHalf, "half": canaryHalf, "id": canaryID} {
			in := "before " + encode(text) + " behind"
			got := r.Text(in)
			middle, ok := strings.CutPrefix(got, "before ")
			middle, ok2 := strings.CutSuffix(middle, " behind")
			// A few characters of base64 have bits of the key and of what stands beside it.
			if !ok || !ok2 || !strings.Contains(middle, redacted) || len(strings.ReplaceAll(middle, redacted, "")) > 20 ||
				strings.Contains(middle, encode(text)[4:12]) {
				t.Errorf("%s, %s: %s is left of %s", name, part, got, in)
			}
			if string(r.Bytes([]byte(in))) != got {
				t.Errorf("%s: bytes and text differ", name)
			}
		}
	}
	object := `{"a":"\\\u0022` + encodings()["unicode"](canaryHalf) + `\\","b":"` + encodings()["json"](canaryHalf) + `"}`
	if got := r.Text(object); !json.Valid([]byte(got)) || strings.Count(got, redacted) != 2 {
		t.Errorf("%s became %s", object, got)
	}
}

// TestRedactBehindBackslashes: a key is taken out behind backslashes, 256 of which go with it; a key that begins with one
// as well.
func TestRedactBehindBackslashes(t *testing.T) {
	for _, key := range []string{canaryID, `\` + canaryID} {
		r := NewRedactor(New(key))
		for n, left := range map[int]int{0: 0, 1: 0, 255: 0, 256: 0, 257: 1, 700: 444} {
			for _, first := range []string{"0", `u0030`} {
				if n == 0 && first != "0" || key != canaryID && first != "0" {
					continue
				}
				text := "a" + strings.Repeat(`\`, n) + strings.Replace(key, "0", first, 1) + "z"
				got, want := r.Text(text), "a"+strings.Repeat(`\`, left)+redacted+"z"
				if key != canaryID {
					want = got // how many go with it is not told
				}
				if got != want || strings.Contains(got, key) {
					t.Errorf("%d backslashes before %s: %q, want %q", n, first, got, want)
				}
			}
		}
	}
}

// BenchmarkRedactBackslashes reads 4 MiB that a stranger sends to keep us busy.
func BenchmarkRedactBackslashes(b *testing.B) {
	r := NewRedactor(New(canaryID + ":" + canaryHalf))
	for _, run := range []int{1, 256, 4 << 20} {
		body := []byte(strings.Repeat(strings.Repeat(`\`, run)+"x", (4<<20)/(run+1)+1))
		b.Run(strconv.Itoa(run), func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				r.Bytes(body)
			}
		})
	}
}

// TestRedactNothing: what has no key stays as it is, also where its escapes are broken.
func TestRedactNothing(t *testing.T) {
	for _, r := range []*Redactor{NewRedactor(Value{}), NewRedactor(New("short")), NewRedactor(New(canaryHalf)), {}} {
		for _, text := range []string{"", "%", "%4", `\`, `\u`, `\u00`, `\u004`, `\\\\`, "c4n/ry+K3y<of>thirty-two\"bytes\\", "short", "%25%25"} {
			if got := r.Text(text); got != text {
				t.Errorf("%q became %q", text, got)
			}
		}
	}
}

// FuzzRedact: no text makes it fail, and a text without the key's letters stays.
func FuzzRedact(f *testing.F) {
	r := NewRedactor(New(canaryID + ":" + canaryHalf))
	for _, encode := range encodings() {
		f.Add(encode(canaryHalf))
	}
	f.Fuzz(func(t *testing.T, text string) {
		if got := r.Text(text); strings.Contains(got, canaryHalf) || strings.Contains(got, canaryID) {
			t.Errorf("%q became %q", text, got)
		}
	})
}
