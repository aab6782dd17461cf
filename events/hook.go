package events

import (
	"strconv"
	"time"
)

// MaxHookBytes bounds the body of a provider callback. It leaves room for headers below NATS' default max_payload of 1 MiB.
const MaxHookBytes = 960 << 10

// Headers of a callback in the stream REELAY_HOOKS.
const (
	HeaderHookAttempt  = "Reelay-Attempt"
	HeaderHookReceived = "Reelay-Received"
)

// A Hook is one provider callback, as the webhook edge has verified it.
type Hook struct {
	Lane string
	Task Key
	// Attempt is the paid attempt, from 1, whose request named the callback URL.
	Attempt int
	// Received is when the edge had read it.
	Received time.Time
	// Body is what the provider sent, byte by byte, at most MaxHookBytes.
	Body []byte
}

// Subject is where the hook is published.
func (h Hook) Subject() string { return HookSubject(h.Lane, h.Task) }

// Header returns what of the hook is not in the subject or the payload.
func (h Hook) Header() map[string]string {
	return map[string]string{
		HeaderHookAttempt:  strconv.Itoa(h.Attempt),
		HeaderHookReceived: h.Received.UTC().Format(time.RFC3339Nano),
	}
}

// ParseHook reads a message of REELAY_HOOKS, or its copy in REELAY_DELIVERIES. It fails with ErrSubject, or with a FieldError that
// names a header.
func ParseHook(subject string, header func(name string) string, body []byte) (Hook, error) {
	lane, k, err := ParseHookSubject(subject)
	if err != nil {
		return Hook{}, err
	}
	h := Hook{Lane: lane, Task: k, Body: body}
	if h.Attempt, err = strconv.Atoi(header(HeaderHookAttempt)); err != nil || h.Attempt < 1 {
		return Hook{}, fieldError(HeaderHookAttempt, "%q is not the number of an attempt", header(HeaderHookAttempt))
	}
	if h.Received, err = time.Parse(time.RFC3339Nano, header(HeaderHookReceived)); err != nil {
		return Hook{}, fieldError(HeaderHookReceived, "%q is not a time", header(HeaderHookReceived))
	}
	if len(body) > MaxHookBytes {
		return Hook{}, fieldError("payload", "%d bytes are over the limit of %d", len(body), MaxHookBytes)
	}
	return h, nil
}
