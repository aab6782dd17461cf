package forecast

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/DataDog/sketches-go/ddsketch"
)

const (
	// accuracy is that of a sketch's values, maxBins how many it keeps; the lowest ones are lumped together first. That spans a
	// factor of 600 below the longest.
	accuracy = 0.025
	maxBins  = 128
	// leastWeight is the weight at which a bin is left out when a memory is stored.
	leastWeight = 0.001

	// With few samples their own spread says little: usualSpread, of the logarithm, counts as much as spreadWeight samples.
	usualSpread  = 0.4
	spreadWeight = 2
	// humpWeight is from how many samples on they may show that there is more than one hump.
	humpWeight = 20
	// widthPower is how fast the bells become narrower with the number of samples.
	widthPower = 0.25
)

// errMemory says that a stored memory is not one.
var errMemory = errors.New("not a memory of spans")

// A memory is a decayed sketch of spans in seconds.
type memory struct{ sketch *ddsketch.DDSketch }

func newMemory() (memory, error) {
	s, err := ddsketch.LogCollapsingLowestDenseDDSketch(accuracy, maxBins)
	return memory{s}, err
}

// add takes in a span; what was there counts half after halfLife spans.
func (m memory) add(seconds, halfLife float64) error {
	if !m.sketch.IsEmpty() {
		if err := m.sketch.Reweight(math.Exp2(-1 / halfLife)); err != nil {
			return err
		}
	}
	return m.sketch.Add(min(max(seconds, firstTime), maxSeconds))
}

// weight is how many samples the memory is worth.
func (m memory) weight() float64 { return m.sketch.GetCount() }

// width is that of the bell, in the logarithm of time, that each sample stands for: the wider the fewer they are. Silverman's rule is
// made for curves that are to look smooth; one that is narrower with many samples foretells better.
func (m memory) width() float64 {
	n, sum, square := m.weight(), 0.0, 0.0
	m.sketch.ForEach(func(value, count float64) bool {
		x := math.Log(value)
		sum += count * x
		square += count * x * x
		return false
	})
	own := max(0, square-sum*sum/n) // n times the variance
	spread := math.Sqrt((own + spreadWeight*usualSpread*usualSpread) / (n + spreadWeight))
	if n >= humpWeight {
		spread = min(spread, m.narrowest()) // the humps of a provider with fast and slow days stay apart
	}
	return max(logRatio, 0.9*spread*math.Pow(n, -widthPower))
}

// curve smooths the memory. It is nil for an empty one.
func (m memory) curve() *Curve {
	if m.sketch.IsEmpty() {
		return nil
	}
	width, mass := m.width(), make([]float64, gridCells)
	m.sketch.ForEach(func(value, count float64) bool {
		addBell(mass, value, count, width)
		return false
	})
	return newCurve(mass)
}

// density is that of curve at one time, without making it.
func (m memory) density(seconds float64) float64 {
	width, sum := m.width(), 0.0
	m.sketch.ForEach(func(value, count float64) bool {
		z := math.Log(seconds/value) / width
		sum += count * math.Exp(-z*z/2)
		return false
	})
	return sum / (m.weight() * width * math.Sqrt(2*math.Pi))
}

// narrowest returns the standard deviation, of the logarithm, of the bell whose middle third is as wide as the narrowest third of
// the samples.
func (m memory) narrowest() float64 {
	const third, width = 1.0 / 3, 2 * 0.4307 // of a standard bell
	var at, below []float64
	sum := 0.0
	m.sketch.ForEach(func(value, count float64) bool {
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

// maxSeconds is the longest span learned, a week; longer ones count as that.
const maxSeconds = 7 * 24 * 3600

// A bin is one of a sketch, as stored: its number and its weight.
type bin [2]float64

// MarshalJSON implements json.Marshaler. Weights keep four digits.
func (m memory) MarshalJSON() ([]byte, error) {
	bins := []bin{}
	m.sketch.ForEach(func(value, count float64) bool {
		if count >= leastWeight {
			scale := math.Pow(10, 3-math.Floor(math.Log10(count)))
			bins = append(bins, bin{float64(m.sketch.Index(value)), math.Round(count*scale) / scale})
		}
		return false
	})
	return json.Marshal(bins)
}

// UnmarshalJSON implements json.Unmarshaler. Its errors match errMemory or are those of JSON.
func (m *memory) UnmarshalJSON(data []byte) error {
	var bins []bin
	if err := json.Unmarshal(data, &bins); err != nil {
		return err
	}
	if len(bins) > maxBins {
		return fmt.Errorf("%w: %d bins are over the limit of %d", errMemory, len(bins), maxBins)
	}
	fresh, err := newMemory()
	if err != nil {
		return err
	}
	low, high := float64(fresh.sketch.Index(firstTime)), float64(fresh.sketch.Index(maxSeconds))
	for _, b := range bins {
		if b[0] < low || b[0] > high || b[0] != math.Trunc(b[0]) || !(b[1] > 0 && b[1] < 1e6) {
			return fmt.Errorf("%w: bin %v of weight %v", errMemory, b[0], b[1])
		}
		if err := fresh.sketch.AddWithCount(fresh.sketch.Value(int(b[0])), b[1]); err != nil {
			return fmt.Errorf("%w: %w", errMemory, err)
		}
	}
	*m = fresh
	return nil
}
