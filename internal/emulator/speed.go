package emulator

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"time"
)

// A Speed is how long jobs take at an emulator unless a script says otherwise.
type Speed struct {
	// Queue is the time in the queue, Run the time at work.
	Queue time.Duration
	Run   time.Duration
	// Position is the place in the queue at acceptance.
	Position int
}

// SandboxSpeed makes a video in about five seconds.
func SandboxSpeed() Speed {
	return Speed{Queue: 1500 * time.Millisecond, Run: 3500 * time.Millisecond, Position: 2}
}

// Of returns the speed that script asks for, and p where the script is silent.
func (p Speed) Of(s Script) Speed {
	if s.QueueMS != nil {
		p.Queue = time.Duration(*s.QueueMS) * time.Millisecond
	}
	if s.RunMS != nil {
		p.Run = time.Duration(*s.RunMS) * time.Millisecond
	}
	if s.Position != nil {
		p.Position = *s.Position
	}
	return p
}

// A Draw gives each job a speed of its own. It must depend on nothing but the job's Model, At, Seq and Input, so that
// the state of a job stays derivable from the ledger.
type Draw func(Job) Speed

// Drawn draws both times by a seed and the number of the job: the same seed gives the n-th job of a ledger the same
// speed.
func Drawn(seed uint64, queue, run Dist) Draw {
	return func(j Job) Speed {
		h := fnv.New64a()
		_, _ = h.Write([]byte(j.Model)) // does not fail
		r := rand.New(rand.NewPCG(seed^h.Sum64(), j.Seq))
		return Speed{Queue: queue(r), Run: run(r)}
	}
}

// ByModel draws by the job's model, and by otherwise for a model without a row.
func ByModel(rows map[string]Draw, otherwise Draw) Draw {
	return func(j Job) Speed {
		if d, ok := rows[j.Model]; ok {
			return d(j)
		}
		return otherwise(j)
	}
}

// From draws for a provider that changes at a moment: jobs accepted then or later are drawn by after.
func From(at time.Time, before, after Draw) Draw {
	return func(j Job) Speed {
		if j.At.Before(at) {
			return before(j)
		}
		return after(j)
	}
}

// A Dist is a distribution of durations.
type Dist func(*rand.Rand) time.Duration

// Fixed is always d.
func Fixed(d time.Duration) Dist { return func(*rand.Rand) time.Duration { return d } }

// Lognormal has the median and the standard deviation sigma of its logarithm; 0.3 to 0.7 is what render times look
// like.
func Lognormal(median time.Duration, sigma float64) Dist {
	return func(r *rand.Rand) time.Duration {
		return time.Duration(float64(median) * math.Exp(sigma*r.NormFloat64()))
	}
}

// Between is the lognormal distribution of which eight in ten are from low to high, one in ten below and one above.
func Between(low, high time.Duration) Dist {
	const z90 = 1.2815515655446004 // the 90th percentile of a standard normal distribution
	median := math.Sqrt(float64(low)) * math.Sqrt(float64(high))
	return Lognormal(time.Duration(median), math.Log(float64(high)/float64(low))/(2*z90))
}

// Bimodal is from a with the probability share, else from b: a warm runner and a cold one.
func Bimodal(a, b Dist, share float64) Dist {
	return func(r *rand.Rand) time.Duration {
		if r.Float64() < share {
			return a(r)
		}
		return b(r)
	}
}

// Times takes factor times as long: 0.5 is twice as fast.
func (d Dist) Times(factor float64) Dist {
	return func(r *rand.Rand) time.Duration { return time.Duration(factor * float64(d(r))) }
}

// The rows of MiniMax's rule of thumb for how long a video takes from submit to end.
func Video480P() Dist  { return Between(2*time.Minute, 4*time.Minute) }
func Video720P() Dist  { return Between(4*time.Minute, 8*time.Minute) }
func Video1080P() Dist { return Between(6*time.Minute, 10*time.Minute) }
