package provider

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"reelay/events"
)

// A Lane is one account at a provider, as the services take it. It is a plain value: opening one makes no call.
type Lane struct {
	// Name is the lane's, usually the provider's own.
	Name     string
	Provider string
	// Driver speaks to the provider. The status service takes lanes without one.
	Driver Driver
	// Emulated says that no money can be spent.
	Emulated bool
	// Free says that nothing is ever charged: a submit in doubt may be repeated.
	Free bool
	// PollInterval is the time between two polls of a task.
	PollInterval time.Duration
	// Horizon is how long after a submit in doubt the provider may stay silent about a task before the request's policy
	// settles it.
	Horizon func(events.Task) time.Duration
	// Handshake says that the provider tries a callback URL before it accepts a request, and refuses one that does not
	// answer.
	Handshake bool
	// NoCallback keeps the requests of the lane from naming a callback URL: its tasks are only polled.
	NoCallback bool
	// Limits are what the provider grants by default, by limit group as in events.LaneLimits; what is set in KV goes
	// before them.
	Limits map[string]events.ModelLimits
	// ConcurrencyCodes are the provider's codes for refusals for the tasks in flight, not for the rate of requests.
	ConcurrencyCodes []string
}

// A Driver speaks one provider's wire format for one account. It is safe for concurrent use, and decides nothing.
type Driver interface {
	// Check returns an *events.FieldError if the provider cannot serve the model with that task type and input. It does no
	// I/O.
	Check(t events.TaskType, model string, input json.RawMessage) error
	// Ref returns the handle of the task that the provider knows as id. It does no I/O.
	Ref(model, id string) (json.RawMessage, error)
	// Features tells what the provider can do with tasks of a model.
	Features(model string) Features

	// Render returns the paid request of a task as exact bytes; callbackURL is empty for none. It does no I/O.
	Render(t events.Task, input json.RawMessage, callbackURL string) (Request, error)
	// Classify reads the answer to a paid request whose body was sent. It does no I/O.
	Classify(model string, sent []byte, r Reply) Answer

	// Poll asks where a task is. Its errors are *Error and say nothing about the task.
	Poll(ctx context.Context, ref json.RawMessage) (Snapshot, error)
	// ReadCallback reads the body of a callback whose sender was verified. It does no I/O. Its error is an *Error and says
	// nothing about the task.
	ReadCallback(model string, body []byte) (Callback, error)
	// List shows what the provider has accepted since a time and what may be the one request that a task's input made.
	// What speaks against that is left out; Found.Exact is as its documentation says. complete says that a request that is
	// not shown was not accepted, as far as one listing can tell. Its errors are *Error and say nothing about the task.
	List(ctx context.Context, t events.Task, input json.RawMessage,
		since time.Time) (found []Found, complete bool, err error)
	// Cancel asks for the end of a task.
	Cancel(ctx context.Context, ref json.RawMessage) (CancelOutcome, error)
}

// A FreeDriver is that of a lane whose requests cost nothing and may be sent again. They go to it, and not over HTTP.
type FreeDriver interface {
	// Ready fails with the reason, for people, while nobody would do what is sent.
	Ready(ctx context.Context) error
	// Send sends a request. After an error it may have been sent all the same.
	Send(ctx context.Context, r Request) (Reply, error)
}

// A CallbackLane is what receives the callbacks of one lane. It holds no API key.
type CallbackLane struct {
	Name     string
	Provider string
	// Verifier checks signatures; nil for a provider that signs nothing.
	Verifier CallbackVerifier
	// Handshake answers a provider that asks whether a URL is wanted; its answer is nil for a body that does not ask, its
	// error refuses the body. It is nil for a provider that does not ask.
	Handshake func(body []byte) (answer []byte, err error)
}

// A CallbackVerifier tells a provider's own callbacks from others by its signature. It fails with one of the
// ErrCallback errors.
type CallbackVerifier interface {
	Verify(ctx context.Context, header http.Header, body []byte, arrived time.Time) error
}
