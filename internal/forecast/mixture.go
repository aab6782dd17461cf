package forecast

const (
	// shortHalfLife and longHalfLife are after how many samples what was learned counts half, in the two memories.
	shortHalfLife = 6
	longHalfLife  = 150
	// openness is the share of the odds that is dealt anew at each sample, so that who was wrong for long can come back.
	openness = 0.01
	// leastDensity is granted to every prophet: nothing is impossible.
	leastDensity = 1e-9
)

// The prophets of a history, by whose success a curve is mixed.
const (
	shortMemory = iota
	longMemory
	levelAbove
	prophets
)

// A history is what one level has learned of one span.
type history struct {
	Short memory            `json:"short"`
	Long  memory            `json:"long"`
	Odds  [prophets]float64 `json:"odds"`
}

func newHistory() (history, error) {
	h := history{Odds: [prophets]float64{0.25, 0.25, 0.5}}
	var err error
	if h.Short, err = newMemory(); err == nil {
		h.Long, err = newMemory()
	}
	return h, err
}

// believed mixes the prophets by their odds.
func (h *history) believed(over *Curve) *Curve {
	if h.Long.sketch.IsEmpty() {
		return over
	}
	return mix([]*Curve{shortMemory: h.Short.curve(), longMemory: h.Long.curve(), levelAbove: over}, h.Odds[:])
}

// learn weighs the prophets by how likely they held the span, then takes it in.
func (h *history) learn(seconds float64, over *Curve) error {
	if !h.Long.sketch.IsEmpty() {
		likely := [prophets]float64{
			shortMemory: h.Short.density(seconds), longMemory: h.Long.density(seconds), levelAbove: over.density(seconds),
		}
		total := 0.0
		for i := range h.Odds {
			h.Odds[i] *= likely[i] + leastDensity
			total += h.Odds[i]
		}
		for i := range h.Odds {
			h.Odds[i] = (1-openness)*h.Odds[i]/total + openness/prophets
		}
	}
	if err := h.Short.add(seconds, shortHalfLife); err != nil {
		return err
	}
	return h.Long.add(seconds, longHalfLife)
}

// valid reports whether what was stored can be used.
func (h *history) valid() bool {
	sum := 0.0
	for _, o := range h.Odds {
		if !(o >= 0) {
			return false
		}
		sum += o
	}
	return h.Short.sketch != nil && h.Long.sketch != nil && h.Short.sketch.IsEmpty() == h.Long.sketch.IsEmpty() && sum > 0.99 && sum < 1.01
}
