package fal

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"
	"unicode/utf16"

	"reelay/internal/emulator"
)

const (
	// DefaultUserID is the account whose webhooks these are.
	DefaultUserID = "user_emulated"
	// webhookTimeout is how long fal waits for an answer to a webhook.
	webhookTimeout = 15 * time.Second
	// replayAge is how old the fault OldTimestamp makes a signature; fal's leeway is 5 minutes.
	replayAge = time.Hour
)

// webhookRetryDelays returns the delays between the tries: ten retries within two hours. The number and the two hours
// are documented, the steps are a guess.
func webhookRetryDelays(scale float64) []time.Duration {
	var waits []time.Duration
	for _, s := range []float64{15, 30, 60, 120, 240, 480, 900, 1500, 1800, 2000} {
		waits = append(waits, time.Duration(scale*s*float64(time.Second)))
	}
	return waits
}

// Webhooks implements emulator.WebhookSource: fal reports the end of a request and nothing else.
func (s *Server) Webhooks(j emulator.Job) []emulator.Webhook {
	r, _ := s.plan.stateOf(j, time.Now())
	if j.Correlation == "" || r.ended.Equal(forever) {
		return nil
	}
	return []emulator.Webhook{{State: completed, At: r.ended, Last: true}}
}

// Render implements emulator.WebhookSource.
func (s *Server) Render(j emulator.Job, _ emulator.Webhook, f emulator.Flaws) ([]byte, http.Header) {
	now, user, id := time.Now(), s.userID, j.ID
	l := s.stateOf(j, now)
	if f.Has(emulator.Forged) || f.Has(emulator.Stranger) {
		id = newID(now)
		j.ID = id // the result is another job's as well
	}
	if f.Has(emulator.Stranger) {
		user = "user_of_somebody_else"
	}
	body := webhookBody(j, l, f)
	if f.Has(emulator.Truncated) {
		body = body[:len(body)*2/3]
	}
	at := now
	if f.Has(emulator.OldTimestamp) {
		at = now.Add(-replayAge)
	}
	timestamp := strconv.FormatInt(at.Unix(), 10)
	signature := s.keys.sign(id, user, timestamp, body)
	if f.Has(emulator.BadSignature) {
		signature = wrong(signature)
	}
	return body, http.Header{
		"X-Fal-Webhook-Request-Id": {id}, "X-Fal-Webhook-User-Id": {user}, "X-Fal-Webhook-Timestamp": {timestamp},
		"X-Fal-Webhook-Signature": {signature},
	}
}

// wrong changes one bit of a signature.
func wrong(signature string) string {
	raw, _ := hex.DecodeString(signature) // it was encoded here
	raw[0] ^= 1
	return hex.EncodeToString(raw)
}

// webhookBody writes a webhook as fal's Python does, keys sorted.
func webhookBody(j emulator.Job, l jobState, f emulator.Flaws) []byte {
	body := map[string]any{"error": nil, "gateway_request_id": gatewayID(j), "request_id": j.ID, "status": "OK"}
	how := emulator.ReadScript(j.Input).Result
	// What a script says of reading the result is seen at the queue only.
	atQueue := how != "" && how != "text" && how != "no_file" && how != "nsfw"
	switch {
	case l.fail == nil:
		body["payload"] = outputAsked(j, j.Extra[extraBase], how)
	case l.fail.platform:
		body["payload"] = platformErrorBody(*l.fail)
	default:
		body["payload"] = modelErrorBody(*l.fail)
	}
	if l.fail != nil {
		body["status"], body["error"] = "ERROR", fmt.Sprintf("Invalid status code: %d", l.fail.status)
	}
	if f.Has(emulator.NullPayload) || l.fail == nil && atQueue {
		body["payload"] = nil
		body["payload_error"] = "Response payload is not JSON serializable. The response can be fetched from the queue."
	}
	return pythonJSON(body)
}

// gatewayID is the id of the last attempt, which is another one after fal has tried again.
func gatewayID(j emulator.Job) string {
	if emulator.ReadScript(j.Input).Polls != "regress" || len(j.ID) == 0 {
		return j.ID
	}
	last := byte('0')
	if j.ID[len(j.ID)-1] == last {
		last = '1'
	}
	return j.ID[:len(j.ID)-1] + string(last)
}

// pythonJSON writes v as Python's json.dumps does with sorted keys: blanks after commas and colons, ASCII only.
// Receivers must hash the bytes as they are.
func pythonJSON(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		return []byte("null")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber() // seeds have more digits than a float64
	var plain any
	if d.Decode(&plain) != nil {
		return []byte("null")
	}
	return appendPython(nil, plain)
}

func appendPython(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return strconv.AppendBool(b, v)
	case json.Number:
		return append(b, v...)
	case string:
		return appendPythonString(b, v)
	case []any:
		b = append(b, '[')
		for i, element := range v {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = appendPython(b, element)
		}
		return append(b, ']')
	case map[string]any:
		b = append(b, '{')
		for i, key := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = appendPython(append(appendPythonString(b, key), ": "...), v[key])
		}
		return append(b, '}')
	}
	return append(b, "null"...) // the decoder makes nothing else
}

func appendPythonString(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r >= ' ' && r < 0x7f:
			b = append(b, byte(r))
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			b = fmt.Appendf(b, `\u%04x\u%04x`, high, low)
		default:
			b = fmt.Appendf(b, `\u%04x`, r)
		}
	}
	return append(b, '"')
}
