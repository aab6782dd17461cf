package address

import "testing"

func TestIsLocal(t *testing.T) {
	for text, want := range map[string]bool{
		"localhost": true, "localhost:80": true, "127.0.0.1": true, "127.8.9.1:4222": true, "::1": true, "[::1]": true,
		"[::1]:80": true, "::ffff:127.0.0.1": true,
		"": false, ":80": false, "0.0.0.0:80": false, "[::]:80": false, "10.0.0.1:80": false, "localhost.example": false,
		"127.0.0.1.example:80": false, "2130706433": false, "0x7f.1": false, "127.1": false,
	} {
		if got := IsLocal(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
