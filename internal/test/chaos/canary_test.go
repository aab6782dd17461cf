//go:build unix

package chaos

import (
	"strings"
	"testing"
)

func TestFindsMACs(t *testing.T) {
	t.Parallel()
	mac, other := strings.Repeat("Ab-_", 11)[:43], strings.Repeat("x", 43)
	macs := map[string]bool{mac: true}
	for text, want := range map[string]string{
		"":                                       "",
		mac:                                      mac,
		"url=http://h/cb/fal/k/p.t.1/" + mac:     mac,
		"{\"mac\":\"" + mac + "\"}":              mac,
		other + mac + other:                      mac,
		"\x00\xff" + mac + "\x00":                mac,
		mac[:42]:                                 "",
		mac[:20] + " " + mac[20:]:                "",
		other + "/" + strings.ToLower(mac) + "/": "",
	} {
		if got := firstOf([]byte(text), macs); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
