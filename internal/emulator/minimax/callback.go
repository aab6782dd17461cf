package minimax

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"net/http"
	"slices"
	"time"

	"reelay/internal/emulator"
)

const (
	// challengeTimeout is how long a receiver has to answer a challenge, by the video generation page.
	challengeTimeout = 3 * time.Second
	// updateTimeout is how long an update waits for its answer; not documented.
	updateTimeout = 10 * time.Second

	extraBase            = "base"             // the server's own URL, for links in updates
	extraCallbackIgnored = "callback_ignored" // the callback URL did not answer its challenge
)

// FailedChallenge is what a create comes to whose callback URL does not give its challenge back in time.
type FailedChallenge string

const (
	// RefuseCreate: the create is refused with 2013, and nothing is paid for.
	RefuseCreate FailedChallenge = "refuse"
	// IgnoreCallback: the task runs and no updates are sent.
	IgnoreCallback FailedChallenge = "ignore"
)

// challenge reports whether the receiver at a job's callback URL gives a challenge back: a string, or a number if a
// fault says so. It comes before the answer to the create.
func (s *Server) challenge(ctx context.Context, j emulator.Job) bool {
	secret := make([]byte, 16)
	_, _ = rand.Read(secret) // crypto/rand does not fail
	want, _ := json.Marshal(hex.EncodeToString(secret))
	if s.webhooks.Flaws(j, "challenge").Has(emulator.NumericChallenge) {
		want = []byte(new(big.Int).SetBytes(secret[:7]).String())
	}
	body, _ := json.Marshal(map[string]json.RawMessage{"challenge": want}) // both were made here
	s.o.Ledger.Call("challenge")
	status, answer, err := emulator.Post(ctx, s.o.Transport, challengeTimeout, j.Correlation, nil, body)
	var got struct {
		Challenge json.RawMessage `json:"challenge"`
	}
	if err != nil || status/100 != 2 || json.Unmarshal(answer, &got) != nil || string(got.Challenge) != string(want) {
		s.o.Log.Info("challenge was not answered", "status", status, "error", err)
		s.o.Ledger.Call("challenge_failed")
		return false
	}
	return true
}

// callbackWords are V1's words in updates, which are not those of its queries.
var callbackWords = map[phase]string{
	processing: "processing", succeeded: "success", failed: "failed",
	expired: "expired",
}

// Webhooks implements emulator.WebhookSource: an update for each change of the status. V1 has no word for a task that
// waits.
func (s *Server) Webhooks(j emulator.Job) []emulator.Webhook {
	if j.Correlation == "" || j.Extra[extraCallbackIgnored] != "" {
		return nil
	}
	words := callbackWords
	if j.Extra[emulator.ExtraAPI] == "v2" {
		words = v2Words
	}
	j = undeleted(j)
	speed := s.speedOf(j)
	// The state of a job changes at these moments and at no other.
	moments := []time.Time{j.At, j.At.Add(speed.Queue), j.At.Add(speed.Queue + speed.Run)}
	if j.CancelledAt != nil {
		moments = append(moments, *j.CancelledAt)
	}
	slices.SortFunc(moments, time.Time.Compare)
	var all []emulator.Webhook
	last := ""
	for _, at := range moments {
		before := j
		if j.CancelledAt != nil && at.Before(*j.CancelledAt) {
			before.CancelledAt = nil
		}
		l := s.stateOf(before, at)
		if state := words[l.phase]; state != "" && state != last {
			all = append(all, emulator.Webhook{State: state, At: at, Last: l.ended()})
			last = state
		}
		if l.ended() {
			break
		}
	}
	return all
}

// Render implements emulator.WebhookSource. Nothing is signed, so the faults of signatures do nothing.
func (s *Server) Render(j emulator.Job, n emulator.Webhook, f emulator.Flaws) ([]byte, http.Header) {
	j = undeleted(j)
	l := s.stateOf(j, n.At)
	if f.Has(emulator.Forged) || f.Has(emulator.Stranger) {
		j.ID = shift(j.ID, 777)
	}
	var update any
	if j.Extra[emulator.ExtraAPI] == "v2" {
		t := s.taskV2(j.Extra[extraBase], j, l)
		if f.Has(emulator.NullPayload) {
			t.Content = nil
		}
		update = struct {
			Task v2Task `json:"task"`
		}{t}
	} else {
		t := taskV1(j, l)
		t.Status = n.State
		if f.Has(emulator.NullPayload) {
			t.FileID = ""
		}
		update = t
	}
	body, _ := json.Marshal(update) // nothing in it fails
	if f.Has(emulator.Truncated) {
		body = body[:len(body)*2/3]
	}
	return body, nil
}
