package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/layout"
	"reelay/internal/want"
)

// Limits of the pipeline's settings.
const (
	MinPollInterval = 5 * time.Second
	MaxPollInterval = 30 * time.Second
	MaxReplicas     = 5
	MinSends        = 4
	MaxSends        = 256
	MaxPolls        = 4096
	// A stream holds at least one message of any size that the pipeline makes.
	MinStreamBytes = 8 << 20
	MaxStreamBytes = 1 << 50
)

// Pipeline is how tasks are handled.
type Pipeline struct {
	// PollInterval is the time between two polls of a task, 5s to 30s.
	PollInterval time.Duration `help:"Time between two polls of a task at its provider, 5s to 30s." env:"REELAY_POLL_INTERVAL" default:"10s" placeholder:"DURATION"`
	// Timeout is the total time of a task whose request names none, 1s to 48h.
	Timeout time.Duration `help:"Total time of a task whose request names none, 1s to 48h." env:"REELAY_TIMEOUT" default:"30m" placeholder:"DURATION"`
	// MaxSends is how many tasks of a lane may be on their way to the provider at once, 4 to 256.
	MaxSends int `help:"Most tasks of a lane that are on their way to the provider at once, 4 to 256; it begins with 4." env:"REELAY_MAX_SENDS" default:"32" placeholder:"N"`
	// MaxPolls is how many polls of a lane may be under way at once in one poller, 1 to 4096.
	MaxPolls int `help:"Most polls of a lane that are under way at once in one poller, 1 to 4096." env:"REELAY_MAX_POLLS" default:"128" placeholder:"N"`
	// Prices names a file of prices that take the place of the built-in ones.
	Prices string `help:"File of prices that take the place of the built-in ones, model by model." env:"REELAY_PRICES" placeholder:"FILE"`
	// Default are the models that are taken where a request with a want names none.
	Default []string `help:"Model that is taken where a request with want names none; comma separated or repeated." env:"REELAY_DEFAULT" placeholder:"TYPE=PROVIDER:MODEL"`
	// Replicas of each stream, 1 to 5. It counts only when a stream is created.
	Replicas int `help:"Replicas of each stream when it is created, 1 to 5." env:"REELAY_REPLICAS" default:"1" placeholder:"N"`
	// JoinWorld is a person's word.
	JoinWorld bool `help:"Work on task records of the other world: with real providers on those of a sandbox, or the other way round." env:"REELAY_JOIN_WORLD"`
	// StreamMaxBytes are the bounds of streams. They count only when a stream is created.
	StreamMaxBytes []string `help:"Most bytes of a stream when it is created, for an account that requires it: * for every stream that is not named. Comma separated or repeated." env:"REELAY_STREAM_MAX_BYTES" placeholder:"STREAM=BYTES"`
}

// Validate checks every field against its limits. Its error is a SettingError.
func (p Pipeline) Validate() error {
	if err := between(p.PollInterval, MinPollInterval, MaxPollInterval); err != nil {
		return wrong("--poll-interval", "REELAY_POLL_INTERVAL", err)
	}
	if err := between(p.Timeout, events.MinTimeout, events.MaxTimeout); err != nil {
		return wrong("--timeout", "REELAY_TIMEOUT", err)
	}
	if err := between(p.MaxSends, MinSends, MaxSends); err != nil {
		return wrong("--max-sends", "REELAY_MAX_SENDS", err)
	}
	if err := between(p.MaxPolls, 1, MaxPolls); err != nil {
		return wrong("--max-polls", "REELAY_MAX_POLLS", err)
	}
	if _, err := want.NewPlanner(p.Default...); err != nil {
		return wrong("--default", "REELAY_DEFAULT", err)
	}
	if _, err := p.StreamBounds(); err != nil {
		return wrong("--stream-max-bytes", "REELAY_STREAM_MAX_BYTES", err)
	}
	return wrong("--replicas", "REELAY_REPLICAS", between(p.Replicas, 1, MaxReplicas))
}

// StreamBounds reads StreamMaxBytes. Its error names the entry.
func (p Pipeline) StreamBounds() (bus.StreamBytes, error) {
	all := bus.StreamBytes{}
	for _, entry := range p.StreamMaxBytes {
		stream, text, _ := strings.Cut(entry, "=")
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || between(n, MinStreamBytes, MaxStreamBytes) != nil {
			return nil, fmt.Errorf("%q is not STREAM=BYTES with %d to %d bytes", entry, int64(MinStreamBytes), int64(MaxStreamBytes))
		}
		known := stream == bus.EveryStream || slices.ContainsFunc(layout.All(), func(n layout.Need) bool { return n.Name == stream })
		if !known {
			return nil, fmt.Errorf("%q names no stream of reelay, nor %s", entry, bus.EveryStream)
		}
		all[stream] = n
	}
	return all, nil
}
