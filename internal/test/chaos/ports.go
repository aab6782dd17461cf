//go:build unix

package chaos

import (
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// Ports are taken from below the range that systems give to outgoing connections: one of those could hold the port of a
// process that is just being started again.
const (
	firstPort = 15_000
	portCount = 15_000
	portTries = 200
)

// freeAddress returns a loopback address on which nobody listens.
func freeAddress(t testing.TB) string {
	t.Helper()
	for range portTries {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+rand.IntN(portCount)))
		if l, err := net.Listen("tcp", address); err == nil {
			_ = l.Close()
			return address
		}
	}
	t.Fatalf("no free port in %d tries", portTries)
	return ""
}
