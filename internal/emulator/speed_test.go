package emulator

import (
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"
)

// quantile draws often enough that it is right to a percent or two.
func quantile(d Dist, q float64) time.Duration {
	r := rand.New(rand.NewPCG(1, 2))
	all := make([]time.Duration, 20_001)
	for i := range all {
		all[i] = d(r)
	}
	slices.Sort(all)
	return all[int(q*float64(len(all)-1))]
}

func TestDistributions(t *testing.T) {
	t.Parallel()
	near := func(a, b time.Duration) bool { return math.Abs(float64(a)/float64(b)-1) < 0.03 }
	for _, row := range []struct {
		name string
		d    Dist
		q    float64
		want time.Duration
	}{
		{"fixed", Fixed(time.Minute), 0.99, time.Minute},
		{"median", Lognormal(time.Minute, 0.7), 0.5, time.Minute},
		{"one sigma above", Lognormal(time.Minute, 0.7), 0.8413, time.Duration(float64(time.Minute) * math.Exp(0.7))},
		{"480p, low", Video480P(), 0.1, 2 * time.Minute},
		{"480p, high", Video480P(), 0.9, 4 * time.Minute},
		{"720p, low", Video720P(), 0.1, 4 * time.Minute},
		{"720p, high", Video720P(), 0.9, 8 * time.Minute},
		{"1080p, low", Video1080P(), 0.1, 6 * time.Minute},
		{"1080p, high", Video1080P(), 0.9, 10 * time.Minute},
		{"twice as fast", Video1080P().Times(0.5), 0.9, 5 * time.Minute},
		{"bimodal, most", Bimodal(Fixed(time.Second), Fixed(time.Minute), 0.8), 0.79, time.Second},
		{"bimodal, few", Bimodal(Fixed(time.Second), Fixed(time.Minute), 0.8), 0.81, time.Minute},
	} {
		if got := quantile(row.d, row.q); !near(got, row.want) {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
	}
}

func TestDraws(t *testing.T) {
	t.Parallel()
	d := Drawn(1, Fixed(time.Second), Video480P())
	a := Job{Model: "m", Seq: 1, ID: "any", At: epoch}
	again := a
	again.ID = "other" // ids differ between two runs of the same world
	if d(a) != d(again) {
		t.Errorf("%v and %v for the same number", d(a), d(again))
	}
	if p := d(a); p.Queue != time.Second || p.Run <= 0 {
		t.Errorf("speed %v", p)
	}
	seen := map[time.Duration]bool{}
	for i := range uint64(100) {
		seen[d(Job{Model: "m", Seq: i}).Run] = true
	}
	if len(seen) != 100 {
		t.Errorf("%d different times of 100 jobs", len(seen))
	}
	if other := Drawn(2, Fixed(time.Second), Video480P()); other(a) == d(a) {
		t.Error("another seed draws the same")
	}
	if d(Job{Model: "n", Seq: 1}) == d(a) {
		t.Error("another model draws the same")
	}

	fixed := func(s int) Draw {
		return func(Job) Speed { return Speed{Run: time.Duration(s) * time.Second} }
	}
	by := ByModel(map[string]Draw{"m": fixed(1)}, fixed(2))
	change := From(epoch, fixed(3), fixed(4))
	for _, row := range []struct {
		draw Draw
		job  Job
		s    int
	}{
		{by, Job{Model: "m"}, 1},
		{by, Job{Model: "x"}, 2},
		{change, Job{At: epoch.Add(-1)}, 3},
		{change, Job{At: epoch}, 4},
	} {
		if got := row.draw(row.job).Run; got != time.Duration(row.s)*time.Second {
			t.Errorf("%+v: %v, want %s s", row.job, got, strconv.Itoa(row.s))
		}
	}
}
