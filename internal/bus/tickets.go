package bus

import (
	"context"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"

	"reelay/events"
)

// A PollTicket is the message that has a task polled.
type PollTicket struct {
	Lane string
	Key  events.Key
	// Record is the record as it is stored when the ticket is made, Revision its revision, and Stored the version up to
	// which all its events are stored. Without a Record whoever polls reads it.
	Record   []byte
	Revision uint64
	Stored   uint64
}

// maxTicketRecord is the longest record that a ticket brings. One that is longer costs more to keep twice than to read.
const maxTicketRecord = 4 << 10

// EnsurePollTicket makes sure that the poll ticket of a task exists. One that is there stays as it is.
func (b *Bus) EnsurePollTicket(ctx context.Context, t PollTicket) error {
	msg := &nats.Msg{Subject: events.PollSubject(t.Lane, t.Key)}
	if len(t.Record) > 0 && len(t.Record) <= maxTicketRecord {
		msg.Data = t.Record
		msg.Header = nats.Header{
			events.HeaderTicketRevision: {strconv.FormatUint(t.Revision, 10)},
			events.HeaderTicketStored:   {strconv.FormatUint(t.Stored, 10)},
		}
	}
	if err := b.ensure(ctx, "watch", msg); err != nil {
		return fmt.Errorf("poll ticket of %s: %w", t.Key, err)
	}
	return nil
}

// ReadPollTicket reads a poll ticket. A record that it brings is as old as the ticket; where it brings none that this
// build can read, ok is false.
func ReadPollTicket(m Message) (t events.Task, revision, stored uint64, ok bool) {
	if len(m.Data) == 0 {
		return t, 0, 0, false
	}
	revision, err := strconv.ParseUint(m.Get(events.HeaderTicketRevision), 10, 64)
	if err == nil {
		stored, err = strconv.ParseUint(m.Get(events.HeaderTicketStored), 10, 64)
	}
	if err == nil {
		t, err = events.DecodeTask(m.Data)
	}
	return t, revision, stored, err == nil
}
