package fal

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"reelay/events"
	"reelay/internal/provider"
)

// codeUnreadable is the code of a result that is no JSON.
const codeUnreadable = "unreadable_result"

// readResult reads an answer to a result call of a completed request: success, failure, or nothing that can be told
// from it. said is what the status told of a failure; it decides when the result cannot.
//
// Only fal's own error type, or a model's list of complaints, is a verdict by itself: whatever else comes instead of the
// result may pass, and the work is done and billed meanwhile.
func readResult(s provider.Snapshot, said envelope, r provider.Reply) (provider.Snapshot, *provider.Error) {
	e := readEnvelope(r)
	if s.Units = e.units; e.units != nil {
		s.Unit = unitName
	}
	switch {
	case r.Status >= 200 && r.Status <= 299:
		return succeeded(s, e, r), nil
	case e.isVerdict():
		return ended(s, e, r), nil
	case said.errorType != "":
		return ended(s, said.ofStatus(), provider.Reply{}), nil
	case r.Status == http.StatusNotFound && e.word == wordNotFound:
		e.message = "fal does not know the request any more"
		return provider.Snapshot{}, e.error(events.KindNotFound)
	case aboutAccount(r.Status) && !e.foreign:
		return provider.Snapshot{}, pollError(e)
	case e.speaksOfWork():
		s = ended(s, e, r)
		s.Unconfirmed = true
		return s, nil
	default:
		return pending(s), nil
	}
}

// isVerdict tells a failure that fal itself names from trouble on the way to the result. Both are HTTP errors here.
func (e envelope) isVerdict() bool {
	switch {
	case e.status < 400 || e.status > 599:
		return false
	case isDocumented(e.errorType):
		return true
	case aboutAccount(e.status):
		return false // rather our key or our speed than the model
	case e.status == statusClientClosed && e.errorType == "":
		return (e.traced || !e.foreign) && !e.tooEarly()
	default:
		return e.ownType || e.userTimeout && e.traced ||
			e.complaint && (e.status == http.StatusBadRequest || e.status == http.StatusUnprocessableEntity)
	}
}

// speaksOfWork tells an answer that may be the end of the work, and is not proven to be, from one of somebody between.
func (e envelope) speaksOfWork() bool {
	switch {
	case e.status < 400 || e.status > 599, aboutAccount(e.status), e.tooEarly():
		return false
	case e.status == http.StatusBadRequest, e.status == http.StatusUnprocessableEntity:
		return e.traced || e.message != ""
	default:
		return e.traced || !e.foreign
	}
}

// tooEarly says that the result is not there yet, whatever the status said.
func (e envelope) tooEarly() bool { return strings.Contains(e.message, "still in progress") }

// aboutAccount lists codes that speak of the caller.
func aboutAccount(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusForbidden, http.StatusProxyAuthRequired,
		http.StatusRequestTimeout, http.StatusTooManyRequests:
		return true
	}
	return false
}

// succeeded reads the body of a success. It need not name a file: models make text and numbers too. It may be the
// report of a failure all the same.
func succeeded(s provider.Snapshot, e envelope, r provider.Reply) provider.Snapshot {
	body := r.Body
	if !json.Valid(body) {
		if body = finite(body); body == nil {
			return notJSON(s, e, r)
		}
	}
	f := readOutputs(body)
	// The status instead of the result, and nothing yet.
	if e.word == wordQueued || e.word == wordRunning || e.named && len(f.outputs) == 0 ||
		r.Status == http.StatusAccepted && len(f.outputs) == 0 {
		return pending(s)
	}
	s.Raw = body
	s.State, s.Outputs, s.Notes = provider.Succeeded, f.outputs, f.notes()
	if s.Values = valuesOf(body); len(s.Values) > 0 && len(f.outputs) == 0 {
		s.Notes = nil // a voice needs no file
	}
	reason := failureInside(body)
	switch {
	case reason && len(f.outputs) > 0:
		s.Notes = append(s.Notes, "the provider says beside the result: "+e.message)
	case reason:
		s = ended(s, e, r)
		s.Notes, s.Unconfirmed = nil, !e.traced && e.units == nil && e.errorType == ""
	}
	return s
}

// valuesOf finds what a model made that is no file: a voice. Models call its id custom_voice_id (fal-ai/minimax/
// voice-clone and voice-design, https://fal.ai/models/fal-ai/minimax/voice-clone/api) or voice_id.
func valuesOf(body []byte) map[string]string {
	var b struct {
		CustomVoiceID json.RawMessage `json:"custom_voice_id"`
		VoiceID       json.RawMessage `json:"voice_id"`
	}
	if json.Unmarshal(body, &b) != nil {
		return nil
	}
	id := cmp.Or(text(b.CustomVoiceID), text(b.VoiceID))
	if id == "" || len(id) > maxNameBytes {
		return nil
	}
	return map[string]string{events.ValueVoiceID: id}
}

// notes says what a person should know of a result.
func (f found) notes() []string {
	var notes []string
	if f.flagged {
		notes = append(notes, "the provider flagged the result as not safe for work")
	}
	if f.more > 0 {
		notes = append(notes, fmt.Sprintf("%d more in the raw result", f.more))
	}
	if len(f.outputs) == 0 {
		notes = append(notes, "the result names no file; it is in result.raw")
	}
	return notes
}

