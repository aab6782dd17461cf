package events

import (
	"strconv"
	"time"
)

// MaxCallbackBytes bounds the body of a provider callback. It leaves room for headers below NATS' default max_payload
// of 1 MiB.
const MaxCallbackBytes = 960 << 10

// Headers of a callback in the stream REELAY_CALLBACKS.
const (
	HeaderCallbackAttempt  = "Reelay-Attempt"
	HeaderCallbackReceived = "Reelay-Received"
	// HeaderCallbackUnproven is why the callback was refused; it is missing on any other.
	HeaderCallbackUnproven = "Reelay-Unproven"
)

// Unproven is why a callback that came to a good URL was refused.
type Unproven string

// The reasons for which the webhook service refuses a callback and stores its arrival all the same.
const (
	// UnprovenClock: by our clock it was signed over five minutes ago, or in the future. One of the two clocks is wrong, or
	// somebody repeats an old callback.
	UnprovenClock Unproven = "clock"
	// UnprovenContentType: it was not declared as plain application/json.
	UnprovenContentType Unproven = "content_type"
	// UnprovenExpired: it came after the time until which its URL counts.
	UnprovenExpired Unproven = "expired"
)

// A Callback is one provider callback, as the webhook service has verified it.
type Callback struct {
	Lane string
	Task Key
	// Attempt is the paid attempt, from 1, whose request named the callback URL.
	Attempt int
	// Received is when the webhook service had read it.
	Received time.Time
	// Unproven is why it was refused; empty for a callback that was accepted. Whoever knows the URL has sent it, so that
	// nothing is to be believed of it but that something has happened: poll the task. It has no body.
	Unproven Unproven
	// Body is what the provider sent, byte by byte, at most MaxCallbackBytes.
	Body []byte
}

// Subject is where the callback is published.
func (c Callback) Subject() string { return CallbackSubject(c.Lane, c.Task) }

// Header returns what of the callback is not in the subject or the payload.
func (c Callback) Header() map[string]string {
	h := map[string]string{
		HeaderCallbackAttempt:  strconv.Itoa(c.Attempt),
		HeaderCallbackReceived: c.Received.UTC().Format(time.RFC3339Nano),
	}
	if c.Unproven != "" {
		h[HeaderCallbackUnproven] = string(c.Unproven)
	}
	return h
}

// ParseCallback reads a message of REELAY_CALLBACKS. It fails with ErrSubject, or with a FieldError that
// names a header.
func ParseCallback(subject string, header func(name string) string, body []byte) (Callback, error) {
	lane, k, err := ParseCallbackSubject(subject)
	if err != nil {
		return Callback{}, err
	}
	c := Callback{Lane: lane, Task: k, Unproven: Unproven(header(HeaderCallbackUnproven)), Body: body}
	if c.Attempt, err = strconv.Atoi(header(HeaderCallbackAttempt)); err != nil || c.Attempt < 1 {
		return Callback{}, fieldError(HeaderCallbackAttempt, "%q is not the number of an attempt",
			header(HeaderCallbackAttempt))
	}
	if c.Received, err = time.Parse(time.RFC3339Nano, header(HeaderCallbackReceived)); err != nil {
		return Callback{}, fieldError(HeaderCallbackReceived, "%q is not a time", header(HeaderCallbackReceived))
	}
	switch c.Unproven {
	case "":
	case UnprovenClock, UnprovenContentType, UnprovenExpired:
		if len(body) > 0 {
			return Callback{}, fieldError("payload", "a callback that was refused has no body")
		}
	default:
		return Callback{}, fieldError(HeaderCallbackUnproven, "%q is not %s, %s or %s", c.Unproven, UnprovenClock,
			UnprovenContentType, UnprovenExpired)
	}
	if len(body) > MaxCallbackBytes {
		return Callback{}, fieldError("payload", "%d bytes are over the limit of %d", len(body), MaxCallbackBytes)
	}
	return c, nil
}
