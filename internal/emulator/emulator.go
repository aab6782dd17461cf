// Package emulator is what the provider emulators share: the ledger that tells how often each task was paid for, the
// script by which a request asks for a fault, how long jobs take, limits, webhooks, and the media they serve as
// results.
//
// The emulators share no code with the pipeline, so that they can judge it. Their jobs need no goroutines: the state of
// a job is a function of the time since it was accepted and of the ledger. Only webhooks need one, see WebhookSender.
package emulator

import (
	"encoding/json"
	"slices"
	"time"
)

// A Job is one accepted, and so paid, request.
type Job struct {
	Provider string `json:"provider"`
	ID       string `json:"id"`
	// Seq is the job's number in its ledger, from 1; Accept gives it. What is drawn for a job is drawn by it.
	Seq   uint64    `json:"seq,omitempty"`
	Model string    `json:"model"`
	At    time.Time `json:"at"`
	// Correlation is what the client sent that tells its own task: the callback URL, else empty.
	Correlation string `json:"correlation,omitempty"`
	// BodySHA256 is the digest of the request body as received, in hex.
	BodySHA256 string `json:"body_sha256"`
	// Input is the request body; with At and CancelledAt it is all that the state of the job derives from.
	Input json.RawMessage `json:"input"`
	// Answered says whether the reply with the id was written to the client.
	Answered bool `json:"answered"`
	// CancelledAt is when a cancel took effect.
	CancelledAt *time.Time `json:"cancelled_at,omitempty"`
	// Extra is what the emulator itself wants to find again after a restart, such as request headers.
	Extra map[string]string `json:"extra,omitempty"`
	// PriceUSD is the price if the job succeeds; what was charged for it so far is in Ledger.BilledUSD.
	PriceUSD float64 `json:"price_usd"`
	// Deliveries holds what became of the job's webhooks, one for each state whose webhook was tried.
	Deliveries []Delivery `json:"deliveries,omitempty"`
}

// How a Delivery has ended.
const (
	// Delivered: the receiver answered 2xx.
	Delivered = "delivered"
	// Refused: it answered with a redirect, after which the provider does not try again.
	Refused = "refused"
	// GaveUp: the last try has failed as well.
	GaveUp = "gave_up"
	// Dropped: a fault kept it from being sent.
	Dropped = "dropped"
)

// A Delivery records what became of one webhook: one state of one job.
type Delivery struct {
	// State is the state that the webhook reports, in the provider's word.
	State string `json:"state"`
	// Tries counts the posts of it, the second one of a duplicate among them; Accepted those that were answered with 2xx.
	Tries    int `json:"tries"`
	Accepted int `json:"accepted,omitempty"`
	// Forged counts the forgeries that were posted beside it. Fooled counts the posts that no signature covered and
	// that were answered with 2xx nevertheless: it must stay 0.
	Forged int `json:"forged,omitempty"`
	Fooled int `json:"fooled,omitempty"`
	// Status is the HTTP status of the last try, 0 if there was no answer; At is when that try ended.
	Status int       `json:"status,omitempty"`
	At     time.Time `json:"at"`
	// Ended is how it ended; empty while there will be another try.
	Ended string `json:"ended,omitempty"`
}

// Delivery returns what became of the webhook for a state, the zero Delivery if it was not tried yet.
func (j Job) Delivery(state string) Delivery {
	for _, d := range j.Deliveries {
		if d.State == state {
			return d
		}
	}
	return Delivery{State: state}
}

// setDelivery replaces the record of a webhook. The slice is replaced as well, because readers of the ledger share
// the old one.
func (j *Job) setDelivery(d Delivery) {
	all := slices.Clone(j.Deliveries)
	for i := range all {
		if all[i].State == d.State {
			all[i] = d
			j.Deliveries = all
			return
		}
	}
	j.Deliveries = append(all, d)
}
