package emulator

import (
	"bytes"
	"container/heap"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

const (
	// maxConcurrentPosts bounds the webhooks that are under way at one time; the others wait.
	maxConcurrentPosts = 32
	// maxAnswerBytes bounds what is read of an answer to a webhook.
	maxAnswerBytes = 64 << 10
	// beforeReplyLimit bounds the wait that the fault BeforeReply makes.
	beforeReplyLimit = 30 * time.Second
)

// A Webhook is one that a job has to send.
type Webhook struct {
	// State is the state that it reports, in the provider's word; a job reports each state once.
	State string
	// At is when the job reaches that state.
	At time.Time
	// Last says that no other webhook of the job comes after it.
	Last bool
}

// A WebhookSource renders a provider's webhooks.
type WebhookSource interface {
	// Webhooks returns the webhooks of a job, oldest first, past and to come, as far as their times are known.
	Webhooks(j Job) []Webhook
	// Render returns one of them as it is sent now. It applies those flaws that change the content.
	Render(j Job, w Webhook, f Flaws) (body []byte, header http.Header)
}

// WebhookSenderOptions are what a WebhookSender needs.
type WebhookSenderOptions struct {
	Ledger *Ledger
	Source WebhookSource
	// Transport carries the webhooks; it follows no redirects. Without one there are no webhooks.
	Transport http.RoundTripper
	// Log gets a line for each webhook that was not accepted; never nil.
	Log *slog.Logger
	// Timeout bounds one post.
	Timeout time.Duration
	// Retries are the delays between the tries of one webhook; there is one more try than delays.
	Retries []time.Duration
	Faults  Faults
	// Advance returns the jobs that may have new webhooks since the last call, and when that will be so again: zero if
	// unknown. It is nil if webhooks never depend on other jobs.
	Advance func(now time.Time) (changed []string, next time.Time)
}

// A WebhookSender delivers webhooks: each at least once unless its receiver refuses it, in no guaranteed order. It
// records in the ledger what became of them. Webhooks that were not delivered when the emulator stopped are continued
// when it runs again on the same ledger; those under way at that moment are sent again.
//
// accepted job -> Accepted/Plan -> webhooks, each at its time -> post -> 2xx: delivered | 3xx: refused | else: wait,
// try again
type WebhookSender struct {
	o    WebhookSenderOptions
	wake chan struct{}

	mu      sync.Mutex
	faults  Faults
	queue   sendQueue
	pending map[webhookKey]time.Time // the webhooks in queue, or under way (zero time)
	tried   map[string]chan struct{}
}

// webhookKey identifies one webhook.
type webhookKey struct{ job, state string }

// NewWebhookSender returns a WebhookSender that does nothing until Run. It panics on Faults that are not valid,
// because they come from the program itself.
func NewWebhookSender(o WebhookSenderOptions) *WebhookSender {
	if err := o.Faults.Validate(); err != nil {
		panic(err)
	}
	return &WebhookSender{
		o: o, faults: o.Faults, wake: make(chan struct{}, 1), pending: map[webhookKey]time.Time{},
		tried: map[string]chan struct{}{},
	}
}

// Enabled reports whether webhooks are sent at all.
func (s *WebhookSender) Enabled() bool { return s.o.Transport != nil }

// Faults returns the faults of webhooks from now on.
func (s *WebhookSender) Faults() Faults {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults
}

// SetFaults replaces the faults of webhooks from now on. It fails with what is wrong with f.
func (s *WebhookSender) SetFaults(f Faults) error {
	if err := f.Validate(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = f
	return nil
}

// Flaws returns the flaws of one webhook of a job.
func (s *WebhookSender) Flaws(j Job, state string) Flaws { return s.Faults().flawsOf(j, state) }

// Accepted plans the webhooks of a new job, before its submit is answered. It returns at once unless the job has the
// fault BeforeReply.
func (s *WebhookSender) Accepted(ctx context.Context, id string) {
	j, ok := s.o.Ledger.Job(id)
	if !ok || !s.Enabled() || j.Correlation == "" || !s.Flaws(j, "").Has(BeforeReply) {
		s.Plan(id)
		return
	}
	tried := make(chan struct{})
	s.mu.Lock()
	s.tried[id] = tried
	s.mu.Unlock()
	s.Plan(id)
	limit := time.NewTimer(beforeReplyLimit)
	defer limit.Stop()
	select {
	case <-tried:
	case <-ctx.Done():
	case <-limit.C:
	}
	s.mu.Lock()
	delete(s.tried, id)
	s.mu.Unlock()
}

// Plan plans the webhooks of a job whose state may have changed for another reason than time.
func (s *WebhookSender) Plan(id string) {
	if !s.Enabled() {
		return
	}
	defer s.Wake() // in any case: with this job's state that of others may have changed
	j, ok := s.o.Ledger.Job(id)
	if !ok || j.Correlation == "" {
		return
	}
	webhooks := s.o.Source.Webhooks(j)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range webhooks {
		s.planOne(j, w, webhooks[len(webhooks)-1])
	}
}

// Wake makes Run ask WebhookSenderOptions.Advance again: the state of some job may have changed for another reason
// than time.
func (s *WebhookSender) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// planOne queues a webhook; the caller holds the lock.
func (s *WebhookSender) planOne(j Job, w, last Webhook) {
	delivery := j.Delivery(w.State)
	if delivery.Ended != "" {
		return
	}
	at, ok := s.faults.flawsOf(j, w.State).sendAt(w, last)
	if delivery.Tries > 0 {
		at, ok = delivery.At.Add(s.retryDelay(delivery.Tries)), true
	}
	key := webhookKey{j.ID, w.State}
	planned, known := s.pending[key]
	if !ok || known && (planned.IsZero() || planned.Equal(at)) {
		return
	}
	s.pending[key] = at
	heap.Push(&s.queue, queued{key, at})
}

// retryDelay returns the delay after so many tries.
func (s *WebhookSender) retryDelay(tries int) time.Duration {
	if tries > len(s.o.Retries) {
		return 0
	}
	return s.o.Retries[tries-1]
}

// Run delivers webhooks until ctx ends, and then waits for those under way. It returns nil.
func (s *WebhookSender) Run(ctx context.Context) error {
	if !s.Enabled() {
		<-ctx.Done()
		return nil
	}
	for _, j := range s.o.Ledger.Jobs() {
		s.Plan(j.ID)
	}
	var posts sync.WaitGroup
	defer posts.Wait()
	free := make(chan struct{}, maxConcurrentPosts)
	clock := time.NewTimer(0)
	defer clock.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		case <-clock.C:
		}
		next := time.Time{}
		if s.o.Advance != nil {
			var changed []string
			changed, next = s.o.Advance(time.Now())
			for _, id := range changed {
				s.Plan(id)
			}
		}
		for key, ok := s.next(); ok; key, ok = s.next() {
			select {
			case <-ctx.Done():
				return nil
			case free <- struct{}{}:
			}
			posts.Go(func() {
				s.deliver(ctx, key)
				<-free
			})
		}
		if first := s.nextAt(); next.IsZero() || !first.IsZero() && first.Before(next) {
			next = first
		}
		clock.Stop()
		if !next.IsZero() {
			clock.Reset(max(0, time.Until(next)))
		}
	}
}

