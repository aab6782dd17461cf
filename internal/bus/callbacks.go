package bus

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
)

// A CallbackPublisher hands provider callbacks to the pipeline. All it needs is the right to publish below
// reelay.callback and to hear the answers; the stream is made by the other services, and may be missing, as NATS may,
// until they have.
type CallbackPublisher struct {
	nc *nats.Conn
	js jetstream.JetStream
	// failed is the failure of the last publish, nil where it succeeded.
	failed atomic.Pointer[failure]
}

type failure struct {
	err error
	at  time.Time
}

// failureFresh is how long a failed publish counts that no other has followed.
const failureFresh = 30 * time.Second

// Check says why the last callback could not be handed on, for 30 s.
func (p *CallbackPublisher) Check() error {
	if f := p.failed.Load(); f != nil && time.Since(f.at) < failureFresh {
		return f.err
	}
	return nil
}

// NewCallbackPublisher makes no call.
func NewCallbackPublisher(nc *nats.Conn) (*CallbackPublisher, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("jetstream: %w", err)
	}
	return &CallbackPublisher{nc: nc, js: js}, nil
}

// Publish returns when the stream has the callback, or with an error at the end of ctx, which must have a deadline. The
// same body for the same attempt is stored once within events.EventDuplicates and reported as a duplicate after that; one
// that was refused, once in some seconds.
// After an error the callback may have been stored or not.
func (p *CallbackPublisher) Publish(ctx context.Context, c events.Callback) (duplicate bool, err error) {
	// Not while the connection is down: nats.go would keep the message back and send it long after the provider was
	// answered to try again.
	if !p.nc.IsConnected() {
		return false, nats.ErrDisconnected
	}
	msg := nats.NewMsg(c.Subject())
	msg.Data = c.Body
	for name, value := range c.Header() {
		msg.Header.Set(name, value)
	}
	ack, err := p.js.PublishMsg(ctx, msg, jetstream.WithMsgID(callbackID(c)))
	p.failed.Store(nil)
	if err != nil {
		p.failed.Store(&failure{err, time.Now()})
		return false, fmt.Errorf("callback of %s at %s: %w", c.Task, c.Lane, err)
	}
	return ack.Duplicate, nil
}

// refusedOnce is how long the refused callbacks of an attempt count as one. It is far below events.EventDuplicates: a
// provider may call back in vain about its queue, and minutes later about the end.
const refusedOnce = 5 * time.Second

// callbackID is the same for a callback that is delivered again, and for no other.
func callbackID(c events.Callback) string {
	if c.Unproven != "" {
		return fmt.Sprintf("%s.%s.%d.%s.%d", c.Lane, c.Task, c.Attempt, c.Unproven, c.Received.Truncate(refusedOnce).Unix())
	}
	return fmt.Sprintf("%s.%s.%d.%x", c.Lane, c.Task, c.Attempt, sha256.Sum256(c.Body))
}
