package account

import "reelay/events"

// falLimits: fal documents no limit of requests for its queue, and never refuses what has to wait for one of the account's runners
// (https://fal.ai/docs/model-apis/concurrency-limits): nothing is held back here unless fal says so.
func falLimits() map[string]events.ModelLimits { return nil }

// minimaxLimits are those of a paid account by https://platform.minimax.io/docs/guides/rate-limits, as read in October 2026; an account
// with a plan may have others. The API of MiniMax-H3 has its own, and a cap of tasks under way.
func minimaxLimits() map[string]events.ModelLimits {
	return map[string]events.ModelLimits{
		events.AnyModel: {Requests: 20},
		"MiniMax-H3":    {Requests: 300, InFlight: 30},
	}
}

// minimaxCrowded is MiniMax's code for too many tasks under way (https://platform.minimax.io/docs/api-reference/errorcode).
func minimaxCrowded() []string { return []string{"1041"} }

// Limits returns what a provider grants by default; nil if that is no limit, or nobody knows.
func Limits(name string) map[string]events.ModelLimits {
	switch name {
	case Fal:
		return falLimits()
	case Minimax:
		return minimaxLimits()
	}
	return nil
}
