package emulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Limits are what an account may do. 0 is no limit; what is nil stays as it is.
type Limits struct {
	// API names the generation of the API that RequestsPerMinute is about; empty is all of them.
	API string `json:"api,omitempty"`
	// RequestsPerMinute is how many submits are taken in any 60 seconds.
	RequestsPerMinute *int `json:"requests_per_minute,omitempty"`
	// InFlight is how many jobs may be unfinished.
	InFlight *int `json:"in_flight,omitempty"`
	// Concurrency is how many jobs run at once; the others wait.
	Concurrency *int `json:"concurrency,omitempty"`
}

// ServeLimits answers a POST of Limits to the live control of an emulator. set says what is wrong with them.
func ServeLimits(w http.ResponseWriter, r *http.Request, set func(Limits) error) {
	var l Limits
	control(w, r, &l, func() error {
		for name, v := range map[string]*int{
			"requests_per_minute": l.RequestsPerMinute, "in_flight": l.InFlight, "concurrency": l.Concurrency,
		} {
			if v != nil && *v < 0 {
				return fmt.Errorf("%s: %d is below 0", name, *v)
			}
		}
		return set(l)
	})
}

// maxControlBytes bounds the body of a call to the live control.
const maxControlBytes = 64 << 10

// control reads what is posted into v and calls set: 204, or 400 with what is wrong.
func control(w http.ResponseWriter, r *http.Request, v any, set func() error) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
		return
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxControlBytes))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil && d.More() {
		err = errors.New("more than one JSON value")
	}
	if err == nil {
		err = set()
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// A Rate lets a number of calls through in any minute. The zero Rate lets all of them through. The caller sees to it
// that calls do not overlap.
type Rate struct {
	PerMinute int
	accepted  []time.Time // within the last minute, oldest first
}

// Allow counts a call at now if it is let through.
func (r *Rate) Allow(now time.Time) bool {
	old := 0
	for old < len(r.accepted) && now.Sub(r.accepted[old]) >= time.Minute {
		old++
	}
	r.accepted = r.accepted[old:]
	if r.PerMinute > 0 && len(r.accepted) >= r.PerMinute {
		return false
	}
	r.Count(now)
	return true
}

// Count counts a call that was let through, so that a limit holds over a restart. The caller counts calls in their
// order.
func (r *Rate) Count(at time.Time) { r.accepted = append(r.accepted, at) }
