package minimax

import (
	"bytes"
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"reelay/events"
)

// statusOverloaded is MiniMax's HTTP status of its overloaded_error.
const statusOverloaded = 529

// An envelope is what an answer says beside what was asked for.
type envelope struct {
	// own: MiniMax itself says it, in either generation's form.
	own bool
	// code is the status code as text, "" where there is none.
	code string
	// message is the reason in words, MiniMax's or a stranger's.
	message string
	// requestID is MiniMax's id of the call, where the body has it.
	requestID string
}

// ok reports whether the envelope says that all is well.
func (s envelope) ok() bool { return s.own && s.code == "0" }

// bad reports whether something went wrong: there is a code that is not 0, or words other than "success".
func (s envelope) bad() bool { return s.code != "" && s.code != "0" || s.code == "" && s.told() }

// told reports whether there are words.
func (s envelope) told() bool { return s.message != "" && !strings.EqualFold(s.message, "success") }

// orReason takes the words of an answer, and their code, where the envelope has none.
func (s envelope) orReason(answer json.RawMessage) envelope {
	if s.told() || s.code != "" && s.code != "0" {
		return s
	}
	if in := reasonOf(answer); in.told() {
		s.message, s.code = in.message, in.code
	}
	return s
}

// meaning looks the code up.
func (s envelope) meaning() (meaning, bool) {
	n, err := strconv.Atoi(s.code)
	if err != nil {
		return meaning{}, false
	}
	m, ok := meanings[n]
	return m, ok
}

// unknownTask reports whether the words say that there is no such task. The code alone does not tell: MiniMax has none
// for it.
func (s envelope) unknownTask() bool {
	words := strings.ToLower(s.message)
	for _, w := range []string{"not found", "not exist", "invalid task_id"} {
		if strings.Contains(words, w) {
			return true
		}
	}
	return false
}

// moderationWords are how a refusal by a filter reads where no code tells.
var moderationWords = regexp.MustCompile(`(?i)\bnsfw\b|sensitive|content[ _-](policy|filter|moderation|safety)|` +
	`\bmoderat(ed|ion)\b|safety (filter|system|checker|policy)|flagged (as|by|for)`)

// moderated reports whether the words speak of a filter.
func (s envelope) moderated() bool { return moderationWords.MatchString(s.message) }

// quoted is the reason as the end of a sentence.
func (s envelope) quoted() string {
	if s.message == "" {
		return ""
	}
	return ": " + s.message
}

// typeCodes are the codes that the types of V2's errors stand for, for an error that names none
// (https://platform.minimax.io/docs/api-reference/errorcode).
var typeCodes = map[string]string{
	"bad_request_error": "2013", "authorized_error": "1004", "insufficient_balance_error": "1008",
	"unprocessable_entity_error": "1026", "rate_limit_error": "1002", "overloaded_error": "2064", "server_error": "1000",
}

// v2Code finds the status code at the end of an error's message.
var v2Code = regexp.MustCompile(`\((\d{3,5})\)\s*$`)

// readEnvelope reads V1's base_resp and V2's error, in the answer of whichever generation. Else it takes the words from
// where gateways put them: error, message, detail, or a page's own text.
func readEnvelope(body []byte) envelope {
	var a struct {
		BaseResp  lax[*baseResp]  `json:"base_resp"`
		Type      lax[text]       `json:"type"`
		Error     json.RawMessage `json:"error"`
		RequestID lax[text]       `json:"request_id"`
	}
	if !isJSON(body, &a) {
		return envelope{message: pageText(body)}
	}
	if s := a.BaseResp.v.envelope(); s.own && (s.code != "0" || isNull(a.Error)) {
		return s
	}
	says := reasonOf(body)
	if !isNull(a.Error) {
		says = reasonOf(a.Error)
		_, known := says.meaning()
		says.own = known || a.Type.v == "error" && bytes.HasPrefix(bytes.TrimSpace(a.Error), []byte("{"))
		says.requestID = string(a.RequestID.v)
	}
	return says
}

// maxReasonDepth bounds how deep a reason may lie in objects.
const maxReasonDepth = 3

