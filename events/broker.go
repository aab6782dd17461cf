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

// RecordsEvictedKey is a key of StreamTasks' metadata. It is there after a limit was mended by which the server may have
// dropped task records, and holds which limit it was, and when it was found. It stays until a person accepts the loss.
const RecordsEvictedKey = "reelay-evicted"

// RecordsRestoredKey and RecordsTakenKey are keys of StreamTasks' metadata: when a person has restored the stream from a
// backup, and when that was taken, in RFC 3339 by the second and in UTC. The records have forgotten what was sent between
// the two.
const (
	RecordsRestoredKey = "reelay-restored"
	RecordsTakenKey    = "reelay-backup-taken"
)

// A World says whether the tasks of a store are done by real providers, for money, or by emulators.
type World string

// WorldKey is the key of StreamTasks' metadata whose value is the World of the records: that of the first service with
// lanes that has opened the store.
const WorldKey = "reelay-world"

// The worlds.
const (
	WorldLive    World = "live"
	WorldSandbox World = "sandbox"
)
