package comfy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"reelay/events"
	"reelay/internal/provider"
	"reelay/internal/provider/jsonapi"
	"reelay/internal/secret"
)

// Options configures a Driver.
type Options struct {
	// BaseURL is where the server is: of a core, with or without /api at its end, or of Comfy API v2, with /api/v2.
	BaseURL string
	// Key is the API key; most servers of one's own have none.
	Key secret.Value
	// Transport carries the free calls; that of package jsonapi if nil.
	Transport http.RoundTripper
	// Timeout bounds one free call; that of package jsonapi if 0.
	Timeout time.Duration
}

// A Driver speaks to one server. It is safe for concurrent use.
type Driver struct {
	api *jsonapi.Client
	// v2 says that the server is spoken to by Comfy API v2.
	v2 bool
	// old says that a core has no /api/jobs.
	old atomic.Bool
	// gone are the jobs that were cancelled before they ran: a core knows them no more.
	gone jsonapi.Recent
}

const v2Path = "/api/v2"

// New returns a driver. It fails for a base URL or a key that cannot be one, and for Comfy Cloud, which charges.
func New(o Options) (*Driver, error) {
	base, v2 := strings.CutSuffix(strings.TrimRight(o.BaseURL, "/"), v2Path)
	api, err := jsonapi.New(jsonapi.Options{
		BaseURL: strings.TrimSuffix(base, "/api"), Private: true, Key: o.Key, Transport: o.Transport, Timeout: o.Timeout,
	})
	if err != nil {
		return nil, err
	}
	if u, err := url.Parse(api.Base()); err == nil && (strings.HasSuffix(u.Hostname(), ".comfy.org") ||
		strings.HasSuffix(u.Hostname(), ".comfy.app")) {
		return nil, errors.New("base URL: Comfy Cloud charges in credits, which reelay cannot count; a server of one's own is meant")
	}
	return &Driver{api: api, v2: v2}, nil
}

// Format prints the base URL only, never the key.
func (d *Driver) Format(s fmt.State, _ rune) {
	_, _ = io.WriteString(s, "comfy.Driver("+d.api.Base()+")")
}

// FileServer returns where the server hands out its files, and what has to be sent along: an operator has named it, so
// that it may be reached although its address is not public.
func (d *Driver) FileServer() (baseURL string, header http.Header) {
	header = d.api.Header()
	header.Del("Accept")
	return d.api.Base() + "/", header
}

// Features tells what the server can do with the jobs of a workflow.
func (d *Driver) Features(model string) provider.Features {
	if !validModel(model) {
		return provider.Features{}
	}
	return provider.Features{Cancel: true, List: true, Position: true, Progress: d.v2, Repeatable: d.v2}
}

// modelPattern is what the name of a workflow looks like.
var modelPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]*(/[A-Za-z0-9][A-Za-z0-9._:-]*){0,5}$`)

func validModel(model string) bool {
	return len(model) <= events.MaxModelBytes && modelPattern.MatchString(model)
}

// ref is the handle of a job.
type ref struct {
	JobID string `json:"job_id"`
}

var idPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}$`)

// Ref builds the handle of a job. Its error is a FieldError for "model" or "provider_id".
func (d *Driver) Ref(model, id string) (json.RawMessage, error) {
	if err := checkModel(model); err != nil {
		return nil, err
	}
	if !idPattern.MatchString(id) {
		return nil, events.NewFieldError("provider_id", "must be 1 to 100 characters of A-Z a-z 0-9 _ -")
	}
	return events.Marshal(ref{id})
}

func checkModel(model string) error {
	if validModel(model) {
		return nil
	}
	return events.NewFieldError("model", "%q is not the name of a workflow, such as \"default\" or wan-t2v",
		provider.Clip(model, events.MaxModelBytes))
}

// readRef opens a handle that Ref has built.
func readRef(raw json.RawMessage) (id string, err error) {
	var r ref
	if json.Unmarshal(raw, &r) != nil || !idPattern.MatchString(r.JobID) {
		return "", newError(events.KindInternal, "bad_ref", "the handle is not one of a job", provider.Reply{})
	}
	return r.JobID, nil
}

// requestID is the id of an attempt, the same whenever it is asked for; attempt 0 is the task itself. The time of the task
// is in it: a task of the same name in a store that was made anew must not find the job of the former one.
func requestID(t *events.Task, attempt int) string {
	name := t.Key().String() + "." + strconv.Itoa(attempt) + "." + strconv.FormatInt(t.CreatedAt.UnixNano(), 10)
	return uuid.NewSHA1(uuid.NameSpaceOID, []byte(name)).String()
}

// newError makes an error. The machines are the operator's own: nothing is charged.
func newError(kind events.Kind, code, message string, r provider.Reply) *provider.Error {
	return free(jsonapi.NewError(kind, code, message, r))
}

func callError(r provider.Reply) *provider.Error { return free(jsonapi.CallError(r)) }

func free(e *provider.Error) *provider.Error {
	e.Charge = events.ChargeNone
	return e
}

// ReadCallback refuses every body: these servers send no callbacks. Its error is a *provider.Error.
func (d *Driver) ReadCallback(string, []byte) (provider.Callback, error) {
	return provider.Callback{}, newError(events.KindInvalid, "no_callback", "the server sends no callbacks", provider.Reply{})
}
