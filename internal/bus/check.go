package bus

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
)

// stuckAfter is how long messages may wait at a consumer that delivers none.
const stuckAfter = 30 * time.Second

// consumers are those that this process takes messages from, and how far each was when it was asked last.
type consumers struct {
	mu  sync.Mutex
	all map[string]*progress
}

type progress struct {
	consumer  events.Consumer
	delivered uint64
	since     time.Time
}

func (c *consumers) add(made events.Consumer) (remove func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = map[string]*progress{}
	}
	c.all[made.Durable] = &progress{consumer: made, since: time.Now()}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.all, made.Durable)
	}
}

func (c *consumers) list() (all []*progress) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.all {
		all = append(all, p)
	}
	return all
}

// Check says why this process could not do its work now: the leader of the record stream does not answer, or a
// consumer that it takes messages from is gone, is paused, or delivers none of those that wait. It is called by one
// goroutine at a time.
func (b *Bus) Check(ctx context.Context) error {
	if _, err := b.LastChange(ctx); err != nil {
		return err
	}
	for _, p := range b.consuming.list() {
		info, err := b.consumer(ctx, p.consumer)
		if err != nil {
			return err
		}
		if err := p.check(info, time.Now()); err != nil {
			return err
		}
	}
	return nil
}

func (p *progress) check(info *jetstream.ConsumerInfo, now time.Time) error {
	if info.Paused {
		return fmt.Errorf("consumer %s of %s is paused for another %v; end that with: nats consumer resume %[2]s %[1]s",
			p.consumer.Durable, p.consumer.Stream, info.PauseRemaining.Round(time.Second))
	}
	if info.NumPending == 0 || p.consumer.Patient || info.Delivered.Consumer != p.delivered {
		p.delivered, p.since = info.Delivered.Consumer, now
	}
	if now.Sub(p.since) > stuckAfter {
		return fmt.Errorf("consumer %s of %s delivers none of %d messages, with %d of %d unanswered", p.consumer.Durable,
			p.consumer.Stream, info.NumPending, info.NumAckPending, info.Config.MaxAckPending)
	}
	return nil
}
