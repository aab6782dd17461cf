package turns

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/internal/bus"
)

// countWait bounds how long counting a line may take.
const countWait = 5 * time.Second

// A Count is what clients have asked for and nobody has taken in yet.
type Count struct {
	// Created is when its stream was made.
	Created time.Time
	// First is the sequence of the oldest message, Last that of the newest there ever was, Delivered the highest that the
	// consumer of the line was given.
	First, Last, Delivered uint64
	// Messages are all that wait. One that is being taken in still counts.
	Messages uint64
	// Waiting are the requests and commands by project. There are none in a line that is not long, nor while an operator
	// has paused its consumer.
	Waiting map[string]uint64
}

// Of returns the line of a bus.
func Of(b *bus.Bus) Line { return line{b} }

type line struct{ *bus.Bus }

// Count fails with an error of the broker.
func (l line) Count(ctx context.Context, long uint64) (Count, error) {
	ctx, cancel := context.WithTimeout(ctx, countWait)
	defer cancel()
	stream, err := l.JetStream().Stream(ctx, events.StreamRequests)
	if err != nil {
		return Count{}, fmt.Errorf("stream %s: %w", events.StreamRequests, err)
	}
	is := stream.CachedInfo()
	c := Count{
		Created: is.Created, First: is.State.FirstSeq, Last: is.State.LastSeq, Messages: is.State.Msgs,
		Waiting: map[string]uint64{},
	}
	if c.Messages < long {
		return c, nil
	}
	consumer, err := stream.Consumer(ctx, events.IntakeConsumer().Durable)
	if err != nil {
		return c, fmt.Errorf("consumer of %s: %w", events.StreamRequests, err)
	}
	if consumer.CachedInfo().Paused {
		return c, nil
	}
	c.Delivered = consumer.CachedInfo().Delivered.Stream
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(events.IntakeFilter("*")))
	if err != nil {
		return c, fmt.Errorf("stream %s: %w", events.StreamRequests, err)
	}
	for subject, n := range info.State.Subjects {
		if project := projectOf(subject); project != "" {
			c.Waiting[project] += n
		}
	}
	return c, nil
}

// projectOf returns the project of a request or command; "" if none can be read.
func projectOf(subject string) string {
	if events.IsCommandSubject(subject) {
		k, _, _ := events.ParseCommandSubject(subject) // whatever is wrong with the rest
		return k.Project
	}
	project, _, _ := events.ParseRequestSubject(subject)
	return project
}
