package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
)

// headerSummary has the Summary of a record, on the message that holds it. It is an inner matter of reelay's: nobody
// else need read it, and nobody else may write records.
const headerSummary = "Reelay-Summary"

// summaryVersion is that of the summaries this build writes. It grows when a field comes or means something else.
const summaryVersion = 1

// A Summary is what those who follow all records need of one.
type Summary struct {
	Version   int           `json:"n"`
	Lane      string        `json:"l"`
	Provider  string        `json:"p"`
	Model     string        `json:"m"`
	Status    events.Status `json:"s"`
	Phase     events.Phase  `json:"h"`
	SceneID   string        `json:"sc,omitempty"`
	BatchID   string        `json:"b,omitempty"`
	BatchSize int           `json:"bs,omitempty"`
	RetryOf   string        `json:"ro,omitempty"`
	Notify    string        `json:"nt,omitempty"` // builds that left it out knew no such tasks
	Priority  int           `json:"pr,omitempty"`
	// Created, Submitted and Completed are Unix times in nanoseconds, 0 of what has not happened.
	Created   int64 `json:"t"`
	Submitted int64 `json:"ts,omitempty"`
	Completed int64 `json:"te,omitempty"`
	// InLine says that the task waits for its turn, and for no other task.
	InLine bool `json:"q,omitempty"`
	// Attempts counts the paid attempts that were ever opened.
	Attempts int `json:"a,omitempty"`
	// Payments are the attempts that were charged or may have been, in order of time.
	Payments []Payment `json:"c,omitempty"`
	// CancelAsked and HasRef say that the record has a cancel, and a provider's handle.
	CancelAsked bool `json:"x,omitempty"`
	HasRef      bool `json:"r,omitempty"`
	// Verbatim says that answers show the record as it is stored: nothing in them is as of the time of the answer.
	Verbatim bool `json:"v,omitempty"`
}

// Unpriced is the Micros of a payment of which nobody knows the amount.
const Unpriced = -1

// A Payment is an attempt that was charged or may have been.
type Payment struct {
	// Micros is what it costs in millionths of a US dollar, or Unpriced, At its intent in Unix seconds.
	Micros   int64  `json:"m"`
	At       uint32 `json:"t"`
	Accepted bool   `json:"a,omitempty"`
}

// Summarize returns the summary of a record.
func Summarize(t *events.Task) *Summary {
	s := &Summary{
		Version: summaryVersion, Lane: t.Lane, Provider: t.Provider, Model: t.Model, Status: t.Status, Phase: t.Phase,
		SceneID: t.SceneID, RetryOf: t.RetryOf, Notify: t.Notify,
		BatchID: t.BatchID, BatchSize: t.BatchSize, Priority: t.Priority, Created: t.CreatedAt.UnixNano(),
		InLine: t.Phase == events.PhaseWaiting && len(t.WaitsFor) == 0, CancelAsked: t.Cancel != nil,
		HasRef: len(t.ProviderRef) > 0, Verbatim: t.Phase == events.PhaseDone && t.QueuePosition == nil,
	}
	if a := t.Attempt(); a != nil {
		s.Attempts = a.N
	}
	if t.SubmittedAt != nil {
		s.Submitted = t.SubmittedAt.UnixNano()
	}
	if t.CompletedAt != nil {
		s.Completed = t.CompletedAt.UnixNano()
	}
	for _, a := range t.Attempts {
		if a.Charge == events.ChargeNone {
			continue
		}
		p := Payment{Micros: Unpriced, At: uint32(a.IntentAt.Unix()), Accepted: a.Outcome == events.AttemptAccepted}
		if a.CostUSD != nil {
			p.Micros = int64(math.Round(*a.CostUSD * 1e6))
		}
		s.Payments = append(s.Payments, p)
	}
	return s
}

// A SummaryUpdate is one change of a record as FollowTasks sees it.
type SummaryUpdate struct {
	Key      events.Key
	Revision uint64
	// Summary is nil when the record is gone. The zero Key is that of a record which cannot be read.
	Summary *Summary
	// Ready marks the end of the records that existed when FollowTasks began; it carries no record.
	Ready bool
}

