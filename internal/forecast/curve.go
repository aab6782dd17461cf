package forecast

import (
	"math"
	"time"
)

const (
	// A curve is kept at times from firstTime seconds to about a week, each gridRatio of the one before.
	firstTime = 0.05
	gridRatio = 1.04
	gridCells = 416
	// minLog bounds the logarithm of a share, so that no duration is impossible.
	minLog = -690.0
)

var (
	logRatio = math.Log(gridRatio)
	times    = grid() // of all curves; never changed
)

// A Curve is a survival function: the share of tasks that take longer than a time. Between its points the hazard is
// constant. It is not changed once made.
type Curve struct {
	logs  []float64 // of the share that takes longer than times[i]
	sigma float64
}

// newCurve makes a curve from the mass of each cell. The sum of the masses has to be positive, but need not be 1.
func newCurve(mass []float64) *Curve {
	c := &Curve{logs: make([]float64, gridCells+1)}
	total, tail := 0.0, 0.0
	for _, m := range mass {
		total += m
	}
	mean, square := 0.0, 0.0
	for i, m := range mass {
		x := (float64(i) + 0.5) * logRatio
		mean += m / total * x
		square += m / total * x * x
	}
	c.sigma = math.Sqrt(max(0, square-mean*mean))
	c.logs[gridCells] = minLog
	for i := gridCells - 1; i > 0; i-- { // from the end, so that small shares are exact
		tail += mass[i]
		c.logs[i] = max(minLog, math.Log(min(1, tail/total)))
	}
	return c
}

func grid() (times [gridCells + 1]float64) {
	for i := range times {
		times[i] = firstTime * math.Exp(float64(i)*logRatio)
	}
	return times
}

// cellOf returns the cell that t seconds fall into.
func cellOf(t float64) int {
	if t <= firstTime {
		return 0
	}
	return min(gridCells-1, int(math.Log(t/firstTime)/logRatio))
}

// mass returns the share of tasks that end in a cell.
func (c *Curve) mass(cell int) float64 {
	return math.Exp(c.logs[cell]) - math.Exp(c.logs[cell+1])
}

// density returns the probability density of an end at t seconds, over the logarithm of time.
func (c *Curve) density(t float64) float64 { return c.mass(cellOf(t)) / logRatio }

// logLonger returns the logarithm of the share that takes longer than t seconds.
func (c *Curve) logLonger(t float64) float64 {
	if t <= 0 {
		return 0
	}
	if t < times[0] {
		return c.logs[0]
	}
	i := cellOf(t)
	return c.logs[i] - c.hazard(i)*(t-times[i])
}

// hazard returns the probability of an end per second within a cell.
func (c *Curve) hazard(cell int) float64 {
	return (c.logs[cell] - c.logs[cell+1]) / (times[cell+1] - times[cell])
}

// Longer returns the share of tasks that takes longer than d, from 0 to 1.
func (c *Curve) Longer(d time.Duration) float64 { return math.Exp(c.logLonger(d.Seconds())) }

// Remaining returns the time after which a task that has taken elapsed so far will have ended with probability p,
// between 0 and 1.
func (c *Curve) Remaining(elapsed time.Duration, p float64) time.Duration {
	return toDuration(c.remaining(elapsed.Seconds(), p))
}

func (c *Curve) remaining(elapsed, p float64) float64 {
	want := c.logLonger(elapsed) + math.Log1p(-p)
	low, high := 0, gridCells // the first point at which no more than want take longer
	for low < high {
		if mid := (low + high) / 2; c.logs[mid] <= want {
			high = mid
		} else {
			low = mid + 1
		}
	}
	if low == 0 {
		return max(0, times[0]-elapsed)
	}
	cell := min(low, gridCells) - 1
	hazard := c.hazard(cell)
	if hazard <= 0 {
		return max(0, times[low]-elapsed)
	}
	return max(0, times[cell]+(c.logs[cell]-want)/hazard-elapsed)
}

// mix returns the curve of a mixture. The shares sum to 1; a nil curve has none.
func mix(curves []*Curve, shares []float64) *Curve {
	mass := make([]float64, gridCells)
	for k, c := range curves {
		if c == nil || shares[k] <= 0 {
			continue
		}
		for i := range mass {
			mass[i] += shares[k] * c.mass(i)
		}
	}
	return newCurve(mass)
}

// addKernel spreads weight over the cells as a normal kernel around the logarithm of t seconds, cut off at five
// widths.
func addKernel(mass []float64, t, weight, width float64) {
	at := math.Log(t / firstTime)
	first := max(0, int((at-5*width)/logRatio))
	last := min(gridCells-1, int((at+5*width)/logRatio))
	if last < first { // outside of the grid altogether
		first = max(0, min(gridCells-1, first))
		mass[first] += weight
		return
	}
	below := 0.0
	for i := first; i < last; i++ {
		upto := normalBelow((float64(i+1)*logRatio - at) / width)
		mass[i] += weight * (upto - below)
		below = upto
	}
	mass[last] += weight * (1 - below)
}

func normalBelow(z float64) float64 { return math.Erfc(-z/math.Sqrt2) / 2 }

// lognormal returns the curve of a median in seconds and the standard deviation of the logarithm.
func lognormal(median, sigma float64) *Curve {
	mass := make([]float64, gridCells)
	addKernel(mass, median, 1, sigma)
	return newCurve(mass)
}

// toDuration makes a Duration of seconds, however many.
func toDuration(seconds float64) time.Duration {
	if !(seconds < 1e9) {
		return math.MaxInt64
	}
	return time.Duration(max(0, seconds) * float64(time.Second))
}