// reasonOf reads a reason: a text, an object with a text under a usual name, or the first of a list. Its code is a
// status code, or any other short name for the reason.
func reasonOf(raw json.RawMessage) envelope { return reasonAt(raw, 0) }

func reasonAt(raw json.RawMessage, depth int) (s envelope) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || depth > maxReasonDepth {
		return s
	}
	switch raw[0] {
	case '"':
		var words lax[text]
		_ = json.Unmarshal(raw, &words)
		s.message = string(words.v)
	case '[':
		var items []json.RawMessage
		if json.Unmarshal(raw, &items) == nil && len(items) > 0 {
			return reasonAt(items[0], depth+1)
		}
	case '{':
		s = reasonInObject(raw, depth)
	}
	if m := v2Code.FindStringSubmatch(s.message); m != nil {
		s.code = m[1]
	}
	return s
}

func reasonInObject(raw json.RawMessage, depth int) (s envelope) {
	var o map[string]json.RawMessage
	if json.Unmarshal(raw, &o) != nil {
		return s
	}
	for _, name := range strings.Fields("message msg status_msg error detail reason fail_reason error_message") {
		in := reasonAt(o[name], depth+1)
		if s.message == "" {
			s.message = in.message
		}
		if s.code == "" {
			s.code = in.code
		}
	}
	for _, name := range strings.Fields("code status_code error_code") {
		var code lax[text]
		if len(o[name]) > 0 && json.Unmarshal(o[name], &code) == nil && code.v != "" && s.code == "" {
			s.code = string(code.v)
		}
	}
	if _, known := s.meaning(); !known {
		var kind lax[text]
		if len(o["type"]) > 0 && json.Unmarshal(o["type"], &kind) == nil && typeCodes[string(kind.v)] != "" && s.code == "" {
			s.code = typeCodes[string(kind.v)]
		}
	}
	return s
}

// Parts of a page that are no words for people.
var (
	pageScript = regexp.MustCompile(`(?is)<(script|style|head)\b.*?</(script|style|head)>|<!--.*?-->`)
	pageTag    = regexp.MustCompile(`<[^>]{0,1000}>`)
)

// maxPageBytes bounds how much of a page is read for its words.
const maxPageBytes = 16 << 10

// pageText returns the words of a body that is a text for people: a page without its tags, or plain text.
func pageText(body []byte) string {
	body = bytes.TrimSpace(body[:min(len(body), maxPageBytes)])
	if len(body) == 0 || !utf8.Valid(body) || json.Valid(body) || strings.ContainsAny(string(body[:1]), "{[\"\x00") {
		return ""
	}
	words := string(body)
	if body[0] == '<' {
		words = pageTag.ReplaceAllString(pageScript.ReplaceAllString(words, " "), " ")
	}
	words = strings.Join(strings.Fields(words), " ")
	return words[:min(len(words), events.MaxMessageBytes)]
}

// unwrapped returns the object under "data", where gateways put an answer, if that has a member which the answer itself
// has not.
func unwrapped(body []byte, member string) []byte {
	var answer, data map[string]json.RawMessage
	if !isJSON(body, &answer) || answer[member] != nil || !isJSON(answer["data"], &data) || data[member] == nil {
		return body
	}
	return answer["data"]
}

// isJSON reads a JSON object into v.
func isJSON(body []byte, v any) bool {
	body = bytes.TrimSpace(body)
	return len(body) > 0 && body[0] == '{' && json.Unmarshal(body, v) == nil
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

func isOK(status int) bool { return status >= 200 && status <= 299 }

func httpCode(status int) string { return "http_" + strconv.Itoa(status) }

// kindOf is what an HTTP status says without a code. Only MiniMax itself can refuse a key or a balance: a 403 without
// its envelope may be any middlebox's. Never not-found: that takes words.
func kindOf(status int, own bool) events.Kind {
	switch {
	case own && (status == http.StatusUnauthorized || status == http.StatusForbidden):
		return events.KindAuth
	case own && status == http.StatusPaymentRequired:
		return events.KindQuota
	case status == http.StatusTooManyRequests:
		return events.KindRateLimited
	case status == http.StatusRequestTimeout || status >= 500 || status >= 200 && status <= 299:
		return events.KindRetry
	default:
		return events.KindInternal
	}
}
