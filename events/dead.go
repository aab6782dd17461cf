package events

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

var (
	// ErrDeadLetter says that a message is not a dead letter of this build's layout.
	ErrDeadLetter = errors.New("not a dead letter")
	// ErrNotReplayable says that publishing a dead letter's message again would do nothing, or harm.
	ErrNotReplayable = errors.New("cannot be replayed")
)

// The headers of a dead letter. A header of the original message keeps its name, unless the server or a reader of the
// letter would take it for one that concerns the letter: it then stands behind HeaderDeadKept.
const (
	headerDead           = "Reelay-Dead-"
	HeaderDeadStream     = headerDead + "Stream"
	HeaderDeadConsumer   = headerDead + "Consumer"
	HeaderDeadSequence   = headerDead + "Sequence"
	HeaderDeadDeliveries = headerDead + "Deliveries"
	HeaderDeadReason     = headerDead + "Reason"
	HeaderDeadSubject    = headerDead + "Subject"
	HeaderDeadStored     = headerDead + "Stored"
	HeaderDeadBytes      = headerDead + "Bytes"
	HeaderDeadKept       = headerDead + "Kept-"

	headerServer = "Nats-"
	headerMsgID  = "Nats-Msg-Id"
)

// A DeadLetter is a message that could not be processed, as REELAY_DEAD keeps it: its body is the payload, all else is
// in headers. When it was given up is the time at which that stream stored it.
type DeadLetter struct {
	// Stream, Consumer and Sequence say where the message was, Deliveries how often it was tried.
	Stream     string
	Consumer   string
	Sequence   uint64
	Deliveries uint64
	// Reason is at most MaxMessageBytes long, without control characters.
	Reason string
	// Subject is the original one; empty if the message was gone before it could be copied, and then so are the fields
	// below.
	Subject string
	// StoredAt is when the original stream stored the message.
	StoredAt time.Time
	Header   map[string][]string
	Body     []byte
	// CutFrom is about the size of the original, with its headers, where these and the end of its body had to be left out;
	// else 0.
	CutFrom int
}

// ID identifies the message that died: <stream>:<sequence>. REELAY_DEAD keeps one letter per id.
func (l DeadLetter) ID() string { return l.Stream + ":" + strconv.FormatUint(l.Sequence, 10) }

// Encode returns the headers of l. The original's are among them.
func (l DeadLetter) Encode() map[string][]string {
	h := make(map[string][]string, len(l.Header)+8)
	for name, values := range l.Header {
		if reserved(name) {
			name = HeaderDeadKept + name
		}
		h[name] = slices.Clone(values)
	}
	set := func(name, value string) { h[name] = []string{value} }
	set(HeaderDeadStream, l.Stream)
	set(HeaderDeadConsumer, l.Consumer)
	set(HeaderDeadSequence, strconv.FormatUint(l.Sequence, 10))
	set(HeaderDeadDeliveries, strconv.FormatUint(l.Deliveries, 10))
	set(HeaderDeadReason, plain(l.Reason, MaxMessageBytes))
	if l.Subject != "" {
		set(HeaderDeadSubject, l.Subject)
		set(HeaderDeadStored, l.StoredAt.UTC().Format(time.RFC3339Nano))
	}
	if l.CutFrom > 0 {
		set(HeaderDeadBytes, strconv.Itoa(l.CutFrom))
	}
	return h
}

