package fal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"reelay/events"
	"reelay/internal/provider"
)

const (
	// DefaultPlatformURL is the host of fal's platform API, which lists requests.
	DefaultPlatformURL = "https://api.fal.ai"

	listPath = "/v1/models/requests/by-endpoint"
	// listPageSize is the most entries that fal puts on a page.
	listPageSize = 100
	// maxListCalls bounds one List.
	maxListCalls = 50
	// longestRun is how long after its submit a request may still run and so be missing from the list.
	longestRun = time.Hour
)

// List returns the requests of the task's endpoint that fal took in at since or later and that may be the one the
// task's input made: Exact where the list shows the same input, by its canonical digest; not Exact where it shows no
// input (payload storage is off or the payload was deleted), or one that holds all of the task's and more, as if fal
// had filled in defaults. What shows another input is left out.
//
// fal documents the call (https://fal.ai/docs/platform-apis/v1/models/requests/by-endpoint) with the times and codes of
// requests that have ended; nothing says that it lists those under way. So complete is true only if every page was
// read, every entry was understood, and an hour has passed since the request can have been sent. A request that waits in fal's queue for longer,
// which only a start deadline prevents, is missing even so: do not conclude from one listing.
//
// List fails with a *provider.Error.
func (d *Driver) List(ctx context.Context, t events.Task, input json.RawMessage,
	since time.Time,
) (found []provider.Found, complete bool, err error) {
	m, err := parseModel(t.Model)
	if err != nil {
		return nil, false, &provider.Error{
			Kind: events.KindInvalid, Code: "bad_model",
			Message: provider.Clip(err.Error(), events.MaxMessageBytes),
		}
	}
	query := url.Values{
		"endpoint_id": {m.path}, "start": {since.UTC().Truncate(time.Second).Format(time.RFC3339)}, "expand": {"payloads"},
	}
	seen, cursors := map[string]bool{}, map[string]bool{"": true}
	size, odd := listPageSize, 0
	for range maxListCalls {
		query.Set("limit", strconv.Itoa(size))
		page, err := d.listPage(ctx, query)
		if err != nil && err.Code == "answer_too_large" && size > 1 {
			size = max(1, size/4) // inputs may hold whole images
			continue
		}
		if err != nil {
			return nil, false, err
		}
		for _, raw := range page.Items {
			e, err := readEntry(raw)
			if err != nil {
				odd++
				continue
			}
			if e.endpoint != "" && e.endpoint != m.path || e.sentAt.Before(since) || seen[e.id] {
				continue
			}
			if fits, exact := e.fits(t.InputDigest, input); fits {
				seen[e.id] = true
				found = append(found, provider.Found{ID: e.id, CreatedAt: e.sentAt, Exact: exact})
			}
		}
		next := text(page.Next)
		if cursors[next] { // none, or one that leads in a circle
			whole := next == "" && !page.More && odd == 0
			return found, whole && time.Since(sentBy(t, since)) > longestRun, nil
		}
		cursors[next] = true
		query.Set("cursor", next)
	}
	return found, false, nil
}

// sentBy is when the request that is sought was sent at the latest, which is since unless the attempt stands for one that
// may have left at any time before it.
func sentBy(t events.Task, since time.Time) time.Time {
	if a := t.Attempt(); a != nil && a.SentAfter != nil {
		return a.IntentAt
	}
	return since
}

type listPage struct {
	Items []json.RawMessage `json:"items"`
	Next  json.RawMessage   `json:"next_cursor"`
	More  bool              `json:"has_more"`
}

func (d *Driver) listPage(ctx context.Context, query url.Values) (listPage, *provider.Error) {
	r, err := d.call(ctx, http.MethodGet, d.platformURL+listPath+"?"+query.Encode(), false)
	if err != nil {
		return listPage{}, provider.AsError(err)
	}
	e := readEnvelope(r)
	if r.Status < 200 || r.Status > 299 {
		return listPage{}, pollError(e)
	}
	var p listPage
	if json.Unmarshal(r.Body, &p) != nil || p.Items == nil {
		e.message = "the answer is no list of requests"
		return listPage{}, e.error(events.KindRetry)
	}
	return p, nil
}

// An entry is one request in the list.
type entry struct {
	id       string
	endpoint string
	sentAt   time.Time
	// input is as the list shows it; empty if it does not.
	input json.RawMessage
}

var errEntry = errors.New("not an entry of fal's list")

func readEntry(raw json.RawMessage) (entry, error) {
	var item struct {
		ID       json.RawMessage `json:"request_id"`
		Endpoint json.RawMessage `json:"endpoint_id"`
		SentAt   json.RawMessage `json:"sent_at"`
		Input    json.RawMessage `json:"json_input"`
	}
	if json.Unmarshal(raw, &item) != nil {
		return entry{}, errEntry
	}
	e := entry{id: text(item.ID), endpoint: text(item.Endpoint), input: item.Input}
	if !validID(e.id) {
		return entry{}, errEntry
	}
	var err error
	sent := text(item.SentAt)
	if e.sentAt, err = time.Parse(time.RFC3339, sent); err != nil {
		e.sentAt, err = time.Parse("2006-01-02T15:04:05", sent) // without a zone, as Python writes UTC
	}
	if err != nil {
		return entry{}, errEntry
	}
	if inner := text(e.input); inner != "" { // JSON as text
		e.input = json.RawMessage(inner)
	}
	if isNull(e.input) || !json.Valid(e.input) {
		e.input = nil
	}
	return e, nil
}

// fits compares the entry's input with that of the task.
func (e entry) fits(digest string, input json.RawMessage) (fits, exact bool) {
	if len(e.input) == 0 {
		return true, false
	}
	if got, err := events.Digest(e.input); err == nil && got == digest {
		return true, true
	}
	return holds(decode(e.input), decode(input)), false
}

// decode reads a JSON value, numbers as they were written; nil if it is none.
func decode(raw json.RawMessage) (v any) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return nil
	}
	return v
}

// holds reports whether all has everything that part has: objects may have more members, and numbers may be spelt
// otherwise.
func holds(all, part any) bool {
	switch part := part.(type) {
	case map[string]any:
		object, ok := all.(map[string]any)
		for name, member := range part {
			found, has := object[name]
			ok = ok && has && holds(found, member)
		}
		return ok
	case []any:
		list, ok := all.([]any)
		return ok && slices.EqualFunc(list, part, holds)
	case json.Number:
		n, ok := all.(json.Number)
		return ok && sameNumber(n.String(), part.String())
	default:
		return all == part
	}
}

// sameNumber compares spellings. Whole numbers must agree digit by digit: a float64 does not hold a seed of 64 bits.
func sameNumber(a, b string) bool {
	if a == b || !strings.ContainsAny(a+b, ".eE") {
		return a == b
	}
	x, err1 := strconv.ParseFloat(a, 64)
	y, err2 := strconv.ParseFloat(b, 64)
	return err1 == nil && err2 == nil && x == y
}
