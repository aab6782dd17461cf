package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
)

const (
	// maxCompared bounds the subjects of a stream that Vanished compares, those of half a million tasks: about 100 MB of
	// memory.
	maxCompared = 3_000_000
	// compareWait bounds one comparison.
	compareWait = 2 * time.Minute
	// maxVanished bounds what is returned, and read one by one.
	maxVanished = 1_000
)

// ErrTooMany says that there are too many tasks to compare them all.
var ErrTooMany = errors.New("there are too many to compare")

// Vanished returns tasks that were announced as queued after a time and have not ended, and yet have no record and no
// marker of one: a broker has lost what it had acknowledged. It returns 1,000 at most, and fails with ErrTooMany where
// more than 3,000,000 events or records are stored.
func (b *Bus) Vanished(ctx context.Context, after time.Time) ([]events.Key, error) {
	ctx, cancel := context.WithTimeout(ctx, compareWait)
	defer cancel()
	open := map[events.Key]bool{}
	for _, e := range []events.EventType{events.EventQueued, events.EventCompleted, events.EventFailed, events.EventCancelled} {
		err := b.subjects(ctx, events.StreamEvents, events.EventFilter(e), func(subject string) {
			k, _, err := events.ParseEventSubject(subject)
			switch {
			case err != nil:
			case e == events.EventQueued:
				open[k] = true
			default:
				delete(open, k)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	err := b.subjects(ctx, events.StreamTasks, events.RecordFilter(), func(subject string) {
		if k, err := events.ParseRecordSubject(subject); err == nil {
			delete(open, k)
		}
	})
	if err != nil {
		return nil, err
	}
	var gone []events.Key
	for k := range open {
		if len(gone) == maxVanished {
			break
		}
		lost, err := b.vanished(ctx, k, after)
		if err != nil {
			return nil, err
		}
		if lost {
			gone = append(gone, k)
		}
	}
	return gone, nil
}

// vanished makes sure of one task.
func (b *Bus) vanished(ctx context.Context, k events.Key, after time.Time) (bool, error) {
	_, marker, err := b.GetFromLeader(ctx, k)
	if !errors.Is(err, ErrNotFound) || marker > 0 {
		if errors.Is(err, ErrNotFound) || errors.Is(err, ErrUnreadable) {
			err = nil
		}
		return false, err
	}
	queued, err := b.last(ctx, events.StreamEvents, events.EventSubject(k, events.EventQueued))
	return queued.sequence > 0 && queued.at.After(after), err
}

// subjects calls see with every subject of a stream that matches a filter.
func (b *Bus) subjects(ctx context.Context, stream, filter string, see func(subject string)) error {
	s, err := b.js.Stream(ctx, stream)
	if err != nil {
		return fmt.Errorf("stream %s: %w", stream, err)
	}
	if n := s.CachedInfo().State.NumSubjects; n > maxCompared {
		return fmt.Errorf("stream %s: %w: %d subjects", stream, ErrTooMany, n)
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(filter))
	if err != nil {
		return fmt.Errorf("stream %s: %w", stream, err)
	}
	for subject := range info.State.Subjects {
		see(subject)
	}
	return nil
}
