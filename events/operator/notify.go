package operator

import (
	"bytes"
	"time"

	"reelay/events"
)

// The verbs of the webhooks to users' services. The notifier answers them. No answer has the URL or the secret of an
// endpoint.
const (
	VerbNotify       events.Verb = "notify"        // NotifyReply
	VerbNotifyReplay events.Verb = "notify-replay" // a NotifyReplayRequest in, a NotifyReplayReply out
	VerbNotifyTest   events.Verb = "notify-test"   // a NotifyTestRequest in, a NotifyTestReply out
)

// MaxNotifyReplay is how many dead letters one notify-replay goes through at most, DefaultNotifyReplay where its limit is
// left out.
const (
	MaxNotifyReplay     = 1_000
	DefaultNotifyReplay = 100
)

// NotifyReply answers notify: every endpoint of the file of the notifier that answers, by name, and those that
// notifications wait for and the file does not define.
type NotifyReply struct {
	Endpoints []NotifyEndpoint `json:"endpoints"`
	// FileError says why the file cannot be read as it is now; the notifier goes on with what it read before.
	FileError string `json:"file_error,omitempty"`
}

// A NotifyEndpoint is one endpoint, and how it does.
type NotifyEndpoint struct {
	Endpoint string `json:"endpoint"`
	// Defined says that the file has it; what waits for another waits until it does.
	Defined bool `json:"defined"`
	// Projects may use it, all where there are none; Always says that it is sent all their events, not only those of
	// requests that name it. Events are the types that it is sent.
	Projects []string           `json:"projects,omitempty"`
	Always   bool               `json:"always,omitempty"`
	Events   []events.EventType `json:"events,omitempty"`
	// Waiting notifications are stored and not delivered, the oldest since Oldest. Dead ones were given up and are kept as
	// dead letters, also when they were replayed.
	Waiting int        `json:"waiting"`
	Oldest  *time.Time `json:"oldest,omitempty"`
	Dead    int        `json:"dead"`
	// The rest is as the notifier that answers has seen it: how many deliveries have failed since the last that did not,
	// what was wrong with the last one, and when something was delivered last.
	Failures    int        `json:"failures,omitempty"`
	LastFailure string     `json:"last_failure,omitempty"`
	FailedAt    *time.Time `json:"failed_at,omitempty"`
	DeliveredAt *time.Time `json:"delivered_at,omitempty"`
}

// A NotifyReplayRequest has the dead letters of an endpoint delivered again, oldest first. The letters stay; the
// receiver knows an event that it has by its webhook-id.
type NotifyReplayRequest struct {
	Endpoint string `json:"endpoint"`
	// Since leaves out what was given up before.
	Since *time.Time `json:"since,omitempty"`
	// Limit is how many letters are gone through, After the letter behind which, as an earlier answer says.
	Limit int    `json:"limit,omitempty"`
	After uint64 `json:"after,omitempty"`
}

// DecodeNotifyReplayRequest reads and checks what notify-replay is asked. Its error is a FieldError.
func DecodeNotifyReplayRequest(data []byte) (NotifyReplayRequest, error) {
	var r NotifyReplayRequest
	err := events.DecodeStrict(data, "payload",
		map[string]any{"endpoint": &r.Endpoint, "since": &r.Since, "limit": &r.Limit, "after": &r.After})
	if err == nil {
		err = validEndpoint(r.Endpoint)
	}
	if err != nil {
		return r, err
	}
	if r.Limit < 0 || r.Limit > MaxNotifyReplay {
		return r, events.NewFieldError("limit", "%d is not between 1 and %d", r.Limit, MaxNotifyReplay)
	}
	if r.Limit == 0 {
		r.Limit = DefaultNotifyReplay
	}
	return r, nil
}

// A NotifyReplayReply answers notify-replay.
type NotifyReplayReply struct {
	Replayed int `json:"replayed"`
	// NextAfter is the After of the next page; 0 on the last.
	NextAfter uint64 `json:"next_after"`
}

// A NotifyTestRequest has an endpoint sent a body of the type "test", once and at once.
type NotifyTestRequest struct {
	Endpoint string `json:"endpoint"`
}

// DecodeNotifyTestRequest reads and checks what notify-test is asked. Its error is a FieldError.
func DecodeNotifyTestRequest(data []byte) (NotifyTestRequest, error) {
	var r NotifyTestRequest
	if len(bytes.TrimSpace(data)) > 0 {
		if err := events.DecodeStrict(data, "payload", map[string]any{"endpoint": &r.Endpoint}); err != nil {
			return r, err
		}
	}
	return r, validEndpoint(r.Endpoint)
}

// A NotifyTestReply answers notify-test.
type NotifyTestReply struct {
	Endpoint string `json:"endpoint"`
	// Failure is why the endpoint did not take it; empty if it has.
	Failure string  `json:"failure,omitempty"`
	TookS   float64 `json:"took_s"`
	// WebhookID is that of the delivery.
	WebhookID string `json:"webhook_id"`
}

func validEndpoint(name string) error {
	if !events.ValidToken(name) {
		return events.NewFieldError("endpoint", "%.80q is not 1 to %d characters of A-Z a-z 0-9 _ -", name, events.MaxTokenBytes)
	}
	return nil
}
