package journal_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"reelay/internal/failpoint"
	"reelay/internal/journal"
)

func log(tb testing.TB) *slog.Logger { return slog.New(slog.NewTextHandler(tb.Output(), nil)) }

// open opens a journal and closes it at the end of the test, if the test has not done so.
func open(tb testing.TB, dir string, faults failpoint.Plan) *journal.Journal {
	tb.Helper()
	j, err := journal.Open(dir, log(tb), faults)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := j.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			tb.Error(err)
		}
	})
	return j
}

// entry is an attempt of task t1.
func entry(owner string, attempt int) journal.Entry {
	return journal.Entry{Owner: owner, Project: "demo", TaskID: "t1", Attempt: attempt, At: time.Now().UTC().Round(0)}
}

func must(tb testing.TB, errs ...error) {
	tb.Helper()
	for _, err := range errs {
		if err != nil {
			tb.Fatal(err)
		}
	}
}

// files returns the journals in dir.
func files(tb testing.TB, dir string) []string {
	tb.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "*.journal"))
	must(tb, err)
	return all
}

// afterCrash copies the journals in dir as they are at this moment to another directory, where nobody holds their
// locks: that is what a process that starts after a crash finds.
func afterCrash(tb testing.TB, dir string) string {
	tb.Helper()
	found := tb.TempDir()
	large, err := filepath.Glob(filepath.Join(dir, "*.answer"))
	must(tb, err)
	for _, path := range append(files(tb, dir), large...) {
		data, err := os.ReadFile(path)
		must(tb, err, os.WriteFile(filepath.Join(found, filepath.Base(path)), data, 0o600))
	}
	return found
}

// states returns what is pending, in words, by owner.
func states(j *journal.Journal) []string {
	var all []string
	for _, e := range j.Pending() {
		state := e.Owner + " begun"
		if e.Gated {
			state = e.Owner + " gated"
		}
		if e.Answer != nil {
			state += ", " + e.Answer.Outcome
		}
		all = append(all, state)
	}
	slices.Sort(all)
	return all
}

func wantStates(tb testing.TB, j *journal.Journal, want ...string) {
	tb.Helper()
	if got := states(j); !slices.Equal(got, want) {
		tb.Errorf("pending: %s; want %s", strings.Join(got, " | "), strings.Join(want, " | "))
	}
}
