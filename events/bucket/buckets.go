package bucket

import (
	"strings"
	"time"

	"reelay/events"
)

// A Bucket describes one KV bucket or object store. Zero fields mean JetStream's default. All are file-backed and are
// created from this table; the settings of one that exists are the operator's, but for what a precious one needs.
type Bucket struct {
	Name        string
	Description string
	// History is how many values of each key are kept, the current one included.
	History uint8
	// TTL is how long a value is kept after its last change; 0 for ever.
	TTL time.Duration
	// MaxValueBytes is the largest value; 0 is no bound but the server's.
	MaxValueBytes int32
	// MarkerAge, where set, allows keys with a lifetime of their own, and is how long the marker of one stays that has
	// ended.
	MarkerAge time.Duration
	// Objects marks an object store.
	Objects bool
	// Precious says that money depends on what is kept: a pause, a cap or an input that vanishes is not made anew.
	Precious bool
}

// settingHistory is how many settings of a lane or a cap are kept, so that one can see who did what.
const settingHistory = 16

// All returns every KV bucket and object store of the contract but TaskBucket, which is one of Streams.
func All() []Bucket {
	return []Bucket{
		{Name: events.ObjectBucket, Description: "inputs and raw results too large for a record", TTL: events.RecordAge, Objects: true, Precious: true},
		{Name: events.InputBucket, Description: "files that requests name", TTL: events.InputAge, Objects: true, Precious: true},
		{Name: Lanes, Description: "pauses and limits of lanes", History: settingHistory, Precious: true},
		{Name: Health, Description: "how well the callbacks of each lane arrive, by poller", TTL: HealthAge},
		{
			Name: Forecasts, Description: "how long providers take, learned from finished tasks", TTL: ForecastAge,
			MaxValueBytes: MaxForecastBytes,
		},
		{
			Name: Schemas, Description: "what inputs the models of providers take, as they serve it", TTL: SchemaAge,
			MaxValueBytes: MaxSchemaBytes,
		},
		{Name: Caps, Description: "limits on what may be spent in a day", History: settingHistory, Precious: true},
		{Name: Quotas, Description: "what projects may do", History: settingHistory, Precious: true},
		{Name: Spend, Description: "what is taken of the caps, by day", TTL: SpendAge, Precious: true},
		{Name: Uploads, Description: "what providers call the files that they were given", TTL: UploadAge},
		{
			Name: Leases, Description: "who dispatches which lane, and what was learned of its provider",
			MarkerAge: leaseMarkerAge,
		},
	}
}

// Artifacts is the object store that the archiver keeps outputs in where it is told no other. It makes it itself.
const Artifacts = "reelay_artifacts"

// Stream is the stream that holds a KV bucket.
func Stream(bucket string) string { return "KV_" + bucket }

// ObjectStream is the stream that holds an object store.
func ObjectStream(bucket string) string { return "OBJ_" + bucket }

// KeySubject is the stream subject of a key in a KV bucket.
func KeySubject(bucket, key string) string { return "$KV." + bucket + "." + key }

const (
	// Health is the KV bucket of what each poller has learned about the callbacks and the ends of each lane: one LaneHealth
	// as JSON under each HealthKey. It is for people: nothing is decided by it.
	Health = "reelay_health"
	// HealthAge is how long the figures of a poller stay that sees no more tasks end.
	HealthAge = time.Hour
)

// HealthKey is the key in Health of what one poller, named by a NATS token, has learned about a lane.
func HealthKey(lane, poller string) string { return lane + "." + poller }

// LaneOfHealth returns the lane that a key of Health is about.
func LaneOfHealth(key string) string {
	lane, _, _ := strings.Cut(key, ".")
	return lane
}
