// Package layout is what reelay needs of each stream and bucket of the contract, as one table, and what is wrong with
// one that exists. Whoever opens the streams mends what can be mended without loss; the guard stops spending over the
// rest, and the doctor says how to end it.
package layout

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/events/bucket"
)

// MinRecordBytes is what a message on the record stream may have at least: a record with its input, its raw result, its
// log and its attempts, each at their limits.
const MinRecordBytes = 256 << 10

// Payload fails where the server takes no message as large as a record may be (its max_payload): what was paid for could
// not be recorded.
func Payload(most int64) error {
	if most >= MinRecordBytes {
		return nil
	}
	return fmt.Errorf("the NATS server takes messages of %d bytes, and records need up to %d; raise max_payload in its "+
		"configuration", most, MinRecordBytes)
}

// A Need is one stream of the contract, that of a bucket included.
type Need struct {
	// Name is that of the stream, About how a person knows it: "stream REELAY_EVENTS", "bucket reelay_caps".
	Name, About string
	subjects    []string
	retention   jetstream.RetentionPolicy
	// precious says that money depends on what is stored: a restart of the broker may not lose it.
	precious bool
	// made is what is set beside that when the stream is made, and is the operator's from then on.
	made jetstream.StreamConfig
	// mend sets what can be set without loss.
	mend func(c *jetstream.StreamConfig)
}

