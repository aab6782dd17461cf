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
	// maxPosts bounds the webhooks that are on their way at one time; the others wait.
	maxPosts = 32
	// maxHookAnswerBytes bounds what is read of an answer to a webhook.
	maxHookAnswerBytes = 64 << 10
	// beforeReplyLimit bounds the wait that the fault BeforeReply makes.
	beforeReplyLimit = 30 * time.Second
)

// A Notice is one webhook that a job has to send.
type Notice struct {
	// State is what it tells, in the provider's word; a job tells each state once.
	State string
	// At is when the job comes to that state.
	At time.Time
	// Last says that nothing comes after it.
	Last bool
}

// A Teller knows what a provider's webhooks say.
type Teller interface {
	// Notices returns the webhooks of a job, oldest first, past and to come, as far as their times are known.
	Notices(j Job) []Notice
	// Letter writes one of them as it is sent now. Of the flaws it heeds those that are about what is written.
	Letter(j Job, n Notice, f Flaws) (body []byte, header http.Header)
}

// CourierOptions are what a Courier needs.
type CourierOptions struct {
	Ledger *Ledger
	Teller Teller
	// Transport carries the webhooks; it follows no redirects. Without one there are no webhooks.
	Transport http.RoundTripper
	// Log gets a line for each webhook that was not accepted; never nil.
	Log *slog.Logger
	// Timeout bounds one post.
	Timeout time.Duration
	// Retries are the waits between the tries of one webhook; there are as many tries and one.
	Retries []time.Duration
	Faults  Faults
	// Advance tells which jobs may have new notices since the last call, and when that will be so again: zero for nobody knows.
	// nil if notices never depend on other jobs.
	Advance func(now time.Time) (changed []string, next time.Time)
}

// A Courier delivers webhooks: each at least once unless its receiver refuses it, in no order that can be relied on, and it
// records in the ledger what became of them. What was not delivered when the emulator ended goes on when it runs again on the
// same ledger; what was on its way then is sent again.
//
//	accepted job -> Accepted/Look -> notices, each at its time -> post -> 2xx: delivered | 3xx: refused | else: wait, try again
type Courier struct {
	o    CourierOptions
	wake chan struct{}

	mu      sync.Mutex
	faults  Faults
	due     letters
	pending map[notice]time.Time // what is in due, or on its way (zero time)
	tried   map[string]chan struct{}
}

// notice names one webhook.
type notice struct{ job, state string }

// NewCourier returns a Courier that does nothing until Run. It panics on Faults that are not valid: they are the program's own.
func NewCourier(o CourierOptions) *Courier {
	if err := o.Faults.Validate(); err != nil {
		panic(err)
	}
	return &Courier{
		o: o, faults: o.Faults, wake: make(chan struct{}, 1), pending: map[notice]time.Time{}, tried: map[string]chan struct{}{},
	}
}

// On reports whether webhooks are sent at all.
func (c *Courier) On() bool { return c.o.Transport != nil }

// Faults returns what befalls webhooks from now on.
func (c *Courier) Faults() Faults {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.faults
}