// next takes a webhook that is due from the queue.
func (s *WebhookSender) next() (webhookKey, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for len(s.queue) > 0 && !s.queue[0].at.After(now) {
		l := heap.Pop(&s.queue).(queued)
		if at, ok := s.pending[l.webhookKey]; ok && at.Equal(l.at) { // else it was planned again
			s.pending[l.webhookKey] = time.Time{}
			return l.webhookKey, true
		}
	}
	return webhookKey{}, false
}

// nextAt returns when the next webhook is due, zero if there is none.
func (s *WebhookSender) nextAt() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return time.Time{}
	}
	return s.queue[0].at
}

// deliver makes one try of a webhook, unless it is done, and plans the next.
func (s *WebhookSender) deliver(ctx context.Context, key webhookKey) {
	d, ok := s.try(ctx, key)
	if ok && ctx.Err() == nil {
		if err := s.o.Ledger.Update(key.job, func(j *Job) { j.setDelivery(d) }); err != nil {
			s.o.Log.Error("webhook could not be recorded in the ledger", "error", err)
		}
	}
	s.mu.Lock()
	delete(s.pending, key)
	if tried := s.tried[key.job]; ok && tried != nil {
		delete(s.tried, key.job)
		close(tried)
	}
	s.mu.Unlock()
	if ctx.Err() == nil {
		s.Plan(key.job)
	}
}

