// Package long keeps tests that take long out of the usual run, which is to be over in minutes. Their names end in Long,
// so that all of them, and nothing else, run by
//
//	REELAY_TEST_LONG=1 go test ./... -run 'Long$'
//
// Most live through hours of a broker and of all services, for the outcome of things that may take that long.
package long

import (
	"os"
	"testing"
)

// Only skips the test unless REELAY_TEST_LONG is set.
func Only(t testing.TB) {
	t.Helper()
	if os.Getenv("REELAY_TEST_LONG") == "" {
		t.Skip("takes long; REELAY_TEST_LONG=1 has it run")
	}
}
