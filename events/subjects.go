package events

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// The first tokens of every subject reelay uses. Subjects are built and parsed only by the functions of this file.
const (
	requestPrefix   = "reelay.request."
	commandPrefix   = "reelay.command."
	heartbeatPrefix = "reelay.heartbeat."
	pollPrefix      = "reelay.poll."
	callbackPrefix  = "reelay.callback."
	claimPrefix     = "reelay.claim."
	// root begins all subjects but those of the server.
	root        = "reelay."
	eventPrefix = "reelay.event."
	apiPrefix   = "reelay.api."
	deadPrefix  = "reelay.dead."
	lanePrefix  = "reelay.lane."

	// TaskBucket is the KV bucket that holds one record per task under the key <project>.<task>.
	TaskBucket = "reelay_tasks"
	// ObjectBucket is the object store bucket that holds inputs and raw results over MaxInlineBytes, and the files that a
	// provider has sent as long data: URLs.
	ObjectBucket = "reelay_objects"

	recordPrefix = "$KV." + TaskBucket + "."
)

const (
	// DefaultProject is the project a client names when it has no other.
	DefaultProject = "default"
	// InvalidProject is the project under which requests are refused whose subject names no valid project.
	InvalidProject = "_invalid"
	// LanesProject is the project under which the events of lanes are published.
	LanesProject = "_lanes"
	// MaxTokenBytes is the longest project, task id, batch or lane name.
	MaxTokenBytes = 64
)

var tokenPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// ValidToken reports whether s can be a project, a task id or a lane: 1 to 64 characters of A-Z, a-z, 0-9, "_" and "-".
func ValidToken(s string) bool { return tokenPattern.MatchString(s) }

// ValidReply reports whether an answer may be sent to a subject: to one of the asker's own, and to none that is reelay's
// or the server's, where it would be taken for a request, an event or a record. A server does not check it.
func ValidReply(subject string) bool {
	return !strings.HasPrefix(subject, root) && !strings.HasPrefix(subject, "$")
}

// A Key names one task: its project and its id.
type Key struct {
	Project string
	ID      string
}

// String returns the key as it stands in the KV bucket: <project>.<task>.
func (k Key) String() string { return k.Project + "." + k.ID }

// Valid reports whether both halves of k are valid tokens.
func (k Key) Valid() bool { return ValidToken(k.Project) && ValidToken(k.ID) }

// ParseKey reads a KV key <project>.<task>.
func ParseKey(s string) (Key, error) {
	project, id, ok := strings.Cut(s, ".")
	k := Key{Project: project, ID: id}
	if !ok || !k.Valid() {
		return Key{}, fmt.Errorf("%w: key %q is not <project>.<task>", ErrSubject, s)
	}
	return k, nil
}

// RequestSubject is where clients publish a request: reelay.request.<project>.<task_type>.
func RequestSubject(project string, t TaskType) string {
	return requestPrefix + project + "." + string(t)
}

// CommandSubject is where clients publish a durable command: reelay.command.<project>.<task>.<verb>.
func CommandSubject(k Key, v CommandVerb) string {
	return commandPrefix + k.String() + "." + string(v)
}

// IntakeFilter matches the requests and commands of a project.
func IntakeFilter(project string) string { return root + "*." + project + ".>" }

// RecordSubject is the stream subject of a task's KV record.
func RecordSubject(k Key) string { return recordPrefix + k.String() }

// RecordFilter matches the record of every task.
func RecordFilter() string { return recordPrefix + ">" }

// HeartbeatSubject is where the server's scheduler publishes the heartbeat of a task.
func HeartbeatSubject(k Key) string { return heartbeatPrefix + k.String() }

// Headers of a poll ticket that brings the record as it was when it was made: the record's revision, and the version up
// to which all events of the task are stored. A ticket without a body has none; no ticket is ever changed.
const (
	HeaderTicketRevision = "Reelay-Revision"
	HeaderTicketStored   = "Reelay-Stored"
)

// PollSubject holds the poll ticket of a task at a provider.
func PollSubject(lane string, k Key) string { return pollPrefix + lane + "." + k.String() }

// PollFilter matches every poll ticket of a lane.
func PollFilter(lane string) string { return pollPrefix + lane + ".>" }

// CallbackSubject is where the webhook service publishes one verified provider callback.
func CallbackSubject(lane string, k Key) string { return callbackPrefix + lane + "." + k.String() }

// ClaimSubject holds the one message that says which attempt took a provider id of a lane. An id that is no valid token
// is named by its SHA-256, in hex.
func ClaimSubject(lane, providerID string) string {
	if !ValidToken(providerID) {
		sum := sha256.Sum256([]byte(providerID))
		providerID = hex.EncodeToString(sum[:])
	}
	return claimPrefix + lane + "." + providerID
}

// Everything of its kind, for subscriptions and rights.
const (
	APIFilter   = apiPrefix + ">"
	AllEvents   = eventPrefix + ">"
	ClaimFilter = claimPrefix + ">"
)

// ClaimHolder names an attempt: the body of the message on a ClaimSubject.
func ClaimHolder(k Key, attempt int) string { return k.String() + "." + strconv.Itoa(attempt) }

// EventSubject is where an event of a task is published, stored and heard: reelay.event.<project>.<task>.<event>.
func EventSubject(k Key, t EventType) string {
	return eventPrefix + k.String() + "." + string(t)
}

// IsCommandSubject reports whether a subject is below reelay.command, well formed or not.
func IsCommandSubject(subject string) bool { return strings.HasPrefix(subject, commandPrefix) }