// failureInside reports whether the body of a success is the report of a failure: a text or an object "error", an
// error_type, or a "detail" of fal's form.
func failureInside(body []byte) bool {
	var b struct {
		Error     json.RawMessage `json:"error"`
		Detail    json.RawMessage `json:"detail"`
		ErrorType json.RawMessage `json:"error_type"`
	}
	if json.Unmarshal(body, &b) != nil {
		return false
	}
	if text(b.ErrorType) != "" {
		return true
	}
	if _, message := readReason(b.Error); message != "" && !isList(b.Error) {
		return true
	}
	// A caption may be called "detail" too.
	kind, message := readReason(b.Detail)
	var members map[string]json.RawMessage
	_ = json.Unmarshal(body, &members)
	return kind != "" || message != "" && len(members) == 1
}

func isList(raw json.RawMessage) bool { return len(raw) > 0 && raw[0] == '[' }

// notJSON reads a success whose body is no JSON: the file itself, JSON lines, a text, or the page of somebody between.
func notJSON(s provider.Snapshot, e envelope, r provider.Reply) provider.Snapshot {
	body := bytes.TrimSpace(r.Body)
	binary := !utf8.Valid(body) || bytes.IndexByte(body, 0) >= 0
	if o, ok := mediaBytes(r.Header, r.Body, binary && e.traced); ok {
		s.State, s.Outputs = provider.Succeeded, []events.Output{o}
		s.Raw = asJSON([]byte("the result is the file itself"))
		return s
	}
	page := strings.HasPrefix(http.DetectContentType(body), "text/html")
	if len(body) == 0 || binary || page && !e.traced {
		return pending(s)
	}
	s.Raw = asJSON(r.Body)
	f, lines := readLines(body)
	if lines || e.traced && body[0] != '{' && body[0] != '[' {
		s.State, s.Outputs = provider.Succeeded, f.outputs
		s.Notes = append([]string{"the result is not JSON; it is in result.raw as text"}, f.notes()...)
		return s
	}
	if !e.traced && (body[0] == '{' || body[0] == '[') {
		s.Raw = nil
		return pending(s)
	}
	// Cut off, or of somebody between: it may pass.
	s.State, s.Unconfirmed = provider.Failed, true
	s.Err = e.error(events.KindInternal)
	s.Err.Code, s.Err.Message = codeUnreadable, "the result cannot be read as JSON; it is in result.raw as text"
	s.Err.Charge = e.chargeOfFailure()
	return s
}

// readLines reads JSON lines, or the data of server-sent events.
func readLines(body []byte) (all found, ok bool) {
	var joined [][]byte
	for line := range bytes.Lines(body) {
		line = bytes.TrimSpace(bytes.TrimPrefix(bytes.TrimSpace(line), []byte("data:")))
		if len(line) == 0 {
			continue
		}
		if !json.Valid(line) {
			return found{}, false
		}
		joined = append(joined, line)
	}
	if len(joined) < 2 {
		return found{}, false
	}
	return readOutputs(append(append([]byte("["), bytes.Join(joined, []byte(","))...), ']')), true
}

// finite returns a JSON text in which the numbers that JSON has not (NaN, Infinity; Python writes them) are null, and
// nil if it is none.
func finite(body []byte) []byte {
	if !bytes.Contains(body, []byte("NaN")) && !bytes.Contains(body, []byte("Infinity")) {
		return nil
	}
	var out []byte
	inString := false
	for i := 0; i < len(body); i++ {
		if inString && body[i] == '\\' && i+1 < len(body) {
			out = append(out, body[i], body[i+1])
			i++
			continue
		}
		if body[i] == '"' {
			inString = !inString
		}
		if word := notFinite(body[i:]); !inString && word > 0 {
			out = append(out, "null"...)
			i += word - 1
			continue
		}
		out = append(out, body[i])
	}
	if !json.Valid(out) {
		return nil
	}
	return out
}

func notFinite(body []byte) int {
	for _, word := range []string{"NaN", "Infinity", "-Infinity"} {
		if bytes.HasPrefix(body, []byte(word)) {
			return len(word)
		}
	}
	return 0
}

// ended is a request that made nothing: cancelled or failed. fal has no state for either.
func ended(s provider.Snapshot, e envelope, r provider.Reply) provider.Snapshot {
	if e.errorType == codeCancelled || e.status == statusClientClosed && e.errorType == "" {
		s.State, s.Raw = provider.Cancelled, nil
		return s
	}
	s.State = provider.Failed
	s.Err = e.error(e.kindOfFailure())
	s.Err.Charge = e.chargeOfFailure()
	s.Raw = asJSON(r.Body)
	return s
}

// asJSON returns a body that is JSON as it is, and any other text as a JSON string; nil for an empty one.
func asJSON(body []byte) json.RawMessage {
	switch trimmed := bytes.TrimSpace(body); {
	case len(trimmed) == 0:
		return nil
	case json.Valid(trimmed):
		return body
	}
	raw, err := json.Marshal(string(body))
	if err != nil {
		return nil
	}
	return raw
}

// pending is a request that has ended in a way that could not be read yet.
func pending(s provider.Snapshot) provider.Snapshot {
	s.State, s.ResultPending = provider.Running, true
	s.Units, s.Unit = nil, ""
	return s
}
