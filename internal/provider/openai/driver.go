package openai

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"reelay/events"
	"reelay/internal/provider"
	"reelay/internal/provider/jsonapi"
	"reelay/internal/secret"
)

// Options configures a Driver.
type Options struct {
	// BaseURL is where the server is, with or without the /v1 at the end that OpenAI's clients want.
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
	// forms says that the server has refused JSON and takes forms.
	forms atomic.Bool

	// deleted are the jobs whose cancel the server has acknowledged: it knows them no more.
	deleted jsonapi.Recent
}

// New returns a driver. It fails if the base URL is neither https nor plain http to a private address, and if the key
// cannot stand in a header.
func New(o Options) (*Driver, error) {
	api, err := jsonapi.New(jsonapi.Options{
		BaseURL: strings.TrimSuffix(strings.TrimRight(o.BaseURL, "/"), "/v1"), Private: true, Key: o.Key, Transport: o.Transport,
		Timeout: o.Timeout,
	})
	if err != nil {
		return nil, err
	}
	return &Driver{api: api}, nil
}

// Format prints the base URL only: fmt reads unexported fields past their own methods, the key's among them.
func (d *Driver) Format(s fmt.State, _ rune) {
	_, _ = fmt.Fprintf(s, "openai.Driver(%s)", d.api.Base())
}

// FileServer returns where the server hands out its files, and what has to be sent along: an operator has named it, so
// that it may be reached although its address is not public.
func (d *Driver) FileServer() (baseURL string, header http.Header) {
	header = d.api.Header()
	header.Del("Accept")
	return d.api.Base() + "/", header
}

// Features tells what servers can do with tasks of a model. That some cannot cancel shows when one is asked to.
func (d *Driver) Features(model string) provider.Features {
	_, _, answers := callOf(model)
	switch {
	case !validModel(model):
		return provider.Features{}
	case answers:
		return provider.Features{Synchronous: true}
	}
	return provider.Features{Cancel: true, List: true, Progress: true}
}

// anyModel is the model of a task that leaves it to the server, most of which have only one.
const anyModel = "default"

// modelPattern is what the name of a model looks like: a name of Hugging Face, or what a proxy calls it.
var modelPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]*(/[A-Za-z0-9][A-Za-z0-9._:-]*){0,5}$`)

func validModel(model string) bool {
	return len(model) <= events.MaxModelBytes && modelPattern.MatchString(model)
}

// checkModel fails with a FieldError of "model".
func checkModel(model string) error {
	if validModel(model) {
		return nil
	}
	return events.NewFieldError("model", "%q is not the name of a model, such as %q or Wan-AI/Wan2.2-T2V-A14B-Diffusers",
		provider.Clip(model, events.MaxModelBytes), anyModel)
}

// ref is the handle of a job.
type ref struct {
	VideoID string `json:"video_id"`
}

// idPattern is what an id looks like that can stand in a path.
var idPattern = regexp.MustCompile(`^[A-Za-z0-9_~-][A-Za-z0-9._~:;@!+,=-]{0,255}$`)

// Ref builds the handle of the job that the server calls id. Its error is a FieldError for "model" or "provider_id".
func (d *Driver) Ref(model, id string) (json.RawMessage, error) {
	if err := checkModel(model); err != nil {
		return nil, err
	}
	if c, _, answers := callOf(model); answers {
		return nil, events.NewFieldError("provider_id", "%s has no jobs that could be asked about", c.path)
	}
	if !idPattern.MatchString(id) {
		return nil, events.NewFieldError("provider_id", "must be 1 to 256 characters of A-Z a-z 0-9 . _ ~ : ; @ ! + , = -")
	}
	return events.Marshal(ref{VideoID: id})
}

// readRef opens a handle that Ref has built.
func (d *Driver) readRef(raw json.RawMessage) (id string, err error) {
	var r ref
	if json.Unmarshal(raw, &r) != nil || !idPattern.MatchString(r.VideoID) {
		return "", newError(events.KindInternal, "bad_ref", "the handle is not one of a job of the server", provider.Reply{})
	}
	return r.VideoID, nil
}

const videosPath = "/v1/videos"

func videoPath(id string) string { return videosPath + "/" + url.PathEscape(id) }

// ReadCallback refuses every body: these servers send no callbacks. Its error is an *provider.Error.
func (d *Driver) ReadCallback(string, []byte) (provider.Callback, error) {
	return provider.Callback{}, newError(events.KindInvalid, "no_callback", "the server sends no callbacks", provider.Reply{})
}
