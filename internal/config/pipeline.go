package config

import (
	"time"

	"reelay/events"
)

// Limits of the pipeline's settings.
const (
	MinPollInterval = 5 * time.Second
	MaxPollInterval = 30 * time.Second
	MaxReplicas     = 5
)

// Pipeline is how tasks are handled.
type Pipeline struct {
	// PollInterval is the time between two polls of a task, 5s to 30s.
	PollInterval time.Duration `help:"Time between two polls of a task at its provider, 5s to 30s." env:"REELAY_POLL_INTERVAL" default:"10s" placeholder:"DURATION"`
	// Timeout is the total time of a task whose request names none, 1s to 48h.
	Timeout time.Duration `help:"Total time of a task whose request names none, 1s to 48h." env:"REELAY_TIMEOUT" default:"30m" placeholder:"DURATION"`
	// Prices names a file of prices that take the place of the built-in ones.
	Prices string `help:"File of prices that take the place of the built-in ones, model by model." env:"REELAY_PRICES" placeholder:"FILE"`
	// Replicas of each stream, 1 to 5. It counts only when a stream is created.
	Replicas int `help:"Replicas of each stream when it is created, 1 to 5." env:"REELAY_REPLICAS" default:"1" placeholder:"N"`
}

// Validate checks every field against its limits. Its error is a SettingError.
func (p Pipeline) Validate() error {
	if err := between(p.PollInterval, MinPollInterval, MaxPollInterval); err != nil {
		return wrong("--poll-interval", "REELAY_POLL_INTERVAL", err)
	}
	if err := between(p.Timeout, events.MinTimeout, events.MaxTimeout); err != nil {
		return wrong("--timeout", "REELAY_TIMEOUT", err)
	}
	return wrong("--replicas", "REELAY_REPLICAS", between(p.Replicas, 1, MaxReplicas))
}
