package forecast

import "reelay/events"

// prior is what is expected of a task type before anything was learned: a lognormal, in seconds, right within an
// order of magnitude. MiniMax's guide has 2 to 10 minutes for a video, by resolution and model; images and speech
// come in seconds, a song in minutes.
type prior struct{ median, sigma float64 }

func priorOf(t events.TaskType) prior {
	switch t {
	case events.Image:
		return prior{10, 1.1}
	case events.Audio:
		return prior{30, 1.2}
	case events.Speech, events.Voice:
		return prior{10, 1.2}
	default:
		return prior{180, 1}
	}
}

// curves returns the curve of each stage; the provider's wait may be nothing or most of the whole.
func (p prior) curves() [stages]*Curve {
	whole := lognormal(p.median, p.sigma)
	return [stages]*Curve{Wait: lognormal(p.median/10, 2), Run: whole, Whole: whole}
}
