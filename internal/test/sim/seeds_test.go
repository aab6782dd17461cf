package sim_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	seeds     = flag.Int("sim.seeds", 8, "how many seeds TestSeeds runs")
	firstSeed = flag.Uint64("sim.seed", 1, "the first seed of TestSeeds; with -sim.seeds=1 it replays one, with its logs")
	perSeed   = flag.Int("sim.tasks", 4, "tasks of each seed")
	workers   = flag.Int("sim.workers", runtime.NumCPU(),
		"processes that run seeds at the same time; 0 runs them in this one")
	report = flag.String("sim.report", "", "file for the figures of a part of the seeds, as JSON")
)

const (
	// perProcess seeds run in one process, so that its memory is bounded however many seeds there are.
	seedsPerProcess = 15
	// coverageSeeds is from how many seeds on every failpoint must have been crashed at.
	coverageSeeds = 300
	// failingShare is the least share of the calls to the providers that fail, in percent.
	failingShare = 30
)

// TestSeeds runs many tasks under random faults: a third of the calls to the providers fail, services die at any write
// or stall, the broker is stopped and started, two replicas of each service compete. After each seed the world is
// compared with the emulators' ledgers, and no task may have failed whose job the ledger shows as made. Bubbles cannot run side by side, so the seeds are spread over processes.
func TestSeeds(t *testing.T) {
	if testing.Short() {
		*seeds = min(*seeds, 6)
	}
	begin := time.Now()
	var sum *tally
	if *workers == 0 || *seeds == 1 {
		sum = series(t)
	} else {
		sum = parallel(t)
	}
	if *report != "" {
		if err := os.WriteFile(*report, sum.encode(), 0o600); err != nil {
			t.Error(err)
		}
		return
	}
	if t.Failed() {
		return // what failed is the last that is said
	}
	sum.log(t, time.Since(begin))
	alive, unknown := missing(sum.Hits)
	if len(unknown) > 0 {
		t.Errorf("failpoints that the table of points does not have: %q", unknown)
	}
	if sum.Seeds >= coverageSeeds {
		if len(alive) > 0 {
			t.Errorf("no service has died at %q", alive)
		}
		if share := sum.failing(); share < failingShare {
			t.Errorf("%d %% of the calls to the providers failed, want %d", share, failingShare)
		}
	}
}

// series runs the seeds in this process.
func series(t *testing.T) *tally {
	sum := newTally()
	for seed := *firstSeed; seed < *firstSeed+uint64(*seeds); seed++ {
		if !t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			sum.add(oneSeed(t, seed, *perSeed, *seeds > 1, drawWaits))
			sum.Seeds++
		}) {
			t.Fatalf("replay with: go test ./internal/test/sim -run 'TestSeeds$' -sim.seeds=1 -sim.seed=%d -sim.tasks=%d -v",
				seed, *perSeed)
		}
	}
	return sum
}

// parallel spreads the seeds over processes of this program.
func parallel(t *testing.T) *tally {
	type part struct{ first, n uint64 }
	parts := make(chan part)
	go func() {
		defer close(parts)
		for done := uint64(0); done < uint64(*seeds) && !t.Failed(); done += seedsPerProcess {
			parts <- part{*firstSeed + done, min(seedsPerProcess, uint64(*seeds)-done)}
		}
	}()
	var mu sync.Mutex
	var wg sync.WaitGroup
	sum, dir := newTally(), t.TempDir()
	for range min(*workers, (*seeds+seedsPerProcess-1)/seedsPerProcess) {
		wg.Go(func() {
			for p := range parts {
				got, err := process(t, dir, p.first, p.n)
				if err != nil {
					t.Error(err)
					continue
				}
				mu.Lock()
				sum.add(got)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return sum
}

// process runs n seeds in a process of their own.
func process(t *testing.T, dir string, first, n uint64) (*tally, error) {
	path := filepath.Join(dir, fmt.Sprint(first))
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSeeds$", "-test.timeout=3m", "-sim.workers=0",
		"-sim.report="+path, fmt.Sprint("-sim.seed=", first), fmt.Sprint("-sim.seeds=", n),
		fmt.Sprint("-sim.tasks=", *perSeed))
	out, err := cmd.CombinedOutput()
	if err != nil {
		kept := filepath.Join(os.TempDir(), fmt.Sprintf("reelay-sim-%d-%d.log", os.Getpid(), first))
		return nil, errors.Join(fmt.Errorf("seeds %d to %d: %w; all of it is in %s\n%s", first, first+n-1, err, kept,
			out[max(0, len(out)-maxOutputBytes):]),
			os.WriteFile(kept, out, 0o600))
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	sum := newTally()
	return sum, json.Unmarshal(text, sum)
}

// maxOutputBytes is how much of a failed process's output is shown.
const maxOutputBytes = 8 << 10

// failing is the share of the calls to the providers that failed on their way, in percent.
func (a *tally) failing() int {
	calls, failed := 0, 0
	for name, n := range a.Hits {
		switch {
		case strings.HasPrefix(name, "call "):
			calls += n
		case strings.HasSuffix(name, " late"):
		case strings.HasPrefix(name, "poll "), strings.HasPrefix(name, "submit "):
			failed += n
		}
	}
	return failed * 100 / max(1, calls)
}

func (a *tally) log(t *testing.T, took time.Duration) {
	t.Logf("%d seeds, %d task lives, %d hours of broker time in %v: %v; %d paid jobs; %d submits in doubt, %d of them "+
		"settled without a person, %d reported by a callback; "+
		"%d %% of the calls to the providers failed", a.Seeds, a.Lives, a.Minutes/60, took.Round(time.Second), a.Status,
		a.Jobs, a.InDoubt, a.ByItself, a.ByCallback, a.failing())
	died, fired := 0, 0
	for _, name := range slices.Sorted(maps.Keys(a.Hits)) {
		switch {
		case strings.HasPrefix(name, "died at "):
			died++
			fallthrough
		case !strings.HasPrefix(name, "reached ") && !strings.HasPrefix(name, "call "):
			fired += a.Hits[name]
		}
		t.Logf("%6d  %s", a.Hits[name], name)
	}
	t.Logf("%d faults; services died at %d of %d failpoints", fired, died, len(points()))
}
