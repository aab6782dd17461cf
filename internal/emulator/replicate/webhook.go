package replicate

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"reelay/internal/emulator"
)

const (
	// Secret signs the webhooks of the account.
	Secret = "whsec_ZW11bGF0ZWQtcmVwbGljYXRlLXdlYmhvb2tz"

	webhookTimeout = 15 * time.Second
	// replayAge is how old the fault OldTimestamp makes a signature.
	replayAge = time.Hour
)

// retryDelays are the waits between the tries; the last is about a minute after the end.
func retryDelays(scale float64) []time.Duration {
	var waits []time.Duration
	for _, s := range []float64{2, 6, 15, 35} {
		waits = append(waits, time.Duration(scale*s*float64(time.Second)))
	}
	return waits
}

// Webhooks implements emulator.WebhookSource: the end, which is all that was asked for.
func (s *Server) Webhooks(j emulator.Job) []emulator.Webhook {
	end := s.stateOf(j, j.At.Add(never/2))
	if j.Correlation == "" || end.ended.IsZero() {
		return nil
	}
	return []emulator.Webhook{{State: end.word, At: end.ended, Last: true}}
}

// Render implements emulator.WebhookSource. A stranger's is signed with the secret of another account.
func (s *Server) Render(j emulator.Job, w emulator.Webhook, f emulator.Flaws) ([]byte, http.Header) {
	now := time.Now()
	id := "msg_" + j.ID + w.State
	if f.Has(emulator.Forged) || f.Has(emulator.Stranger) {
		j.ID += "0"
	}
	p := s.prediction(j, now)
	if f.Has(emulator.NullPayload) {
		p["output"] = nil
	}
	body, err := json.Marshal(p)
	if err != nil {
		body = []byte("null") // it was JSON before
	}
	if f.Has(emulator.Truncated) {
		body = body[:len(body)*2/3]
	}
	at := now
	if f.Has(emulator.OldTimestamp) {
		at = now.Add(-replayAge)
	}
	key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(Secret, "whsec_")) // a constant
	if f.Has(emulator.BadSignature) || f.Has(emulator.Stranger) {
		key = []byte("the key of somebody else")
	}
	stamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, key)
	_, _ = mac.Write([]byte(id + "." + stamp + "." + string(body))) // a hash does not fail
	return body, http.Header{
		"Webhook-Id": {id}, "Webhook-Timestamp": {stamp},
		"Webhook-Signature": {"v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))},
	}
}