// errNoSummary says that a record was written by a build of reelay that writes no summaries.
var errNoSummary = errors.New("a record has no summary, as an older build writes it; from now on whole records are followed")

// FollowTasks is WatchTasks for those who need no more than the summaries: the broker sends no record. Where an older
// build writes records, it fails once, and is WatchTasks from then on.
func (b *Bus) FollowTasks(ctx context.Context, handle func(SummaryUpdate)) error {
	if b.wholeRecords.Load() {
		return b.WatchTasks(ctx, func(u Update) {
			s := SummaryUpdate{Key: u.Key, Revision: u.Revision, Ready: u.Ready}
			if u.Task != nil {
				s.Summary = Summarize(u.Task)
			}
			handle(s)
		})
	}
	err := b.whileSame(ctx, events.StreamTasks, func(ctx context.Context, seen func(uint64)) error {
		return b.followHeaders(ctx, func(u SummaryUpdate) {
			if !u.Ready {
				seen(u.Revision)
			}
			handle(u)
		})
	})
	if errors.Is(err, errNoSummary) {
		b.wholeRecords.Store(true)
	}
	return err
}

// followHeaders follows the headers of all records by an ordered push consumer, as the client library's watch of a
// bucket does, which shows no headers.
func (b *Bus) followHeaders(ctx context.Context, handle func(SummaryUpdate)) error {
	js, err := b.nc.JetStream(nats.APIPrefix(b.apiPrefix), nats.MaxWait(writeWait))
	if err != nil {
		return fmt.Errorf("jetstream: %w", err)
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var mu sync.Mutex // the first messages come before it is known how many there are
	var left uint64
	ready := false
	one := func(m *nats.Msg) {
		mu.Lock()
		defer mu.Unlock()
		if ctx.Err() != nil {
			return
		}
		u, pending, err := b.summaryUpdate(m)
		if err != nil {
			fail(err)
			return
		}
		handle(u)
		if left--; !ready && (left == 0 || pending == 0) {
			ready = true
			handle(SummaryUpdate{Ready: true})
		}
	}
	mu.Lock()
	sub, err := js.Subscribe(events.RecordFilter(), one, nats.BindStream(events.StreamTasks), nats.OrderedConsumer(),
		nats.DeliverLastPerSubject(), nats.HeadersOnly(), nats.Context(ctx))
	if err == nil {
		sub.SetClosedHandler(func(string) { fail(errors.New("the consumer of the task records ended")) })
		left, err = sub.InitialConsumerPending()
		if err == nil && left == 0 {
			ready = true
			handle(SummaryUpdate{Ready: true})
		}
	}
	mu.Unlock()
	if err != nil {
		return fmt.Errorf("consumer of the task records: %w", err)
	}
	<-ctx.Done()
	_ = sub.Unsubscribe() // it ends with the context anyway
	mu.Lock()             // nothing is handled any more
	defer mu.Unlock()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	return nil
}

// summaryUpdate reads the message of a record without its body, and says how many are pending after it.
func (b *Bus) summaryUpdate(m *nats.Msg) (u SummaryUpdate, pending uint64, err error) {
	meta, err := m.Metadata()
	if err != nil {
		return u, 0, fmt.Errorf("metadata of %s: %w", m.Subject, err)
	}
	u.Revision = meta.Sequence.Stream
	k, err := events.ParseRecordSubject(m.Subject)
	if err != nil {
		b.log.Error("a key of the task bucket is no task and is left out", "subject", m.Subject)
		return u, meta.NumPending, nil
	}
	u.Key = k
	if marker := m.Header.Get(headerOperation) != "" || m.Header.Get(jetstream.MarkerReasonHeader) != ""; marker {
		return u, meta.NumPending, nil
	}
	text := m.Header.Get(headerSummary)
	if text == "" {
		return u, meta.NumPending, errNoSummary
	}
	if err := json.Unmarshal([]byte(text), &u.Summary); err != nil {
		return u, meta.NumPending, fmt.Errorf("%w: summary of %s: %w", errNoSummary, k, err)
	}
	if u.Summary == nil || u.Summary.Version < summaryVersion {
		return u, meta.NumPending, fmt.Errorf("%w: that of %s is of an older version", errNoSummary, k)
	}
	return u, meta.NumPending, nil
}
