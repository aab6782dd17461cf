package fal

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"reelay/internal/emulator"
)

// listPath is of fal's platform API, which has a host of its own; here one server plays both.
const listPath = "/v1/models/requests/by-endpoint"

const (
	defaultListLimit = 50
	maxListLimit     = 100
	maxListEndpoints = 50
	listWindow       = 24 * time.Hour
)

// listItem is one request of the list, keys in fal's order. The inputs are there only if asked for; outputs never are,
// as with an account whose outputs were deleted.
type listItem struct {
	RequestID  string          `json:"request_id"`
	EndpointID string          `json:"endpoint_id"`
	SentAt     string          `json:"sent_at"`
	StartedAt  *string         `json:"started_at"`
	EndedAt    string          `json:"ended_at"`
	StatusCode int             `json:"status_code"`
	Duration   float64         `json:"duration"`
	JSONInput  json.RawMessage `json:"json_input,omitempty"`
	JSONOutput json.RawMessage `json:"json_output,omitempty"`

	ended time.Time
}

// list answers with the requests that have ended, newest end first. That those under way are left out, and that start
// and end are compared with the end of a request, are guesses; the client must be right either way.
func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	s.ledger.Call("list")
	if r.Method != http.MethodGet {
		detail(w, http.StatusMethodNotAllowed, "Method Not Allowed")
		return
	}
	q, err := readListQuery(r)
	if err != nil {
		detail(w, http.StatusUnprocessableEntity, err.Error())
		return
	}
	var all []listItem
	now := time.Now()
	for _, j := range s.ledger.Jobs() {
		l := s.stateOf(j, now)
		if j.Provider == "fal" && l.word == completed && q.wants(j, l) {
			all = append(all, itemOf(j, l, q.payloads))
		}
	}
	slices.SortFunc(all, listItem.compare)
	if q.cursor != "" {
		at := slices.IndexFunc(all, func(i listItem) bool { return i.cursor() == q.cursor })
		all = all[at+1:] // a cursor that nobody gave begins anew
	}
	body := struct {
		Items      []listItem `json:"items"`
		NextCursor *string    `json:"next_cursor"`
		HasMore    bool       `json:"has_more"`
	}{Items: []listItem{}}
	if len(all) > q.limit {
		all = all[:q.limit]
		next := all[q.limit-1].cursor()
		body.NextCursor, body.HasMore = &next, true
	}
	body.Items = append(body.Items, all...)
	reply(w, http.StatusOK, "", body)
}

// compare puts the newest end first.
func (i listItem) compare(j listItem) int {
	return cmp.Or(j.ended.Compare(i.ended), cmp.Compare(i.RequestID, j.RequestID))
}

func (i listItem) cursor() string { return base64.RawURLEncoding.EncodeToString([]byte(i.RequestID)) }

type listQuery struct {
	endpoints  []string
	start, end time.Time
	status     string
	requestID  string
	payloads   bool
	limit      int
	cursor     string
}

func readListQuery(r *http.Request) (listQuery, error) {
	v := r.URL.Query()
	now := time.Now()
	q := listQuery{
		status: v.Get("status"), requestID: v.Get("request_id"), payloads: slices.Contains(v["expand"], "payloads"),
		cursor: v.Get("cursor"), limit: defaultListLimit, start: now.Add(-listWindow), end: now,
	}
	for _, list := range v["endpoint_id"] {
		q.endpoints = append(q.endpoints, strings.Split(list, ",")...)
	}
	if len(q.endpoints) == 0 || len(q.endpoints) > maxListEndpoints {
		return q, fmt.Errorf("endpoint_id: give 1 to %d", maxListEndpoints)
	}
	for name, to := range map[string]*time.Time{"start": &q.start, "end": &q.end} {
		text := v.Get(name)
		if text == "" {
			continue
		}
		var err error
		if *to, err = time.Parse(time.RFC3339, text); err != nil {
			return q, fmt.Errorf("%s: not a time", name)
		}
	}
	if text := v.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxListLimit {
			return q, fmt.Errorf("limit: not between 1 and %d", maxListLimit)
		}
		q.limit = n
	}
	if !slices.Contains([]string{"", "success", "error", "user_error"}, q.status) {
		return q, fmt.Errorf("status: not success, error or user_error")
	}
	return q, nil
}

func (q listQuery) wants(j emulator.Job, l jobState) bool {
	return slices.Contains(q.endpoints, j.Model) && (q.requestID == "" || q.requestID == j.ID) &&
		!l.ended.Before(q.start) && !l.ended.After(q.end) && (q.status == "" || q.status == statusWord(statusCode(l)))
}

func itemOf(j emulator.Job, l jobState, payloads bool) listItem {
	i := listItem{
		RequestID: j.ID, EndpointID: j.Model, SentAt: listTime(j.At), EndedAt: listTime(l.ended), StatusCode: statusCode(l),
		ended: l.ended,
	}
	if l.started.Before(l.ended) {
		at := listTime(l.started)
		i.StartedAt, i.Duration = &at, l.ended.Sub(l.started).Seconds()
	}
	if payloads && json.Valid(j.Input) {
		i.JSONInput = j.Input
	}
	return i
}

func statusCode(l jobState) int {
	if l.fail != nil {
		return l.fail.status
	}
	return http.StatusOK
}

func statusWord(code int) string {
	switch {
	case code < 400:
		return "success"
	case code < 500:
		return "user_error"
	default:
		return "error"
	}
}

func listTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }
