package emulator

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Fault is something that goes wrong with a webhook. A script asks for it by name (Script.Webhook), Faults for a
// share of all webhooks.
type Fault string

// The faults of webhooks. One that a provider cannot have, such as a bad signature where nothing is signed, does
// nothing.
const (
	// Drop: it is never sent.
	Drop Fault = "drop"
	// Duplicate: it is sent once more after it was accepted, signed anew where webhooks are signed.
	Duplicate Fault = "duplicate"
	// Delay: it is sent late, see Faults.DelayMS.
	Delay Fault = "delay"
	// Reorder: an update that is not the job's last is sent after the last; a last one is held back for a part of the
	// delay, so that those of several jobs change places.
	Reorder Fault = "reorder"
	// BeforeReply: the submit is answered only when a webhook of the job was tried, or after 30 seconds.
	BeforeReply Fault = "before_reply"
	// BadSignature: the first try has a signature that is wrong.
	BadSignature Fault = "bad_signature"
	// OldTimestamp: the first try was signed an hour ago, as one that was recorded and is replayed.
	OldTimestamp Fault = "old_timestamp"
	// NullPayload: it says how the job has ended and has no result.
	NullPayload Fault = "null_payload"
	// Truncated: its body ends in the middle; a signature is over what there is of it.
	Truncated Fault = "truncated"
	// Forged: another one, about a job that does not exist, is sent to the same URL first, signed as a true one.
	Forged Fault = "forged"
	// Stranger: another one is sent to the same URL first that the provider has signed for another customer.
	Stranger Fault = "stranger"
	// NumericChallenge: the challenge of a callback URL is a number instead of a string.
	NumericChallenge Fault = "numeric_challenge"
)

var faults = []Fault{
	Drop, Duplicate, Delay, Reorder, BeforeReply, BadSignature, OldTimestamp, NullPayload, Truncated, Forged, Stranger,
	NumericChallenge,
}

// DefaultDelay is how long Delay and Reorder delay a webhook unless the script or Faults.DelayMS says otherwise.
const DefaultDelay = time.Minute

// Faults apply to a share of all webhooks. The zero Faults apply to none.
type Faults struct {
	// Shares are from 0 to 1, each fault drawn by itself.
	Shares map[Fault]float64 `json:"shares"`
	// DelayMS is how long Delay and Reorder delay a webhook, in milliseconds; 0 is DefaultDelay.
	DelayMS int `json:"delay_ms,omitempty"`
	// Seed and the number of the job decide which webhooks get a fault.
	Seed uint64 `json:"seed,omitempty"`
}

// Validate says which fault is not known, or which share or time is out of its range.
func (f Faults) Validate() error {
	for name, share := range f.Shares {
		if !slices.Contains(faults, name) {
			return fmt.Errorf("shares: there is no fault %q", name)
		}
		if !(share >= 0 && share <= 1) {
			return fmt.Errorf("shares.%s: %v is not from 0 to 1", name, share)
		}
	}
	if f.DelayMS < 0 {
		return fmt.Errorf("delay_ms: %d is below 0", f.DelayMS)
	}
	return nil
}

// flawsOf returns the flaws of one webhook of a job.
func (f Faults) flawsOf(j Job, state string) Flaws {
	script := ReadScript(j.Input)
	flaws := Flaws{delay: DefaultDelay, reorderShare: f.draw(Reorder, j, "hold "+state)}
	if ms := max(script.WebhookDelayMS, f.DelayMS); ms > 0 {
		flaws.delay = time.Duration(ms) * time.Millisecond
	}
	asked := strings.Split(script.Webhook, ",")
	for _, name := range faults {
		if share := f.Shares[name]; slices.Contains(asked, string(name)) || share > 0 && f.draw(name, j, state) < share {
			flaws.names = append(flaws.names, name)
		}
	}
	return flaws
}

// draw returns a number from 0 to 1, the same at each call. A job that has no number yet is known by its body.
func (f Faults) draw(name Fault, j Job, state string) float64 {
	h := fnv.New128a()
	key := strconv.FormatUint(j.Seq, 10)
	if j.Seq == 0 {
		key = j.BodySHA256
	}
	_, _ = fmt.Fprintf(h, "%d|%s|%s|%s", f.Seed, name, key, state) // a hash does not fail
	sum := h.Sum(nil)
	// The last bytes of a short text spread badly in the high half alone.
	mixed := binary.BigEndian.Uint64(sum[:8]) ^ binary.BigEndian.Uint64(sum[8:])
	mixed ^= mixed >> 33
	mixed *= 0xff51afd7ed558ccd
	mixed ^= mixed >> 33
	return float64(mixed>>11) / (1 << 53)
}

// Flaws are the faults of one webhook.
type Flaws struct {
	names        []Fault
	delay        time.Duration
	reorderShare float64 // share of the delay
}

// Has reports whether a fault is among them.
func (f Flaws) Has(name Fault) bool { return slices.Contains(f.names, name) }

// without returns the other flaws.
func (f Flaws) without(names ...Fault) Flaws {
	f.names = slices.DeleteFunc(slices.Clone(f.names), func(n Fault) bool { return slices.Contains(names, n) })
	return f
}

// only returns the flaws of a forgery of that kind.
func only(forgery Fault) Flaws { return Flaws{names: []Fault{forgery}} }

// sendAt returns when a webhook is sent; ok is false as long as that is not known.
func (f Flaws) sendAt(w, last Webhook) (at time.Time, ok bool) {
	at = w.At
	switch {
	case !f.Has(Reorder):
	case w.Last:
		at = at.Add(time.Duration(math.Round(f.reorderShare * float64(f.delay))))
	case !last.Last:
		return at, false
	default:
		at = last.At.Add(time.Second)
	}
	if f.Has(Delay) {
		at = at.Add(f.delay)
	}
	return at, true
}

// ServeFaults answers the live control of an emulator's webhooks: GET returns the Faults, POST replaces them.
func (s *WebhookSender) ServeFaults(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s.Faults())
		return
	}
	var f Faults
	control(w, r, &f, func() error { return s.SetFaults(f) })
}
