// Package address says which hosts and addresses are this machine alone, and guards connections to those that strangers
// name.
package address

import (
	"net"
	"net/netip"
	"strings"
)

// IsLoopback reports whether a host, a name or an address, is this machine alone: "localhost" or a loopback address.
func IsLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && a.IsLoopback()
}

// IsLocal is IsLoopback for a host with a port, or without one. Without a host it is every address of the machine, so
// not this machine alone.
func IsLocal(hostPort string) bool {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		host = hostPort
	}
	return IsLoopback(host)
}