// try posts a webhook; ok is false if there is nothing left to send.
func (s *WebhookSender) try(ctx context.Context, key webhookKey) (d Delivery, ok bool) {
	j, w, ok := s.find(key)
	d = j.Delivery(key.state)
	if !ok || d.Ended != "" {
		return d, false
	}
	flaws := s.Flaws(j, w.State)
	if flaws.Has(Drop) {
		d.At, d.Ended = time.Now(), Dropped
		return d, true
	}
	forgeries := []Fault{Forged, Stranger}
	for _, forgery := range forgeries {
		if d.Tries == 0 && flaws.Has(forgery) {
			d.Forged++
			// A receiver may accept a forgery about another job: its signature is valid.
			if s.accepted(ctx, j, w, only(forgery)) && forgery == Stranger {
				d.Fooled++
			}
		}
	}
	flaws = flaws.without(forgeries...)
	if d.Tries > 0 {
		flaws = flaws.without(BadSignature, OldTimestamp)
	}
	d.Tries++
	d.Status = s.post(ctx, j, w, flaws)
	d.At = time.Now()
	switch {
	case d.Status/100 == 2:
		d.Accepted++
		d.Ended = Delivered
		if flaws.Has(BadSignature) || flaws.Has(OldTimestamp) {
			d.Fooled++
		}
		if flaws.Has(Duplicate) {
			d.Tries++
			if s.accepted(ctx, j, w, flaws) {
				d.Accepted++
			}
		}
	case d.Status/100 == 3:
		d.Ended = Refused
	case d.Tries > len(s.o.Retries):
		d.Ended = GaveUp
	}
	if d.Ended != Delivered {
		s.o.Log.Info("webhook was not accepted", "job", j.ID, "state", w.State, "try", d.Tries, "status", d.Status)
	}
	return d, true
}

func (s *WebhookSender) find(key webhookKey) (Job, Webhook, bool) {
	j, ok := s.o.Ledger.Job(key.job)
	if !ok {
		return j, Webhook{}, false
	}
	for _, w := range s.o.Source.Webhooks(j) {
		if w.State == key.state {
			return j, w, true
		}
	}
	return j, Webhook{}, false
}

// accepted posts a webhook and reports whether it was accepted.
func (s *WebhookSender) accepted(ctx context.Context, j Job, w Webhook, f Flaws) bool {
	return s.post(ctx, j, w, f)/100 == 2
}

// post posts a webhook and returns the status of the answer, 0 for none.
func (s *WebhookSender) post(ctx context.Context, j Job, w Webhook, f Flaws) int {
	body, header := s.o.Source.Render(j, w, f)
	status, _, err := Post(ctx, s.o.Transport, s.o.Timeout, j.Correlation, header, body)
	if err != nil {
		s.o.Log.Debug("webhook could not be posted", "job", j.ID, "error", err)
	}
	return status
}

// Post sends JSON and returns the status and at most 64 KiB of the answer. The status is 0 if there was none within the
// timeout. It follows no redirect.
func Post(
	ctx context.Context, transport http.RoundTripper, timeout time.Duration, url string, header http.Header, body []byte,
) (status int, answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	for name, values := range header {
		r.Header[name] = values
	}
	r.Header.Set("Content-Type", "application/json")
	res, err := transport.RoundTrip(r)
	if err != nil {
		return 0, nil, err
	}
	answer, err = io.ReadAll(io.LimitReader(res.Body, maxAnswerBytes))
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return 0, nil, err
	}
	return res.StatusCode, answer, nil
}

// sendQueue is a heap of planned webhooks, the earliest first.
type sendQueue []queued

type queued struct {
	webhookKey
	at time.Time
}

func (l sendQueue) Len() int           { return len(l) }
func (l sendQueue) Less(i, j int) bool { return l[i].at.Before(l[j].at) }
func (l sendQueue) Swap(i, j int)      { l[i], l[j] = l[j], l[i] }
func (l *sendQueue) Push(x any)        { *l = append(*l, x.(queued)) }

func (l *sendQueue) Pop() any {
	old := *l
	last := old[len(old)-1]
	*l = old[:len(old)-1]
	return last
}
