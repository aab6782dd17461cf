//go:build unix

package chaos

import (
	"fmt"
	"slices"
	"sync"

	"github.com/nats-io/nats.go"

	"reelay/events"
)

// A listener is a core subscriber of all events. It may miss some, for nothing repeats them to it, and hear some twice, with the same id.
type listener struct {
	mu    sync.Mutex
	twice int
	heard map[string]string // subjects by id
	wrong []string
}

// listen subscribes on a connection without faults.
func listen(nc *nats.Conn, subject string) (*listener, error) {
	l := &listener{heard: map[string]string{}}
	_, err := nc.Subscribe(subject, l.take)
	return l, err
}

func (l *listener) take(m *nats.Msg) {
	id := m.Header.Get(events.HeaderID)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch was, twice := l.heard[id]; {
	case id == "":
		l.wrong = append(l.wrong, fmt.Sprintf("listener: %s without an id", m.Subject))
	case twice && was == m.Subject:
		l.twice++
	case twice:
		l.wrong = append(l.wrong, fmt.Sprintf("listener: %s was heard as %s and as %s", id, was, m.Subject))
	}
	l.heard[id] = m.Subject
}

// judge returns what was heard and should not have been, and counts what was heard and what was missed of what is stored, by id.
func (l *listener) judge(stored map[string]string) (wrong []string, heard, missed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	wrong = append(wrong, l.wrong...)
	for id, subject := range l.heard {
		if stored[id] != subject && !mayBeLost(subject) {
			wrong = append(wrong, fmt.Sprintf("listener: %s was heard as %s, and stored is %q", subject, id, stored[id]))
		}
	}
	for id := range stored {
		if _, ok := l.heard[id]; !ok {
			missed++
		}
	}
	slices.Sort(wrong)
	return wrong, len(l.heard), missed
}

// mayBeLost reports whether an event is not repeated whose storing failed: by then the task has gone on, or the lane.
func mayBeLost(subject string) bool {
	_, of, err := events.ParseEventSubject(subject)
	return err == nil && slices.Contains([]events.EventType{events.EventProgress, events.EventInDoubt, events.EventPaused, events.EventResumed}, of)
}
