package events

import (
	"fmt"
	"strings"
)

// advisoryPrefix begins the subjects on which a NATS server says what became of a delivery:
// $JS.EVENT.ADVISORY.CONSUMER.<kind>.<stream>.<consumer>, see
// https://docs.nats.io/running-a-nats-service/nats_admin/monitoring/monitoring_jetstream.
const advisoryPrefix = "$JS.EVENT.ADVISORY.CONSUMER."

// An AdvisoryKind is a way in which a message comes to its end without having been processed.
type AdvisoryKind string

const (
	// AdvisoryMaxDeliveries is about a message that was delivered as often as its consumer allows. It stays in its stream.
	AdvisoryMaxDeliveries AdvisoryKind = "MAX_DELIVERIES"
	// AdvisoryTerminated is about a message that a client has ended. A work queue has let go of it.
	AdvisoryTerminated AdvisoryKind = "MSG_TERMINATED"
)

// advisedStreams are the queues that reelay consumes. The stream of records is none of them: there the server says
// of every heartbeat that a newer one has replaced that it was given up, and a lost heartbeat comes again.
func advisedStreams() []string {
	return []string{StreamRequests, StreamPolls, StreamCallbacks}
}

// advisorySubjects are what REELAY_ADVISORIES takes in. Advisories are published once and not kept: without a stream,
// those sent while no service runs would be lost.
func advisorySubjects() []string {
	var all []string
	for _, stream := range advisedStreams() {
		for _, kind := range []AdvisoryKind{AdvisoryMaxDeliveries, AdvisoryTerminated} {
			consumer := "*"
			if stream == StreamCallbacks { // no work queue: others may read it, and what they give up is not lost
				consumer = ConsumerCallbacks
			}
			all = append(all, AdvisorySubject(kind, stream, consumer))
		}
	}
	return all
}

// StreamChanges are the subjects on which the server says that a stream's settings were changed, or that it was
// removed. Nothing keeps them.
func StreamChanges(stream string) []string {
	const prefix = "$JS.EVENT.ADVISORY.STREAM."
	return []string{prefix + "UPDATED." + stream, prefix + "DELETED." + stream}
}

// AdvisorySubject is where the server publishes an advisory of a kind about a consumer.
func AdvisorySubject(kind AdvisoryKind, stream, consumer string) string {
	return advisoryPrefix + string(kind) + "." + stream + "." + consumer
}

// ParseAdvisorySubject reads an advisory's subject. It fails with ErrSubject.
func ParseAdvisorySubject(subject string) (kind AdvisoryKind, stream, consumer string, err error) {
	tokens := strings.Split(strings.TrimPrefix(subject, advisoryPrefix), ".")
	if strings.HasPrefix(subject, advisoryPrefix) && len(tokens) == 3 {
		kind = AdvisoryKind(tokens[0])
		if kind == AdvisoryMaxDeliveries || kind == AdvisoryTerminated {
			return kind, tokens[1], tokens[2], nil
		}
	}
	return "", "", "", fmt.Errorf("%w: %q is not an advisory that reelay hears", ErrSubject, subject)
}

// AdvisoryConsumer hears what the server says of messages that were given up.
func AdvisoryConsumer() Consumer {
	return Consumer{
		Stream: StreamAdvisories, Durable: ConsumerAdvisories,
		Description: "submitter: keeps messages that the server or another client gave up", AckWait: ackWait,
		MaxAckPending: 1_000,
	}
}