// reserved says whether a header of that name would be taken for one of the letter itself. A rollup or an expected
// sequence of the original would otherwise be obeyed by REELAY_DEAD, or make it refuse the letter.
func reserved(name string) bool {
	return hasPrefixFold(name, headerServer) || hasPrefixFold(name, headerDead)
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// DecodeDeadLetter reads a message of REELAY_DEAD. It fails with ErrDeadLetter.
func DecodeDeadLetter(header map[string][]string, body []byte) (DeadLetter, error) {
	get := func(name string) string {
		if v := header[name]; len(v) > 0 {
			return v[0]
		}
		return ""
	}
	l := DeadLetter{
		Stream: get(HeaderDeadStream), Consumer: get(HeaderDeadConsumer), Reason: get(HeaderDeadReason),
		Subject: get(HeaderDeadSubject), Body: body,
	}
	if l.Stream == "" || l.Consumer == "" {
		return l, fmt.Errorf("%w: %s or %s is missing", ErrDeadLetter, HeaderDeadStream, HeaderDeadConsumer)
	}
	var errs [4]error
	l.Sequence, errs[0] = strconv.ParseUint(get(HeaderDeadSequence), 10, 64)
	l.Deliveries, errs[1] = strconv.ParseUint(get(HeaderDeadDeliveries), 10, 64)
	if l.Subject != "" {
		l.StoredAt, errs[2] = time.Parse(time.RFC3339Nano, get(HeaderDeadStored))
	}
	if size := get(HeaderDeadBytes); size != "" {
		l.CutFrom, errs[3] = strconv.Atoi(size)
	}
	if err := errors.Join(errs[:]...); err != nil {
		return l, fmt.Errorf("%w: %w", ErrDeadLetter, err)
	}
	for name, values := range header {
		kept, ok := strings.CutPrefix(name, HeaderDeadKept)
		if !ok && reserved(name) {
			continue
		}
		if l.Header == nil {
			l.Header = map[string][]string{}
		}
		l.Header[kept] = slices.Clone(values)
	}
	return l, nil
}

// DerivedTaskID is the id of a task whose request brought none. It depends on nothing but the request's place in its
// stream, so that a redelivery names the same task; the time keeps it apart from the ids of a stream that was deleted.
func DerivedTaskID(sequence uint64, stored time.Time) string {
	return "t" + strconv.FormatUint(sequence, 10) + "-" + strconv.FormatInt(stored.UnixMilli(), 36)
}

// IsRequest reports whether l was on a request's subject, well formed or not.
func (l DeadLetter) IsRequest() bool { return strings.HasPrefix(l.Subject, requestPrefix) }

// Key names the task that a dead request or command spoke of, under InvalidProject if it names none. ok is false for a
// letter that was neither. It reads no more of the body than it must: something about the message has broken its
// reader.
func (l DeadLetter) Key() (k Key, ok bool) {
	switch {
	case l.IsRequest():
		project, _, _ := ParseRequestSubject(l.Subject)
		return Key{Project: cmp.Or(project, InvalidProject), ID: l.requestID()}, true
	case strings.HasPrefix(l.Subject, commandPrefix):
		if k, _, _ := ParseCommandSubject(l.Subject); k.Valid() {
			return k, true
		}
		return Key{Project: InvalidProject, ID: DerivedTaskID(l.Sequence, l.StoredAt)}, true
	}
	return Key{}, false
}

// Batch returns what a dead request says of its batch, as Request.Batch does; nothing for a letter that was none.
func (l DeadLetter) Batch() (id string, size int) {
	if !l.IsRequest() {
		return "", 0
	}
	var named struct {
		BatchID   string `json:"batch_id"`
		BatchSize int    `json:"batch_size"`
	}
	_ = json.Unmarshal(l.Body, &named) // a body that is no JSON has no batch
	return Request{BatchID: named.BatchID, BatchSize: named.BatchSize}.Batch()
}

func (l DeadLetter) requestID() string {
	var named struct {
		ID string `json:"id"`
	}
	// A body that is no JSON has no id.
	if _ = json.Unmarshal(l.Body, &named); ValidToken(named.ID) {
		return named.ID
	}
	return l.headerID()
}

// headerID is the task id of a request whose body brings none.
func (l DeadLetter) headerID() string {
	if v := l.Header[headerMsgID]; len(v) > 0 && ValidToken(v[0]) {
		return v[0]
	}
	return DerivedTaskID(l.Sequence, l.StoredAt)
}

// Replay returns what to publish to have the message processed again: its subject, its headers but for those that the
// server reads, its body. A request keeps its task id, as Nats-Msg-Id if need be: replayed twice, or sent again by its
// sender meanwhile, it is still one task and is paid for once. Anything but requests, commands, callbacks and notifications fails with
// ErrNotReplayable, which says why.
func (l DeadLetter) Replay() (subject string, header map[string][]string, body []byte, err error) {
	refuse := func(reason string) (string, map[string][]string, []byte, error) {
		return "", nil, nil, fmt.Errorf("%w: %s", ErrNotReplayable, reason)
	}
	switch {
	case l.Subject == "":
		return refuse("the message was gone before it could be copied")
	case l.CutFrom > 0:
		return refuse(fmt.Sprintf("only %d of its about %d bytes were kept", len(l.Body), l.CutFrom))
	case strings.HasPrefix(l.Subject, pollPrefix):
		return refuse("the heartbeat of its task makes its poll ticket again")
	case strings.HasPrefix(l.Subject, heartbeatPrefix):
		return refuse("the server sends the next heartbeat of its task by itself")
	case !l.IsRequest() && !strings.HasPrefix(l.Subject, commandPrefix) && !strings.HasPrefix(l.Subject, callbackPrefix) &&
		!strings.HasPrefix(l.Subject, notifyPrefix):
		return refuse(l.Subject + " is no subject of requests, commands, callbacks or notifications")
	}
	header = maps.Clone(l.Header)
	maps.DeleteFunc(header, func(name string, _ []string) bool { return hasPrefixFold(name, headerServer) })
	if l.IsRequest() {
		if header == nil {
			header = map[string][]string{}
		}
		header[headerMsgID] = []string{l.headerID()}
	}
	return l.Subject, header, l.Body, nil
}

// DeadRequestConsumer hears of requests and commands that could not be processed, so that their senders can be told.
func DeadRequestConsumer() Consumer {
	return Consumer{
		Stream: StreamDead, Durable: ConsumerDeadRequests,
		Description: "submitter: rejects requests and commands that could not be processed",
		Filters:     []string{deadPrefix + StreamRequests + ".>"}, AckWait: ackWait, MaxAckPending: 1_000,
	}
}
