package forecast

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/DataDog/sketches-go/ddsketch"
)

const (
	// accuracy is the relative error of a sketch's values, maxBins how many bins it keeps; the lowest ones are merged
	// first. That covers a factor of 600 below the longest.
	accuracy = 0.025
	maxBins  = 128
	// minWeight is the weight below which a bin is left out when a sketch is stored.
	minWeight = 0.001

	// A few samples say little about their own spread: priorSigma, of the logarithm, counts as much as priorWeight
	// samples.
	priorSigma  = 0.4
	priorWeight = 2
	// From multimodalWeight samples on, the distribution may have more than one mode.
	multimodalWeight = 20
	// bandwidthPower is how fast the kernels become narrower with the number of samples.
	bandwidthPower = 0.25
)

// errSketch says that a stored sketch cannot be read.
var errSketch = errors.New("not a sketch of durations")

// A sketch is a decayed quantile sketch of durations in seconds.
type sketch struct{ dd *ddsketch.DDSketch }

func newSketch() (sketch, error) {
	s, err := ddsketch.LogCollapsingLowestDenseDDSketch(accuracy, maxBins)
	return sketch{s}, err
}

// observe adds a duration; the older ones count half after halfLife more.
func (s sketch) observe(seconds, halfLife float64) error {
	if !s.dd.IsEmpty() {
		if err := s.dd.Reweight(math.Exp2(-1 / halfLife)); err != nil {
			return err
		}
	}
	return s.dd.Add(min(max(seconds, firstTime), maxSeconds))
}

// weight is the number of samples that the sketch is worth.
func (s sketch) weight() float64 { return s.dd.GetCount() }

// bandwidth is the width of the kernel, in the logarithm of time, of each sample: the fewer there are, the wider.
// Silverman's rule is made for curves that look smooth; one that is narrower with many samples predicts better.
func (s sketch) bandwidth() float64 {
	n, sum, square := s.weight(), 0.0, 0.0
	s.dd.ForEach(func(value, count float64) bool {
		x := math.Log(value)
		sum += count * x
		square += count * x * x
		return false
	})
	own := max(0, square-sum*sum/n) // n times the variance
	spread := math.Sqrt((own + priorWeight*priorSigma*priorSigma) / (n + priorWeight))
	if n >= multimodalWeight {
		spread = min(spread, s.narrowestSigma()) // the modes of a provider with fast and slow days stay apart
	}
	return max(logRatio, 0.9*spread*math.Pow(n, -bandwidthPower))
}

// curve smooths the sketch. It is nil for an empty one.
func (s sketch) curve() *Curve {
	if s.dd.IsEmpty() {
		return nil
	}
	width, mass := s.bandwidth(), make([]float64, gridCells)
	s.dd.ForEach(func(value, count float64) bool {
		addKernel(mass, value, count, width)
		return false
	})
	return newCurve(mass)
}

// density is that of curve at one time, without building it.
func (s sketch) density(seconds float64) float64 {
	width, sum := s.bandwidth(), 0.0
	s.dd.ForEach(func(value, count float64) bool {
		z := math.Log(seconds/value) / width
		sum += count * math.Exp(-z*z/2)
		return false
	})
	return sum / (s.weight() * width * math.Sqrt(2*math.Pi))
}

// narrowestSigma returns the standard deviation, of the logarithm, of the normal distribution whose middle third is
// as wide as the narrowest third of the samples.
func (s sketch) narrowestSigma() float64 {
	const third, width = 1.0 / 3, 2 * 0.4307 // of a standard normal
	var at, below []float64
	sum := 0.0
	s.dd.ForEach(func(value, count float64) bool {
		at, below = append(at, math.Log(value)), append(below, sum)
		sum += count
		return false
	})
	least := math.Inf(1)
	for first, last := 0, 0; first < len(at); first++ {
		for last < len(at) && below[last]-below[first] < third*sum {
			last++
		}
		if last == len(at) {
			break
		}
		least = min(least, at[last]-at[first])
	}
	return least / width
}

// maxSeconds is the longest duration learned, a week; longer ones count as that.
const maxSeconds = 7 * 24 * 3600

// A bin is one of a sketch, as stored: its index and its weight.
type bin [2]float64

// MarshalJSON implements json.Marshaler. Weights keep four digits.
func (s sketch) MarshalJSON() ([]byte, error) {
	bins := []bin{}
	s.dd.ForEach(func(value, count float64) bool {
		if count >= minWeight {
			scale := math.Pow(10, 3-math.Floor(math.Log10(count)))
			bins = append(bins, bin{float64(s.dd.Index(value)), math.Round(count*scale) / scale})
		}
		return false
	})
	return json.Marshal(bins)
}

// UnmarshalJSON implements json.Unmarshaler. Its errors match errSketch or are those of JSON.
func (s *sketch) UnmarshalJSON(data []byte) error {
	var bins []bin
	if err := json.Unmarshal(data, &bins); err != nil {
		return err
	}
	if len(bins) > maxBins {
		return fmt.Errorf("%w: %d bins are over the limit of %d", errSketch, len(bins), maxBins)
	}
	fresh, err := newSketch()
	if err != nil {
		return err
	}
	low, high := float64(fresh.dd.Index(firstTime)), float64(fresh.dd.Index(maxSeconds))
	for _, b := range bins {
		if b[0] < low || b[0] > high || b[0] != math.Trunc(b[0]) || !(b[1] > 0 && b[1] < 1e6) {
			return fmt.Errorf("%w: bin %v of weight %v", errSketch, b[0], b[1])
		}
		if err := fresh.dd.AddWithCount(fresh.dd.Value(int(b[0])), b[1]); err != nil {
			return fmt.Errorf("%w: %w", errSketch, err)
		}
	}
	*s = fresh
	return nil
}
