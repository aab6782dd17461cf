package bus

import (
	"context"
	"crypto/sha256"
	"fmt"

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
// same body for the same attempt is stored once within events.EventDuplicates and reported as a duplicate after that.
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
	if err != nil {
		return false, fmt.Errorf("callback of %s at %s: %w", c.Task, c.Lane, err)
	}
	return ack.Duplicate, nil
}

// callbackID is the same for a callback that is delivered again, and for no other.
func callbackID(c events.Callback) string {
	return fmt.Sprintf("%s.%s.%d.%x", c.Lane, c.Task, c.Attempt, sha256.Sum256(c.Body))
}
