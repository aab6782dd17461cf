//go:build unix

package chaos

import (
	"fmt"
	"slices"
	"sync"

	"github.com/nats-io/nats.go"

	"reelay/events"
)

// A subscriber is a core subscriber of all events. It may miss some, for nothing repeats them to it, and receive some
// twice, with the same id.
type subscriber struct {
	mu       sync.Mutex
	twice    int
	received map[string]string // subjects by id
	wrong    []string
}

// subscribe subscribes on a connection without faults.
func subscribe(nc *nats.Conn, subject string) (*subscriber, error) {
	l := &subscriber{received: map[string]string{}}
	_, err := nc.Subscribe(subject, l.receive)
	return l, err
}

func (l *subscriber) receive(m *nats.Msg) {
	id := m.Header.Get(events.HeaderID)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch was, twice := l.received[id]; {
	case id == "":
		l.wrong = append(l.wrong, fmt.Sprintf("subscriber: %s without an id", m.Subject))
	case twice && was == m.Subject:
		l.twice++
	case twice:
		l.wrong = append(l.wrong, fmt.Sprintf("subscriber: %s was received as %s and as %s", id, was, m.Subject))
	}
	l.received[id] = m.Subject
}

// judge returns what was received and should not have been, and counts what was received and what was missed of what is
// stored, by id.
func (l *subscriber) judge(stored map[string]string) (wrong []string, received, missed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	wrong = append(wrong, l.wrong...)
	for id, subject := range l.received {
		if stored[id] != subject && !mayBeLost(subject) {
			wrong = append(wrong, fmt.Sprintf("subscriber: %s was received as %s, and stored is %q", subject, id, stored[id]))
		}
	}
	for id := range stored {
		if _, ok := l.received[id]; !ok {
			missed++
		}
	}
	slices.Sort(wrong)
	return wrong, len(l.received), missed
}

// mayBeLost reports whether an event is not repeated whose storing failed: by then the task has gone on, or the lane.
func mayBeLost(subject string) bool {
	_, of, err := events.ParseEventSubject(subject)
	return err == nil && slices.Contains([]events.EventType{
		events.EventProgress, events.EventInDoubt, events.EventPaused,
		events.EventResumed,
	}, of)
}
