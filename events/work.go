package events

import (
	"encoding/json"
	"fmt"
)

// StreamWork is the queue of the media service: one message, without a body, for each task whose work is done here, by
// a program that costs nothing, and not at a provider.
const StreamWork = "REELAY_WORK"

// ConsumerWork is the queue's consumer, which all media services share.
const ConsumerWork = "media"

const workPrefix = "reelay.work."

// WorkSubject holds the message that has the work of a task done: reelay.work.<op>.<project>.<task>.
func WorkSubject(op string, k Key) string { return workPrefix + op + "." + k.String() }

// ParseWorkSubject reads what is to be done, and for which task.
func ParseWorkSubject(subject string) (op string, k Key, err error) {
	if op, k, err = parseLaneAndKey(subject, workPrefix); err != nil {
		err = fmt.Errorf("%w: %q is not %s<op>.<project>.<task>", ErrSubject, subject, workPrefix)
	}
	return op, k, err
}

// WorkConsumer is the queue of the work. What is tried again later counts as pending.
func WorkConsumer() Consumer {
	return Consumer{
		Stream: StreamWork, Durable: ConsumerWork, Description: "media: work that is done here", AckWait: ackWait,
		MaxAckPending: 10_000,
	}
}

// WorkObject names the object in ObjectBucket that holds what a task's work has made, until it is stored.
func WorkObject(k Key) string { return "work-" + k.String() }

// WorkRef is the provider's handle of a task whose work is done here: its WorkSubject, as JSON.
func WorkRef(op string, k Key) json.RawMessage {
	return json.RawMessage(`"` + WorkSubject(op, k) + `"`)
}

// ParseWorkRef reads a WorkRef.
func ParseWorkRef(ref json.RawMessage) (op string, k Key, err error) {
	var subject string
	if err := json.Unmarshal(ref, &subject); err != nil {
		return "", Key{}, err
	}
	return ParseWorkSubject(subject)
}
