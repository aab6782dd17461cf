package journal_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"reelay/internal/journal"
)

// childDir tells a child of these tests where its journal is.
const childDir = "JOURNAL_TEST_DIR"

// child runs a test of this binary as a process of its own, and kills it once it says that it is ready.
func child(t *testing.T, test, dir string, atReady func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+test+"$", "-test.v")
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	stdout, err := cmd.StdoutPipe()
	must(t, err, cmd.Start())
	lines, ready := bufio.NewScanner(stdout), false
	var said []string
	for !ready && lines.Scan() {
		said = append(said, lines.Text())
		ready = lines.Text() == "ready"
	}
	if ready {
		atReady()
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if !ready {
		t.Fatalf("the child was not ready:\n%s", strings.Join(said, "\n"))
	}
}

// await says that all is as it should be, and waits to be killed.
func await() {
	fmt.Println("ready")
	select {}
}

// TestKilled: the lock of a process holds until it is killed, and what it had written is taken over.
func TestKilled(t *testing.T) {
	if dir := os.Getenv(childDir); dir != "" {
		j := open(t, dir, nil)
		must(t, j.Begin(entry("gated", 1)), j.Gate("gated"), j.Begin(entry("begun", 2)))
		must(t, j.Begin(entry("done", 3)), j.Gate("done"), j.Answer("done", journal.Answer{Outcome: "accepted"}),
			j.Done("done"))
		go await()
		select {}
	}
	dir := t.TempDir()
	child(t, "TestKilled", dir, func() {
		j := open(t, dir, nil)
		wantStates(t, j)
		must(t, j.Close())
	})
	j := open(t, dir, nil)
	wantStates(t, j, "begun begun", "gated gated")
	for attempt, want := range map[int]bool{1: true, 2: false, 3: true} {
		if err := j.Begin(entry("again", attempt)); errors.Is(err, journal.ErrClaimed) != want {
			t.Errorf("attempt %d begun again: %v, claimed %v", attempt, err, want)
		}
	}
}

// TestDiskFull: a write that does not fit is an error and permits nothing; half a line of it does not swallow the next.
// The child's files may not grow past a limit, which cuts a line in two as a full disk does.
func TestDiskFull(t *testing.T) {
	if dir := os.Getenv(childDir); dir != "" {
		signal.Ignore(syscall.SIGXFSZ)
		j := open(t, dir, nil)
		must(t, j.Begin(entry("a", 1)))
		info, err := os.Stat(files(t, dir)[0])
		must(t, err)
		limit := func(bytes uint64) {
			var was syscall.Rlimit
			must(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was))
			must(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: bytes, Max: was.Max}))
		}
		limit(uint64(info.Size()) + 20)
		for range 3 {
			if err := j.Begin(entry("b", 2)); !errors.Is(err, syscall.EFBIG) {
				t.Fatalf("begin on a full disk: %v", err)
			}
		}
		if err := j.Gate("a"); !errors.Is(err, syscall.EFBIG) {
			t.Fatalf("gate on a full disk: %v", err)
		}
		wantStates(t, j, "a begun")
		limit(1 << 30)
		must(t, j.Gate("a"))
		if t.Failed() {
			return
		}
		go await()
		select {}
	}
	dir := t.TempDir()
	child(t, "TestDiskFull", dir, func() {})
	j := open(t, dir, nil)
	wantStates(t, j, "a gated")
	if n := len(files(t, dir)); n != 1 {
		t.Errorf("%d files, want one", n)
	}
}
