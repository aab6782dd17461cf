package events_test

import (
	"reflect"
	"testing"

	"reelay/events"
)

// A callback survives its message byte by byte.
func TestCallbackRoundTrip(t *testing.T) {
	accepted := events.Callback{
		Lane: "fal-team2", Task: events.Key{Project: "demo", ID: "shot-042"}, Attempt: 2, Received: at(3),
		Body: []byte("{\"a\":1.0}\n"),
	}
	refused := accepted
	refused.Unproven, refused.Body = events.UnprovenClock, nil
	late := refused
	late.Unproven = events.UnprovenExpired
	for _, h := range []events.Callback{accepted, refused, late} {
		got, err := events.ParseCallback(h.Subject(), func(name string) string { return h.Header()[name] }, h.Body)
		if err != nil || !reflect.DeepEqual(got, h) {
			t.Errorf("%+v, %v, want %+v", got, err, h)
		}
	}
}

func TestParseCallbackRefuses(t *testing.T) {
	good := events.Callback{Lane: "fal", Task: events.Key{Project: "demo", ID: "t"}, Attempt: 1, Received: at(1)}
	for _, row := range []struct{ name, header, value, want string }{
		{"no attempt", events.HeaderCallbackAttempt, "", `Reelay-Attempt: "" is not the number of an attempt`},
		{"attempt 0", events.HeaderCallbackAttempt, "0", `Reelay-Attempt: "0" is not the number of an attempt`},
		{"attempt in words", events.HeaderCallbackAttempt, "one", `Reelay-Attempt: "one" is not the number of an attempt`},
		{"an unknown reason", events.HeaderCallbackUnproven, "mood", `Reelay-Unproven: "mood" is not clock, content_type or expired`},
		{"no time", events.HeaderCallbackReceived, "now", `Reelay-Received: "now" is not a time`},
	} {
		h := good.Header()
		h[row.header] = row.value
		_, err := events.ParseCallback(good.Subject(), func(name string) string { return h[name] }, nil)
		wantFieldError(t, err, row.want)
	}
	refused := good
	refused.Unproven = events.UnprovenContentType
	_, err := events.ParseCallback(refused.Subject(), func(name string) string { return refused.Header()[name] },
		[]byte("{}"))
	wantFieldError(t, err, "payload: a callback that was refused has no body")
	_, err = events.ParseCallback(good.Subject(), func(name string) string { return good.Header()[name] },
		make([]byte, events.MaxCallbackBytes+1))
	wantFieldError(t, err, "payload: 983041 bytes are over the limit of 983040")
}
