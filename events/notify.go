package events

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// StreamNotify is the queue of the notifier: one message for each event and endpoint, a Notification, until the endpoint
// has taken the event or it is given up.
const StreamNotify = "REELAY_NOTIFY"

// ConsumerNotify is the consumer that makes notifications of events, which all notifiers share. The notifications of an
// endpoint have a consumer of their own.
const ConsumerNotify = "notify"

const notifyPrefix = "reelay.notify."

// HeaderNotify names the endpoints that the request of an event has named, comma separated: of a batch those of its
// tasks.
const HeaderNotify = "ce-notify"

const (
	// MaxNotifyAge is how long an endpoint is tried that does not take an event.
	MaxNotifyAge = 24 * time.Hour
	// MaxNotified is how many endpoints the event of a batch names at most.
	MaxNotified = 8
)

// NotifiedEvents lists the types of the events that endpoints can be sent.
func NotifiedEvents() []EventType {
	return []EventType{
		EventCompleted, EventFailed, EventCancelled, EventLateResult, EventStored, EventInDoubt, EventBatchDone, EventRejected,
	}
}

// A Notification says which event an endpoint is to be sent. It holds nothing of the event, so that what is erased is
// sent no more.
type Notification struct {
	// Sequence is that of the event in REELAY_EVENTS, ID its ce-id.
	Sequence uint64 `json:"sequence"`
	ID       string `json:"id"`
}

// NotifySubject holds the notification of an event: reelay.notify.<endpoint>.<project>.<task>.<event>.
func NotifySubject(endpoint string, k Key, t EventType) string {
	return notifyPrefix + endpoint + "." + k.String() + "." + string(t)
}

// NotifyFilter matches the notifications of an endpoint.
func NotifyFilter(endpoint string) string { return notifyPrefix + endpoint + ".>" }

// NotifyTaskFilter matches the notifications of an endpoint about one task or batch.
func NotifyTaskFilter(endpoint string, k Key) string { return NotifySubject(endpoint, k, "*") }

// ParseNotifySubject reads the subject of a notification. It fails with ErrSubject.
func ParseNotifySubject(subject string) (endpoint string, k Key, t EventType, err error) {
	tokens := strings.Split(strings.TrimPrefix(subject, notifyPrefix), ".")
	if !strings.HasPrefix(subject, notifyPrefix) || len(tokens) != 4 || !ValidToken(tokens[0]) {
		return "", k, "", fmt.Errorf("%w: %q is not %s<endpoint>.<project>.<task>.<event>", ErrSubject, subject, notifyPrefix)
	}
	k, err = ParseKey(tokens[1] + "." + tokens[2])
	return tokens[0], k, EventType(tokens[3]), err
}

// RouteConsumer delivers the events that endpoints can be sent, without their bodies. One is delivered at a time, so that
// the notifications of a task are stored in the order of its events, by any number of notifiers.
func RouteConsumer() Consumer {
	var filters []string
	for _, t := range NotifiedEvents() {
		filters = append(filters, EventFilter(t))
	}
	return Consumer{
		Stream: StreamEvents, Durable: ConsumerNotify, Description: "notifier: events that may be sent to webhooks",
		Filters: filters, AckWait: ackWait, MaxAckPending: 1, HeadersOnly: true,
	}
}

// NotifyConsumer delivers the notifications of one endpoint. Each endpoint has its own, so that one that is away takes no
// place of another's. That of an endpoint that nobody defines any more ends by itself; what waits stays in the stream.
func NotifyConsumer(endpoint string) Consumer {
	return Consumer{
		Stream: StreamNotify, Durable: ConsumerNotify + "-" + endpoint, Description: "notifier: endpoint " + endpoint,
		Filters: []string{NotifyFilter(endpoint)}, AckWait: ackWait, MaxAckPending: 10_000, Patient: true,
		IdleAge: 2 * MaxNotifyAge,
	}
}

// notified joins endpoints for HeaderNotify.
func notified(endpoints []string) string { return strings.Join(endpoints, ",") }

// ParseNotified reads a HeaderNotify. What can name no endpoint is left out.
func ParseNotified(header string) []string {
	return slices.DeleteFunc(strings.Split(header, ","), func(name string) bool { return !ValidToken(name) })
}
