//go:build unix

package chaos

import (
	"fmt"
	"strconv"
	"sync"

	"github.com/nats-io/nats.go"
)

// headerSequence tells core subscribers where in the stream an event stands.
const headerSequence = "Nats-Sequence"

// A listener is a core subscriber of all events. It may miss some, for nothing repeats them to it, and hears no other. Of a cluster it
// may hear one twice, with the same place in the stream: in nats-server 2.15 each new leader tells again of what it is the first to
// apply, whether the one before had told of it or not.
type listener struct {
	mu    sync.Mutex
	twice int
	heard map[uint64]string // subjects by sequence
	wrong []string
}

// listen subscribes on a connection without faults.
func listen(nc *nats.Conn, subject string) (*listener, error) {
	l := &listener{heard: map[uint64]string{}}
	_, err := nc.Subscribe(subject, l.take)
	return l, err
}

func (l *listener) take(m *nats.Msg) {
	sequence, err := strconv.ParseUint(m.Header.Get(headerSequence), 10, 64)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch was, twice := l.heard[sequence]; {
	case err != nil:
		l.wrong = append(l.wrong, fmt.Sprintf("listener: %s without a place in the stream: %v", m.Subject, err))
	case twice && was == m.Subject:
		l.twice++
	case twice:
		l.wrong = append(l.wrong, fmt.Sprintf("listener: %d was heard as %s and as %s", sequence, was, m.Subject))
	}
	l.heard[sequence] = m.Subject
}

// judge returns what was heard and should not have been, by a client of that many nodes, and counts what was heard and what was missed.
func (l *listener) judge(stored map[uint64]string, nodes int) (wrong []string, heard, missed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	wrong = append(wrong, l.wrong...)
	if l.twice > 0 && nodes <= 1 {
		wrong = append(wrong, fmt.Sprintf("listener: %d were heard twice", l.twice))
	}
	for sequence, subject := range l.heard {
		if stored[sequence] != subject {
			wrong = append(wrong, fmt.Sprintf("listener: %s was heard as %d, and stored there is %q", subject, sequence, stored[sequence]))
		}
	}
	for sequence := range stored {
		if _, ok := l.heard[sequence]; !ok {
			missed++
		}
	}
	return wrong, len(l.heard), missed
}
