package callbackurl_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"reelay/events"
	"reelay/internal/callbackurl"
	"reelay/internal/secret"
)

const public = "https://webhooks.example.test"

var task = events.Key{Project: "demo", ID: "shot-042"}

// until is some minute.
var until = time.Unix(60*29000000, 0)

func key(id string, fill byte) callbackurl.Key {
	return callbackurl.Key{ID: id, Secret: secret.New(strings.Repeat(string(rune(fill)), callbackurl.KeyBytes))}
}

func path(url string) string { return strings.TrimPrefix(url, public) }

// The form of a URL is pinned: those that providers hold must outlive an upgrade. The MAC was made with Python's hmac.
func TestURL(t *testing.T) {
	got := callbackurl.New([]callbackurl.Key{key("2026a", 'k')}).URL(public, "fal-team2", task, 2, until)
	const want = public + "/cb/fal-team2/2026a/demo.shot-042.2.29000000/RQgAppejR0Hicdc5tR9JuwT7YltEi8nN73lodMim6rg"
	if got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestNoKey(t *testing.T) {
	for name, k := range map[string]callbackurl.Keys{
		"zero":  {},
		"none":  callbackurl.New(nil),
		"short": callbackurl.New([]callbackurl.Key{{ID: "k", Secret: secret.New("short")}}),
		"no id": callbackurl.New([]callbackurl.Key{key("", 'k')}),
		"bad":   callbackurl.New([]callbackurl.Key{key("a/b", 'k')}),
	} {
		if url := k.URL(public, "fal", task, 1, until); !k.Empty() || url != "" {
			t.Errorf("%s: empty %v, URL %q", name, k.Empty(), url)
		}
		if _, ok := k.Verify(path(callbackurl.New([]callbackurl.Key{key("k", 'k')}).URL(public, "fal", task, 1, until))); ok {
			t.Errorf("%s verifies", name)
		}
	}
}

// The first key signs and all verify, so that a new key is put in front, and the former one taken out when its URLs are
// spent.
func TestRotation(t *testing.T) {
	before := callbackurl.New([]callbackurl.Key{key("a", 'a')})
	during := callbackurl.New([]callbackurl.Key{key("b", 'b'), key("a", 'a')})
	after := callbackurl.New([]callbackurl.Key{key("b", 'b')})
	for _, row := range []struct {
		name           string
		signs, verifys callbackurl.Keys
		want           bool
	}{
		{"old URL, old key", before, before, true},
		{"old URL, both keys", before, during, true},
		{"old URL, new key", before, after, false},
		{"new URL, both keys", during, during, true},
		{"new URL, new key", during, after, true},
		{"new URL, old key", during, before, false},
		{"other secret under the same id", callbackurl.New([]callbackurl.Key{key("a", 'x')}), before, false},
		{"same secret under another id", callbackurl.New([]callbackurl.Key{key("x", 'a')}), before, false},
	} {
		if _, got := row.verifys.Verify(path(row.signs.URL(public, "fal", task, 1, until))); got != row.want {
			t.Errorf("%s: %v", row.name, got)
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	k := callbackurl.New([]callbackurl.Key{key("k", 'k')})
	good := path(k.URL(public, "fal", task, 1, until))
	if _, ok := k.Verify(good); !ok {
		t.Fatalf("%s does not verify", good)
	}
	mac := good[strings.LastIndexByte(good, '/')+1:]
	for name, path := range map[string]string{
		"empty":               "",
		"root":                "/",
		"prefix alone":        "/cb/",
		"no prefix":           strings.TrimPrefix(good, "/cb"),
		"another lane":        strings.Replace(good, "/fal/", "/minimax/", 1),
		"another key":         strings.Replace(good, "/k/", "/j/", 1),
		"no key":              strings.Replace(good, "/k/", "//", 1),
		"another project":     strings.Replace(good, "demo", "prod", 1),
		"another task":        strings.Replace(good, "042", "043", 1),
		"another attempt":     strings.Replace(good, "042.1", "042.2", 1),
		"attempt 0":           strings.Replace(good, "042.1", "042.0", 1),
		"attempt with a sign": strings.Replace(good, "042.1", "042.+1", 1),
		"attempt 01":          strings.Replace(good, "042.1", "042.01", 1),
		"attempt too large":   strings.Replace(good, "042.1", "042.99999999999999999999", 1),
		"no attempt":          strings.Replace(good, "042.1", "042", 1),
		"later":               strings.Replace(good, "042.1.29000000", "042.1.29000001", 1),
		"no time":             strings.Replace(good, "042.1.29000000", "042.1", 1),
		"time with a zero":    strings.Replace(good, "042.1.29000000", "042.1.029000000", 1),
		"time too large":      strings.Replace(good, "042.1.29000000", "042.1.99999999999999999999", 1),
		"a part more":         good + "/x",
		"slash at the end":    good + "/",
		"two slashes":         strings.Replace(good, "/cb/", "/cb//", 1),
		"dots":                strings.Replace(good, "/cb/", "/cb/../cb/", 1),
		"escaped":             strings.Replace(good, "shot-", "shot%2D", 1),
		"padded":              good + "=",
		"no mac":              strings.TrimSuffix(good, mac),
		"cut mac":             good[:len(good)-1],
		"wrong first":         strings.TrimSuffix(good, mac) + flip(mac, 0),
		// Two characters of the last place decode to the same bytes: only the one that was written counts.
		"wrong last": strings.TrimSuffix(good, mac) + flip(mac, len(mac)-1),
		"very long":  "/cb/fal/k/demo.t.1/" + strings.Repeat("A", 1<<20),
	} {
		if got, ok := k.Verify(path); ok || got != (callbackurl.Target{}) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestExpired: a URL counts until the end of its minute.
func TestExpired(t *testing.T) {
	k := callbackurl.New([]callbackurl.Key{key("k", 'k')})
	for late, want := range map[time.Duration]bool{-time.Hour: false, 0: false, time.Second: true} {
		got, ok := k.Verify(path(k.URL(public, "fal", task, 1, until.Add(-30*time.Second))))
		if !ok || got.Expired(until.Add(late)) != want {
			t.Errorf("%v late: %+v, %v", late, got, ok)
		}
	}
}

// flip changes the lowest bit of one base64url character.
func flip(mac string, at int) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return mac[:at] + string(alphabet[strings.IndexByte(alphabet, mac[at])^1]) + mac[at+1:]
}

// What URL makes Verify reads, and a change of any one byte is refused.
func TestRoundTrip(t *testing.T) {
	token := rapid.StringMatching(`[A-Za-z0-9_-]{1,64}`)
	rapid.Check(t, func(t *rapid.T) {
		k := callbackurl.New([]callbackurl.Key{key(token.Draw(t, "kid"), 'k')})
		want := callbackurl.Target{
			Lane: token.Draw(t, "lane"), Key: events.Key{Project: token.Draw(t, "project"), ID: token.Draw(t, "task")},
			Attempt: rapid.IntRange(1, 1_000_000).Draw(t, "attempt"), Minutes: rapid.Int64Range(0, 1_000_000_000).Draw(t, "minutes"),
		}
		path := path(k.URL(public, want.Lane, want.Key, want.Attempt, time.Unix(want.Minutes*60, 0)))
		if got, ok := k.Verify(path); !ok || got != want {
			t.Fatalf("%s: %+v, %v, want %+v", path, got, ok, want)
		}
		at := rapid.IntRange(0, len(path)-1).Draw(t, "at")
		other := rapid.Byte().Filter(func(b byte) bool { return b != path[at] }).Draw(t, "byte")
		if changed := path[:at] + string([]byte{other}) + path[at+1:]; verifies(k, changed) {
			t.Fatalf("%q verifies, made of %q", changed, path)
		}
	})
}

func verifies(k callbackurl.Keys, path string) bool {
	_, ok := k.Verify(path)
	return ok
}

// No two targets share a MAC, however their parts run into one another.
func TestMACIsUnambiguous(t *testing.T) {
	k := callbackurl.New([]callbackurl.Key{key("k", 'k')})
	seen := map[string]string{}
	for _, lane := range []string{"a", "ab", "abc"} {
		for _, project := range []string{"c", "bc", "1"} {
			for _, id := range []string{"1", "11", "d"} {
				for _, attempt := range []int{1, 11, 111} {
					url := k.URL(public, lane, events.Key{Project: project, ID: id}, attempt, until)
					mac := url[strings.LastIndexByte(url, '/'):]
					if seen[mac] != "" {
						t.Errorf("%s and %s share a MAC", url, seen[mac])
					}
					seen[mac] = url
				}
			}
		}
	}
}

// No key is printed with the Keys that hold it.
func TestKeysHideSecrets(t *testing.T) {
	k := callbackurl.New([]callbackurl.Key{key("k", 'Q')})
	if text := fmt.Sprintf("%v %+v %#v", k, k, k); strings.Contains(text, "QQQQ") {
		t.Errorf("prints its secret: %s", text)
	}
}

// Whatever is accepted is what URL writes, byte by byte.
func FuzzVerify(f *testing.F) {
	k := callbackurl.New([]callbackurl.Key{key("k", 'k'), key("old", 'o')})
	good := path(k.URL(public, "fal", task, 1, until))
	for _, seed := range []string{
		good, path(callbackurl.New([]callbackurl.Key{key("old", 'o')}).URL(public, "m", task, 7, until)), "/cb/a/b/c.d.1/e",
		"/cb////",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		got, ok := k.Verify(path)
		if !ok {
			return
		}
		first := k.URL("", got.Lane, got.Key, got.Attempt, time.Unix(got.Minutes*60, 0))
		second := callbackurl.New([]callbackurl.Key{key("old", 'o')}).URL("", got.Lane, got.Key, got.Attempt, time.Unix(got.Minutes*60, 0))
		if path != first && path != second {
			t.Errorf("%q verifies and is none of ours", path)
		}
	})
}
