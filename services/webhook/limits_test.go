package webhook

import (
	"net/http"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// Any number of strangers take up a fixed room, and one who keeps coming is not forgotten for it.
func TestBucketsAreBounded(t *testing.T) {
	b := newBuckets[int](1e-9, 2)
	b.allow(-1)
	b.allow(-1)
	for key := range 5 * maxBuckets {
		if !b.allow(key) {
			t.Fatalf("%d is new and refused", key)
		}
		if key%1000 == 0 && b.allow(-1) {
			t.Fatalf("after %d others -1 begins anew", key)
		}
		if n := len(b.young) + len(b.old); n > maxBuckets {
			t.Fatalf("%d buckets", n)
		}
	}
}

func TestBucketsFill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBuckets[string](2, 3)
		take := func() (n int) {
			for b.allow("a") {
				n++
			}
			return n
		}
		for _, row := range []struct {
			after time.Duration
			want  int
		}{{0, 3}, {0, 0}, {500 * time.Millisecond, 1}, {time.Second, 2}, {time.Hour, 3}} {
			time.Sleep(row.after)
			if got := take(); got != row.want {
				t.Errorf("after %v: %d, want %d", row.after, got, row.want)
			}
		}
	})
}

func TestClientAddress(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, row := range []struct {
		name, remote string
		forwarded    []string
		want         string
	}{
		{"direct", "203.0.113.1:5000", nil, "203.0.113.1"},
		{"direct, with a header", "203.0.113.1:5000", []string{"198.51.100.1"}, "203.0.113.1"},
		{"direct by IPv6", "[2001:db8:1:2:3:4:5:6]:5000", nil, "2001:db8:1:2::"},
		{"IPv4 in IPv6", "[::ffff:203.0.113.1]:5000", nil, "203.0.113.1"},
		{"proxy alone", "10.0.0.1:5000", nil, "10.0.0.1"},
		{"behind a proxy", "10.0.0.1:5000", []string{"203.0.113.1"}, "203.0.113.1"},
		{"behind a proxy in IPv6", "[fd00::1]:5000", []string{"2001:db8::1"}, "2001:db8::"},
		{"behind two", "10.0.0.1:5000", []string{"203.0.113.1, 10.0.0.2"}, "203.0.113.1"},
		{"in two headers", "10.0.0.1:5000", []string{"203.0.113.1", "10.0.0.2"}, "203.0.113.1"},
		{"invented before", "10.0.0.1:5000", []string{"10.9.9.9, 198.51.100.1, 203.0.113.1"}, "203.0.113.1"},
		{"all proxies", "10.0.0.1:5000", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"with a port", "10.0.0.1:5000", []string{"203.0.113.1:99"}, "203.0.113.1"},
		{"in brackets", "10.0.0.1:5000", []string{"[2001:db8::1]"}, "2001:db8::"},
		{"unreadable", "10.0.0.1:5000", []string{"203.0.113.1, unknown"}, "10.0.0.1"},
		{"empty", "10.0.0.1:5000", []string{""}, "10.0.0.1"},
		{"a pipe", "pipe", []string{"203.0.113.1"}, "invalid IP"},
	} {
		r := &http.Request{RemoteAddr: row.remote, Header: http.Header{"X-Forwarded-For": row.forwarded}}
		if got := clientAddress(r, proxies).String(); got != row.want {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
	}
}

func FuzzClientAddress(f *testing.F) {
	f.Add("10.0.0.1:5000", "203.0.113.1, 10.0.0.2")
	f.Add("[::1]:1", ",,[::%eth0]:1,")
	f.Fuzz(func(t *testing.T, remote, forwarded string) {
		direct := clientAddress(&http.Request{RemoteAddr: remote, Header: http.Header{"X-Forwarded-For": {forwarded}}}, nil)
		if direct != site(parseAddress(remote)) {
			t.Errorf("%q %q: %v", remote, forwarded, direct)
		}
		clientAddress(&http.Request{RemoteAddr: remote, Header: http.Header{"X-Forwarded-For": {forwarded}}},
			[]netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")})
	})
}
