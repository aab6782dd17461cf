package forecast

const (
	// shortHalfLife and longHalfLife are the samples after which a sample counts half, in the two sketches.
	shortHalfLife = 6
	longHalfLife  = 150
	// shareRate is the share of the odds that is redistributed at each sample (fixed share), so that a predictor that
	// was wrong can recover.
	shareRate = 0.01
	// minDensity is granted to every predictor, so that no odds become zero.
	minDensity = 1e-9
)

// The predictors of a mixture.
const (
	shortTerm = iota
	longTerm
	parentLevel
	predictors
)

// A mixture is what one level has learned about one duration: its predictors and their odds.
type mixture struct {
	Short sketch              `json:"short"`
	Long  sketch              `json:"long"`
	Odds  [predictors]float64 `json:"odds"`
}

func newMixture() (mixture, error) {
	m := mixture{Odds: [predictors]float64{0.25, 0.25, 0.5}}
	var err error
	if m.Short, err = newSketch(); err == nil {
		m.Long, err = newSketch()
	}
	return m, err
}

// posterior mixes the predictors by their odds.
func (m *mixture) posterior(parent *Curve) *Curve {
	if m.Long.dd.IsEmpty() {
		return parent
	}
	return mix([]*Curve{shortTerm: m.Short.curve(), longTerm: m.Long.curve(), parentLevel: parent}, m.Odds[:])
}

// learn updates the odds by how likely each predictor held the duration, then adds it to the sketches.
func (m *mixture) learn(seconds float64, parent *Curve) error {
	if !m.Long.dd.IsEmpty() {
		likely := [predictors]float64{
			shortTerm: m.Short.density(seconds), longTerm: m.Long.density(seconds), parentLevel: parent.density(seconds),
		}
		total := 0.0
		for i := range m.Odds {
			m.Odds[i] *= likely[i] + minDensity
			total += m.Odds[i]
		}
		for i := range m.Odds {
			m.Odds[i] = (1-shareRate)*m.Odds[i]/total + shareRate/predictors
		}
	}
	if err := m.Short.observe(seconds, shortHalfLife); err != nil {
		return err
	}
	return m.Long.observe(seconds, longHalfLife)
}

// valid reports whether a stored mixture can be used.
func (m *mixture) valid() bool {
	sum := 0.0
	for _, o := range m.Odds {
		if !(o >= 0) {
			return false
		}
		sum += o
	}
	return m.Short.dd != nil && m.Long.dd != nil && m.Short.dd.IsEmpty() == m.Long.dd.IsEmpty() && sum > 0.99 && sum < 1.01
}