// EventFilter matches the events of a type, of every task.
func EventFilter(t EventType) string { return eventPrefix + "*.*." + string(t) }

// RejectedFilter matches the rejected events of a project.
func RejectedFilter(project string) string {
	return EventSubject(Key{Project: project, ID: "*"}, EventRejected)
}

// DeadSubject is where the dead letters of a stream's consumer are stored.
func DeadSubject(stream, consumer string) string { return deadPrefix + stream + "." + consumer }

// LanePositionsSubject is where the dispatcher of a lane answers a PositionsRequest. It is for services only.
func LanePositionsSubject(lane string) string { return lanePrefix + lane + ".positions" }

// LaneSchemaSubject is where the dispatcher of a lane answers a SchemaRequest. It is for services only.
func LaneSchemaSubject(lane string) string { return lanePrefix + lane + ".schema" }

// APISubject is the request-reply subject of a verb; tokens are the project and, where the verb has one, the task or
// task type.
func APISubject(v Verb, tokens ...string) string {
	return apiPrefix + strings.Join(append([]string{string(v)}, tokens...), ".")
}

// ParseRequestSubject reads the project and task type of a request subject. It fails with a FieldError that names the
// token; a project that could be read is returned even so.
func ParseRequestSubject(subject string) (project string, t TaskType, err error) {
	tokens := strings.Split(strings.TrimPrefix(strings.TrimSuffix(subject, byAPI), requestPrefix), ".")
	if !strings.HasPrefix(subject, requestPrefix) || len(tokens) != 2 {
		return "", "", fieldError("subject", "%q is not reelay.request.<project>.<task_type>", subject)
	}
	if !ValidToken(tokens[0]) {
		return "", "", fieldError("subject", "project %q is not 1 to %d characters of A-Z a-z 0-9 _ -", tokens[0],
			MaxTokenBytes)
	}
	t = TaskType(tokens[1])
	if !t.Valid() {
		return tokens[0], "", fieldError("subject", "task type %q is not one of %s", tokens[1], joined(TaskTypes()))
	}
	return tokens[0], t, nil
}

// ParseCommandSubject reads the task and verb of a command subject. It fails with a FieldError that names the token; a
// key that could be read is returned even so.
func ParseCommandSubject(subject string) (Key, CommandVerb, error) {
	tokens := strings.Split(strings.TrimPrefix(strings.TrimSuffix(subject, byAPI), commandPrefix), ".")
	if !strings.HasPrefix(subject, commandPrefix) || len(tokens) != 3 {
		return Key{}, "", fieldError("subject", "%q is not reelay.command.<project>.<task>.<verb>", subject)
	}
	k, v := Key{tokens[0], tokens[1]}, CommandVerb(tokens[2])
	if !ValidToken(k.Project) {
		return Key{}, "", fieldError("subject", "project %q is not 1 to %d characters of A-Z a-z 0-9 _ -", k.Project,
			MaxTokenBytes)
	}
	if !ValidToken(k.ID) {
		return Key{}, "", fieldError("subject", "task %q is not 1 to %d characters of A-Z a-z 0-9 _ -", k.ID, MaxTokenBytes)
	}
	if v != CommandCancel && v != CommandResolve {
		return k, "", fieldError("subject", "verb %q is not cancel or resolve", tokens[2])
	}
	return k, v, nil
}

// ParseHeartbeatSubject reads the task of a heartbeat.
func ParseHeartbeatSubject(subject string) (Key, error) {
	return parseKeyAfter(subject, heartbeatPrefix)
}

// ParseRecordSubject reads the task of a record's stream subject.
func ParseRecordSubject(subject string) (Key, error) { return parseKeyAfter(subject, recordPrefix) }

// ParsePollSubject reads the lane and task of a poll ticket.
func ParsePollSubject(subject string) (lane string, k Key, err error) {
	return parseLaneAndKey(subject, pollPrefix)
}

// ParseCallbackSubject reads the lane and task of a provider callback.
func ParseCallbackSubject(subject string) (lane string, k Key, err error) {
	return parseLaneAndKey(subject, callbackPrefix)
}

// ParseEventSubject reads the task and type of an event. It fails with ErrSubject, or, for a type this build does not
// know, with ErrUnknownType.
func ParseEventSubject(subject string) (Key, EventType, error) {
	rest, ok := strings.CutPrefix(subject, eventPrefix)
	dot := strings.LastIndexByte(rest, '.')
	if !ok || dot < 0 {
		return Key{}, "", fmt.Errorf("%w: %q is not an event subject", ErrSubject, subject)
	}
	k, err := ParseKey(rest[:dot])
	if err != nil {
		return Key{}, "", err
	}
	t := EventType(rest[dot+1:])
	if !t.Valid() {
		return k, "", fmt.Errorf("%w: %q", ErrUnknownType, subject)
	}
	return k, t, nil
}

func parseKeyAfter(subject, prefix string) (Key, error) {
	rest, ok := strings.CutPrefix(subject, prefix)
	if !ok {
		return Key{}, fmt.Errorf("%w: %q does not begin with %s", ErrSubject, subject, prefix)
	}
	return ParseKey(rest)
}

func parseLaneAndKey(subject, prefix string) (string, Key, error) {
	rest, ok := strings.CutPrefix(subject, prefix)
	lane, key, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 || !ValidToken(lane) {
		return "", Key{}, fmt.Errorf("%w: %q is not %s<lane>.<project>.<task>", ErrSubject, subject, prefix)
	}
	k, err := ParseKey(key)
	if err != nil {
		return "", Key{}, err
	}
	return lane, k, nil
}
