// Package disk is what can be known of a store from outside: how much room its disk has, whether files can be written there,
// and what reelay's embedded broker says of itself.
package disk

import "time"

// Stream is a stream that the embedded broker keeps for itself: it writes a message there every few seconds to see whether its
// store takes writes, and tells in the stream's metadata how it syncs. No other broker has it.
const (
	Stream = "REELAY_BROKER"
	// Subject is that of the message.
	Subject = "reelay.broker.canary"
	// SyncKey is the metadata key whose value is "always" or "interval".
	SyncKey = "reelay-sync"
	// SyncAlways is the value of SyncKey when a write is on disk before it is acknowledged.
	SyncAlways = "always"
)

// Fresh is how old the last message in Stream may be for its metadata to be taken as that of the broker that runs now.
const Fresh = time.Minute