// SetFaults changes what befalls webhooks from now on. It fails with what is wrong with f.
func (c *Courier) SetFaults(f Faults) error {
	if err := f.Validate(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = f
	return nil
}

// Flaws returns what befalls one notice of a job.
func (c *Courier) Flaws(j Job, state string) Flaws { return c.Faults().of(j, state) }

// Accepted tells of a new job, before its submit is answered. It returns at once unless BeforeReply befalls a webhook of the job.
func (c *Courier) Accepted(ctx context.Context, id string) {
	j, ok := c.o.Ledger.Job(id)
	if !ok || !c.On() || j.Correlation == "" || !c.Flaws(j, "").Has(BeforeReply) {
		c.Look(id)
		return
	}
	tried := make(chan struct{})
	c.mu.Lock()
	c.tried[id] = tried
	c.mu.Unlock()
	c.Look(id)
	limit := time.NewTimer(beforeReplyLimit)
	defer limit.Stop()
	select {
	case <-tried:
	case <-ctx.Done():
	case <-limit.C:
	}
	c.mu.Lock()
	delete(c.tried, id)
	c.mu.Unlock()
}

// Look plans the webhooks of a job whose state may have changed otherwise than by time.
func (c *Courier) Look(id string) {
	if !c.On() {
		return
	}
	defer c.Wake() // in any case: with this job's state that of others may have changed
	j, ok := c.o.Ledger.Job(id)
	if !ok || j.Correlation == "" {
		return
	}
	notices := c.o.Teller.Notices(j)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range notices {
		c.plan(j, n, notices[len(notices)-1])
	}
}

// Wake makes Run ask CourierOptions.Advance again: the state of some job may have changed otherwise than by time.
func (c *Courier) Wake() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// plan puts a notice in its place; the caller holds the lock.
func (c *Courier) plan(j Job, n, last Notice) {
	told := j.Delivery(n.State)
	if told.Ended != "" {
		return
	}
	at, ok := c.faults.of(j, n.State).due(n, last)
	if told.Tries > 0 {
		at, ok = told.At.Add(c.wait(told.Tries)), true
	}
	key := notice{j.ID, n.State}
	planned, known := c.pending[key]
	if !ok || known && (planned.IsZero() || planned.Equal(at)) {
		return
	}
	c.pending[key] = at
	heap.Push(&c.due, letter{key, at})
}

// wait is the time between a try and the next.
func (c *Courier) wait(tries int) time.Duration {
	if tries > len(c.o.Retries) {
		return 0
	}
	return c.o.Retries[tries-1]
}

// Run delivers webhooks until ctx ends, and then waits for those that are on their way. It returns nil.
func (c *Courier) Run(ctx context.Context) error {
	if !c.On() {
		<-ctx.Done()
		return nil
	}
	for _, j := range c.o.Ledger.Jobs() {
		c.Look(j.ID)
	}
	var posts sync.WaitGroup
	defer posts.Wait()
	free := make(chan struct{}, maxPosts)
	clock := time.NewTimer(0)
	defer clock.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
		case <-clock.C:
		}
		next := time.Time{}
		if c.o.Advance != nil {
			var changed []string
			changed, next = c.o.Advance(time.Now())
			for _, id := range changed {
				c.Look(id)
			}
		}
		for key, ok := c.pop(); ok; key, ok = c.pop() {
			select {
			case <-ctx.Done():
				return nil
			case free <- struct{}{}:
			}
			posts.Go(func() {
				c.deliver(ctx, key)
				<-free
			})
		}
		if first := c.first(); next.IsZero() || !first.IsZero() && first.Before(next) {
			next = first
		}
		clock.Stop()
		if !next.IsZero() {
			clock.Reset(max(0, time.Until(next)))
		}
	}
}

// pop takes a webhook whose time has come.
func (c *Courier) pop() (notice, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	for len(c.due) > 0 && !c.due[0].at.After(now) {
		l := heap.Pop(&c.due).(letter)
		if at, ok := c.pending[l.notice]; ok && at.Equal(l.at) { // else it was planned anew
			c.pending[l.notice] = time.Time{}
			return l.notice, true
		}
	}
	return notice{}, false
}

// first is when the next webhook is due, zero if there is none.
func (c *Courier) first() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.due) == 0 {
		return time.Time{}
	}
	return c.due[0].at
}

// deliver makes one try of a webhook, if it is still to be sent, and plans the next.
func (c *Courier) deliver(ctx context.Context, key notice) {
	told, ok := c.try(ctx, key)
	if ok && ctx.Err() == nil {
		if err := c.o.Ledger.Update(key.job, func(j *Job) { j.record(told) }); err != nil {
			c.o.Log.Error("ledger", "error", err)
		}
	}
	c.mu.Lock()
	delete(c.pending, key)
	if tried := c.tried[key.job]; ok && tried != nil {
		delete(c.tried, key.job)
		close(tried)
	}
	c.mu.Unlock()
	if ctx.Err() == nil {
		c.Look(key.job)
	}
}