// All returns every stream of the contract: that of the task records first.
func All() []Need {
	var all []Need
	for _, s := range events.Streams() {
		all = append(all, ofStream(s))
	}
	slices.SortStableFunc(all, func(a, b Need) int {
		return cmp.Compare(b2i(b.Name == events.StreamTasks), b2i(a.Name == events.StreamTasks))
	})
	for _, b := range bucket.All() {
		all = append(all, ofBucket(b))
	}
	return all
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Of returns the row of a stream.
func Of(stream string) Need {
	all := All()
	return all[slices.IndexFunc(all, func(n Need) bool { return n.Name == stream })]
}

func ofStream(s events.Stream) Need {
	n := Need{
		Name: s.Name, About: "stream " + s.Name, subjects: s.Subjects, precious: true,
		made: jetstream.StreamConfig{Description: s.Description},
		mend: func(c *jetstream.StreamConfig) { configure(c, s) },
	}
	if s.Retention == events.WorkQueue {
		n.retention = jetstream.WorkQueuePolicy
	}
	return n
}

// configure brings a stream to the table's settings, and leaves the operator's (replicas, placement, size limits,
// description) alone, but for limits that would drop task records.
func configure(c *jetstream.StreamConfig, s events.Stream) {
	c.Subjects, c.MaxAge = s.Subjects, s.MaxAge
	c.Duplicates = cmp.Or(s.Duplicates, c.Duplicates)
	c.MaxMsgsPerSubject = -1
	if s.MaxMsgsPerSubject > 0 {
		c.MaxMsgsPerSubject = s.MaxMsgsPerSubject
	}
	c.Discard, c.DiscardNewPerSubject = jetstream.DiscardOld, false
	if s.DiscardNew {
		c.Discard = jetstream.DiscardNew
		c.DiscardNewPerSubject = s.MaxMsgsPerSubject > 0
	}
	if s.KeyValue {
		c.AllowDirect, c.AllowRollup, c.AllowMsgTTL, c.AllowMsgSchedules = true, true, true, true
		c.SubjectDeleteMarkerTTL = events.MarkerAge
		c.MaxMsgs = -1
		if c.MaxMsgSize > 0 && c.MaxMsgSize < MinRecordBytes {
			c.MaxMsgSize = -1
		}
	}
}

func ofBucket(b bucket.Bucket) Need {
	n := Need{
		Name: bucket.Stream(b.Name), About: "bucket " + b.Name, subjects: []string{bucket.KeySubject(b.Name, ">")},
		precious: b.Precious,
		// As the clients' libraries make it, by ADR-8 and ADR-20 of NATS.
		made: jetstream.StreamConfig{
			Description: b.Description, MaxMsgsPerSubject: int64(max(1, b.History)), MaxAge: b.TTL,
			MaxMsgSize: cmp.Or(b.MaxValueBytes, -1), MaxMsgs: -1, MaxConsumers: -1, Discard: jetstream.DiscardNew,
			AllowRollup: true, AllowDirect: true, DenyDelete: true,
		},
	}
	if b.Objects {
		n.Name = bucket.ObjectStream(b.Name)
		n.subjects = []string{"$O." + b.Name + ".C.>", "$O." + b.Name + ".M.>"}
		n.made.MaxMsgsPerSubject, n.made.DenyDelete = -1, false
	}
	n.mend = func(c *jetstream.StreamConfig) {
		if b.Precious {
			// A limit refuses what is new; it may not take back what was set.
			c.Discard = jetstream.DiscardNew
			if b.TTL == 0 || c.MaxAge > 0 && c.MaxAge < b.TTL {
				c.MaxAge = b.TTL
			}
		}
		if b.MarkerAge > 0 {
			c.AllowMsgTTL, c.AllowRollup = true, true
			c.SubjectDeleteMarkerTTL = max(c.SubjectDeleteMarkerTTL, b.MarkerAge)
		}
	}
	return n
}

// Mend returns a stream's settings with all that can be mended without loss.
func (n Need) Mend(c jetstream.StreamConfig) jetstream.StreamConfig {
	c.NoAck, c.SubjectTransform = false, nil
	n.mend(&c)
	return c
}

// Make returns the settings with which the stream is made. A maxBytes of 0 sets no limit.
func (n Need) Make(replicas int, maxBytes int64) jetstream.StreamConfig {
	c := n.made
	c.Name, c.Subjects, c.Retention, c.Storage = n.Name, n.subjects, n.retention, jetstream.FileStorage
	c.Replicas, c.MaxBytes = max(1, replicas), cmp.Or(maxBytes, -1)
	return n.Mend(c)
}

// Foreign says what of a stream this build would leave unread; empty where it is nothing.
func (n Need) Foreign(c jetstream.StreamConfig) string {
	for _, subject := range c.Subjects {
		if !slices.Contains(n.subjects, subject) {
			return "it stores " + subject
		}
	}
	if c.Retention != n.retention {
		return fmt.Sprintf("its retention is %s", c.Retention)
	}
	return ""
}

// A Fault is one setting of a stream that breaks the contract.
type Fault struct {
	Stream, About string
	// Setting is its name as JetStream's API has it; Is and Needed are its values.
	Setting, Is, Needed string
	// Mendable says that a service mends it by itself, within a minute.
	Mendable bool
	// Todo is what a person can do.
	Todo string
}

// Error returns "<stream>: <setting> is <value>, and <value> is needed; <todo>".
func (f Fault) Error() string {
	text := fmt.Sprintf("%s: %s is %s, and %s is needed", f.About, f.Setting, f.Is, f.Needed)
	if f.Todo != "" {
		text += "; " + f.Todo
	}
	return text
}

// Evicts reports whether it is a limit by which the server drops task records.
func (f Fault) Evicts() bool {
	return f.Stream == events.StreamTasks && slices.Contains([]string{"max_msgs", "max_age"}, f.Setting)
}

// settings are those that are mended, by their names in JetStream's API.
var settings = []struct {
	name string
	of   func(jetstream.StreamConfig) any
}{
	{"subjects", func(c jetstream.StreamConfig) any { return c.Subjects }},
	{"max_msgs", func(c jetstream.StreamConfig) any { return c.MaxMsgs }},
	{"max_age", func(c jetstream.StreamConfig) any { return c.MaxAge }},
	{"max_msgs_per_subject", func(c jetstream.StreamConfig) any { return c.MaxMsgsPerSubject }},
	{"max_msg_size", func(c jetstream.StreamConfig) any { return c.MaxMsgSize }},
	{"discard", func(c jetstream.StreamConfig) any { return c.Discard }},
	{"discard_new_per_subject", func(c jetstream.StreamConfig) any { return c.DiscardNewPerSubject }},
	{"duplicate_window", func(c jetstream.StreamConfig) any { return c.Duplicates }},
	{"no_ack", func(c jetstream.StreamConfig) any { return c.NoAck }},
	{"subject_transform", func(c jetstream.StreamConfig) any { return c.SubjectTransform }},
	{"allow_direct", func(c jetstream.StreamConfig) any { return c.AllowDirect }},
	{"allow_rollup_hdrs", func(c jetstream.StreamConfig) any { return c.AllowRollup }},
	{"allow_msg_ttl", func(c jetstream.StreamConfig) any { return c.AllowMsgTTL }},
	{"allow_msg_schedules", func(c jetstream.StreamConfig) any { return c.AllowMsgSchedules }},
	{"subject_delete_marker_ttl", func(c jetstream.StreamConfig) any { return c.SubjectDeleteMarkerTTL }},
}

// Faults returns what is wrong with a stream as it is: what is not mendable first.
func (n Need) Faults(c jetstream.StreamConfig) []Fault {
	remake := fmt.Sprintf("let all tasks end, stop the services, `nats stream rm %s`, and start them again: they make it anew", n.Name)
	var all []Fault
	fault := func(wrong bool, setting string, is, needed any) {
		if wrong {
			all = append(all, Fault{n.Name, n.About, setting, fmt.Sprint(is), fmt.Sprint(needed), false, remake})
		}
	}
	if foreign := n.Foreign(c); foreign != "" { // then nobody mends the rest either
		return []Fault{{n.Name, n.About, "layout", "another (" + foreign + ")", "that of this build", false, remake}}
	}
	fault(n.precious && c.Storage != jetstream.FileStorage, "storage", c.Storage, jetstream.FileStorage)
	fault(n.precious && c.PersistMode == jetstream.AsyncPersistMode, "persist_mode", "async", "default")
	fault(c.Sealed, "sealed", true, false)
	fault(c.Mirror != nil, "mirror", "set", "none")
	fault(n.Name == events.StreamTasks && c.DenyPurge, "deny_purge", true, false)
	mended := n.Mend(c)
	for _, s := range settings {
		if is, needed := s.of(c), s.of(mended); !reflect.DeepEqual(is, needed) {
			all = append(all, Fault{n.Name, n.About, s.name, fmt.Sprint(is), fmt.Sprint(needed), true, ""})
		}
	}
	return all
}

// fullPercent is how full the record stream may be under a limit of max_bytes before nothing new is begun: beyond the
// limit the server drops the oldest records, those of running and paid tasks included. warnPercent is when that is told.
const warnPercent, fullPercent = 60, 80

// Room says how near the record stream is to the limit beyond which the server drops records: whether a person should
// hear of it, and whether nothing new may be begun. Where it has no limit both are false.
func Room(info *jetstream.StreamInfo) (percent int, warn, full bool) {
	limit := info.Config.MaxBytes
	if limit <= 0 {
		return 0, false, false
	}
	percent = int(float64(info.State.Bytes) / float64(limit) * 100)
	return percent, percent >= warnPercent, percent >= fullPercent
}

// FullError says that the record stream is too full for new tasks.
func FullError(percent int, limit int64) error {
	return fmt.Errorf("the task records fill %d %% of the limit of %s, beyond which the server drops them; raise it: "+
		"nats stream edit %s --max-bytes %d", percent, events.StreamTasks, events.StreamTasks, 2*limit)
}

// MarkEvicted is what the metadata of the record stream holds under events.RecordsEvictedKey after a limit was mended by
// which the server may have dropped records.
func MarkEvicted(f Fault, now time.Time) string {
	return fmt.Sprintf("%s %s, found at %s", f.Setting, f.Is, now.UTC().Format(time.RFC3339))
}
