package events

import (
	"time"
)

// StreamBroker is a stream that reelay's embedded broker keeps for itself: it writes a message there every few seconds
// to see whether its store accepts writes, and tells in the stream's metadata how it syncs. No other broker has it, and
// it is not one of Streams.
const StreamBroker = "REELAY_BROKER"

const (
	// BrokerSubject is that of the message in StreamBroker.
	BrokerSubject = "reelay.broker.canary"
	// BrokerSyncKey is the key of StreamBroker's metadata whose value is BrokerSyncAlways or BrokerSyncInterval.
	BrokerSyncKey = "reelay-sync"
	// BrokerSyncAlways acknowledges a write when it is on disk, BrokerSyncInterval before.
	BrokerSyncAlways   = "always"
	BrokerSyncInterval = "interval"
	// BrokerFresh is how old the last message in StreamBroker may be for its metadata to count as that of the broker that
	// runs now.
	BrokerFresh = time.Minute
)
