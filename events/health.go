package events

import (
	"strings"
	"time"
)

const (
	// HealthBucket is the KV bucket of what each poller has learned about the callbacks of each lane: one CallbackHealth as JSON under each
	// HealthKey. It is for people: nothing is decided by it.
	HealthBucket = "reelay_health"
	// HealthAge is how long the figures of a poller stand that sees no more tasks end.
	HealthAge = time.Hour
)

// HealthKey is the key in HealthBucket of what one poller, named by a NATS token, has learned about a lane.
func HealthKey(lane, poller string) string { return lane + "." + poller }

// LaneOfHealth returns the lane that a key of HealthBucket is about.
func LaneOfHealth(key string) string {
	lane, _, _ := strings.Cut(key, ".")
	return lane
}
