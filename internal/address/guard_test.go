package address_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"reelay/internal/address"
)

// private are prefixes of addresses that no stranger may lead to, of which the corpus has the ends and some between.
var private = strings.Fields(`
	0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 192.88.99.0/24
	192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4
	::/128 ::1/128 ::/96 64:ff9b:1::/48 100::/64 2001::/32 2001:2::/48 2001:10::/28 2001:20::/28 2001:db8::/32 2002::/16 3fff::/20
	5f00::/16 fc00::/7 fe80::/10 fec0::/10 ff00::/8`)

// corpus returns more than 500 addresses: those of private, and the IPv4 ones mapped into IPv6, behind NAT64, 6to4 and
// Teredo.
func corpus(tb testing.TB) (all []netip.Addr) {
	tb.Helper()
	for _, text := range private {
		p := netip.MustParsePrefix(text)
		bits := p.Addr().BitLen() - p.Bits()
		for _, pattern := range []byte{0x00, 0x01, 0x22, 0x55, 0x7f, 0xaa, 0xfe, 0xff} {
			raw := p.Addr().AsSlice()
			for i := range raw {
				free := min(8, max(0, bits-8*(len(raw)-1-i))) // the bits of this byte that are not of the prefix
				raw[i] |= pattern & byte(1<<free-1)
			}
			a, _ := netip.AddrFromSlice(raw)
			all = append(all, a)
			if !a.Is4() {
				continue
			}
			b := a.As4()
			mapped := a.As16() // ::ffff:a.b.c.d
			all = append(all, netip.AddrFrom16(mapped))
			nat64 := netip.MustParseAddr("64:ff9b::").As16()
			copy(nat64[12:], b[:])
			sixToFour := netip.MustParseAddr("2002::1").As16()
			copy(sixToFour[2:], b[:])
			teredo := netip.MustParseAddr("2001::").As16()
			for i := range b {
				teredo[12+i] = ^b[i]
			}
			all = append(all, netip.AddrFrom16(nat64), netip.AddrFrom16(sixToFour), netip.AddrFrom16(teredo))
		}
	}
	return all
}

// TestGuard: no address of the corpus is reached, in whatever form, unless a person has named it.
func TestGuard(t *testing.T) {
	g := address.NewGuard(time.Second)
	all := corpus(t)
	if len(all) < 500 {
		t.Errorf("%d addresses", len(all))
	}
	refused := func(at string) {
		t.Helper()
		conn, err := g.DialContext(t.Context(), "tcp", at)
		if conn != nil {
			_ = conn.Close()
		}
		if !errors.Is(err, address.ErrGuarded) && !errors.Is(err, syscall.EAFNOSUPPORT) { // a machine without IPv6
			t.Errorf("%s: %v, want ErrGuarded", at, err)
		}
	}
	for _, a := range all {
		refused(netip.AddrPortFrom(a, 443).String())
	}
	for _, host := range []string{"localhost", "LOCALHOST", "[fe80::1%lo]", "[::ffff:7f00:1]", "[::ffff:127.0.0.1]", "[0:0:0:0:0:0:0:1]"} {
		refused(host + ":80")
	}
	refused("127.0.0.1:4222")
	refused("1.1.1.1:22") // a public address, and no port of the web
}

// TestGuardNamed: what is named is reached, and nothing beside it. Nobody listens there, so it is the connect that fails.
func TestGuardNamed(t *testing.T) {
	g := address.NewGuard(time.Second, "127.0.0.1:1", "localhost")
	for at, want := range map[string]bool{
		"127.0.0.1:1": true, "localhost:1": true, "LocalHost:2": true, "127.0.0.1:2": false, "[::1]:1": false, "127.0.0.2:1": false,
	} {
		ctx, cancel := context.WithCancel(t.Context())
		conn, err := g.DialContext(ctx, "tcp", at)
		if conn != nil {
			_ = conn.Close()
		}
		if got := !errors.Is(err, address.ErrGuarded) && !errors.Is(err, syscall.EAFNOSUPPORT); got != want {
			t.Errorf("%s: %v", at, err)
		}
		cancel()
	}
}

func TestOf(t *testing.T) {
	for raw, want := range map[string]string{
		"https://a.test/x": "a.test:443", "http://[::1]/": "[::1]:80", "http://u:p@127.0.0.1:8/?q": "127.0.0.1:8", "": "", "a.test": "",
	} {
		if got := address.Of(raw); got != want {
			t.Errorf("%q: %q, want %q", raw, got, want)
		}
	}
}