// try posts a webhook; ok is false if there is nothing to send any more.
func (c *Courier) try(ctx context.Context, key notice) (told Delivery, ok bool) {
	j, n, ok := c.find(key)
	told = j.Delivery(key.state)
	if !ok || told.Ended != "" {
		return told, false
	}
	flaws := c.Flaws(j, n.State)
	if flaws.Has(Drop) {
		told.At, told.Ended = time.Now(), Dropped
		return told, true
	}
	lies := []Fault{Forged, Stranger}
	for _, lie := range lies {
		if told.Tries == 0 && flaws.Has(lie) {
			told.Forged++
			// A receiver may well take a forgery about another job: it is signed as it should be.
			if c.post(ctx, j, n, only(lie)) && lie == Stranger {
				told.Fooled++
			}
		}
	}
	flaws = flaws.without(lies...)
	if told.Tries > 0 {
		flaws = flaws.without(BadSignature, OldTimestamp)
	}
	told.Tries++
	told.Status = c.status(ctx, j, n, flaws)
	told.At = time.Now()
	switch {
	case told.Status/100 == 2:
		told.Accepted++
		told.Ended = Delivered
		if flaws.Has(BadSignature) || flaws.Has(OldTimestamp) {
			told.Fooled++
		}
		if flaws.Has(Duplicate) {
			told.Tries++
			if c.post(ctx, j, n, flaws) {
				told.Accepted++
			}
		}
	case told.Status/100 == 3:
		told.Ended = Refused
	case told.Tries > len(c.o.Retries):
		told.Ended = GaveUp
	}
	if told.Ended != Delivered {
		c.o.Log.Info("webhook not accepted", "job", j.ID, "state", n.State, "try", told.Tries, "status", told.Status)
	}
	return told, true
}

func (c *Courier) find(key notice) (Job, Notice, bool) {
	j, ok := c.o.Ledger.Job(key.job)
	if !ok {
		return j, Notice{}, false
	}
	for _, n := range c.o.Teller.Notices(j) {
		if n.State == key.state {
			return j, n, true
		}
	}
	return j, Notice{}, false
}

// post reports whether a post was accepted.
func (c *Courier) post(ctx context.Context, j Job, n Notice, f Flaws) bool {
	return c.status(ctx, j, n, f)/100 == 2
}

// status posts a webhook and returns the status of the answer, 0 for none.
func (c *Courier) status(ctx context.Context, j Job, n Notice, f Flaws) int {
	body, header := c.o.Teller.Letter(j, n, f)
	status, _, err := Post(ctx, c.o.Transport, c.o.Timeout, j.Correlation, header, body)
	if err != nil {
		c.o.Log.Debug("webhook", "job", j.ID, "error", err)
	}
	return status
}

// Post sends JSON and returns the status and at most 64 KiB of the answer. The status is 0 if there was none within the timeout.
// It follows no redirect.
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
	answer, err = io.ReadAll(io.LimitReader(res.Body, maxHookAnswerBytes))
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return 0, nil, err
	}
	return res.StatusCode, answer, nil
}

// letters is a heap of what is to be sent, the earliest first.
type letters []letter

type letter struct {
	notice
	at time.Time
}

func (l letters) Len() int           { return len(l) }
func (l letters) Less(i, j int) bool { return l[i].at.Before(l[j].at) }
func (l letters) Swap(i, j int)      { l[i], l[j] = l[j], l[i] }
func (l *letters) Push(x any)        { *l = append(*l, x.(letter)) }

func (l *letters) Pop() any {
	old := *l
	last := old[len(old)-1]
	*l = old[:len(old)-1]
	return last
}
