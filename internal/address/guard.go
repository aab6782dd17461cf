package address

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"code.dny.dev/ssrf"
)

// ErrGuarded says that a connection was not made: it leads to an address that is not public, and that nobody has named.
var ErrGuarded = errors.New("the address is not public, and no setting names it")

// A Guard connects to public addresses at ports 80 and 443 only, and to the hosts that a person has named. The address
// is checked when the connection is made, so that neither a name, nor a second answer for it, nor a redirect leads into
// the network of this machine. It is safe for concurrent use.
type Guard struct {
	named            []string
	plain, protected *net.Dialer
}

// NewGuard returns a guard that also reaches the named hosts: names or addresses as they stand in URLs, each with a port
// or for all ports. timeout bounds one connect.
func NewGuard(timeout time.Duration, named ...string) *Guard {
	guard := ssrf.New()
	return &Guard{
		named: named,
		plain: &net.Dialer{Timeout: timeout, KeepAlive: 30 * time.Second},
		protected: &net.Dialer{
			Timeout: timeout, KeepAlive: 30 * time.Second,
			Control: func(network, address string, c syscall.RawConn) error {
				if guard.Safe(network, address, c) == nil {
					return nil
				}
				a, _ := netip.ParseAddrPort(address)
				return fmt.Errorf("%w: %v", ErrGuarded, a)
			},
		},
	}
}

// DialContext connects; it is for http.Transport. It fails with ErrGuarded.
func (g *Guard) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err == nil && slices.ContainsFunc(g.named, func(n string) bool {
		return strings.EqualFold(n, host) || strings.EqualFold(n, address)
	}) {
		return g.plain.DialContext(ctx, network, address)
	}
	return g.protected.DialContext(ctx, network, address)
}

// Of returns the host with port of a URL of http or https, for NewGuard; empty if it has none.
func Of(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" {
		return ""
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}
