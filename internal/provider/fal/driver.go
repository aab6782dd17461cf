package fal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"time"

	"reelay/events"
	"reelay/internal/provider"
	"reelay/internal/secret"
)

const (
	// DefaultBaseURL is fal's queue host.
	DefaultBaseURL = "https://queue.fal.run"
	// DefaultTimeout bounds one free call.
	DefaultTimeout = 60 * time.Second
	// maxIDBytes bounds a request id; fal's are UUIDs of 36.
	maxIDBytes = 100
	// maxPathBytes bounds the path of an address that fal names.
	maxPathBytes = 500
	// maxResultBytes bounds a result, which may hold its files as data: links; a picture of 2K is 4 to 8 MB. Of those over
	// provider.MaxBodyBytes, maxLargeReads are read at once.
	maxResultBytes = 32 << 20
	maxLargeReads  = 2
)

// Options of a Driver.
type Options struct {
	// BaseURL is https, or http on a loopback address, without a slash at the end. Default: DefaultBaseURL.
	BaseURL string
	// PlatformURL is the same for the API that lists requests. Default: DefaultPlatformURL, or BaseURL where that is set,
	// so that a proxy or an emulator gets all calls. Files go to BaseURL where that is no host of fal's, else to
	// DefaultStorageURL.
	PlatformURL string
	// Key is the account's FAL_KEY. It must not be empty.
	Key secret.Value
	// Transport makes the free calls. Default: that of provider.NewTransport.
	Transport http.RoundTripper
	// Timeout bounds one free call. Default: DefaultTimeout.
	Timeout time.Duration
}

// A Driver speaks to fal for one account. It is safe for concurrent use.
type Driver struct {
	baseURL     string
	platformURL string
	key         secret.Value
	redactor    *secret.Redactor
	// storageURL is where files of requests go.
	storageURL string
	client     *http.Client
	// uploads makes the calls that carry their bytes.
	uploads *http.Client
	large   *provider.LargeReads
}

// New checks the options and makes no call. Its errors name the option.
func New(o Options) (*Driver, error) {
	if o.PlatformURL == "" {
		o.PlatformURL = o.BaseURL
	}
	if o.PlatformURL == "" {
		o.PlatformURL = DefaultPlatformURL
	}
	storage := o.BaseURL
	if o.BaseURL == "" {
		o.BaseURL = DefaultBaseURL
	}
	if storage == "" || isFal(storage) {
		storage = DefaultStorageURL
	}
	if err := provider.CheckBaseURL(o.BaseURL); err != nil {
		return nil, fmt.Errorf("fal: base URL: %w", err)
	}
	if err := checkQueueHost(o.BaseURL); err != nil {
		return nil, fmt.Errorf("fal: base URL: %w", err)
	}
	if err := provider.CheckBaseURL(o.PlatformURL); err != nil {
		return nil, fmt.Errorf("fal: platform URL: %w", err)
	}
	if o.Key.Empty() {
		return nil, errors.New("fal: the key is empty")
	}
	if strings.ContainsFunc(o.Key.Reveal(), func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("fal: the key has characters that do not belong in a header")
	}
	if o.Transport == nil {
		o.Transport = provider.NewTransport(o.BaseURL, o.PlatformURL, storage)
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	return &Driver{
		baseURL: strings.TrimRight(o.BaseURL, "/"), platformURL: strings.TrimRight(o.PlatformURL, "/"), key: o.Key, redactor: secret.NewRedactor(o.Key),
		storageURL: strings.TrimRight(storage, "/"), client: provider.NewClient(o.Transport, o.Timeout),
		uploads: provider.NewClient(o.Transport, uploadTimeout), large: provider.NewLargeReads(maxLargeReads, maxResultBytes),
	}, nil
}

// checkQueueHost refuses fal's other hosts: the synchronous one answers a submit with the result itself, and what it
// costs, and keeps no request to ask for.
func checkQueueHost(baseURL string) error {
	u, err := url.Parse(baseURL)
	if err != nil {
		return err
	}
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	if isFal(baseURL) && host != "queue.fal.run" && host != "queue.falrun.com" {
		return fmt.Errorf("REELAY_FAL_URL: %s is not the host of fal's queue, which is %s", host, DefaultBaseURL)
	}
	return nil
}

// isFal reports whether a URL is on one of fal's own hosts.
func isFal(baseURL string) bool {
	u, err := url.Parse(baseURL)
	if err != nil {
		return false
	}
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	for _, domain := range []string{"fal.run", "falrun.com", "fal.ai"} {
		if host == domain || strings.HasSuffix(host, "."+domain) {
			return true
		}
	}
	return false
}

// Format prints the base URL only: fmt reads unexported fields past the methods of secret.Value.
func (d *Driver) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "fal at "+d.baseURL) }

// Features is the same for every model. Progress and logs depend on what the model logs.
func (d *Driver) Features(string) provider.Features {
	return provider.Features{Cancel: true, List: true, Webhook: true, Progress: true, Position: true, Logs: true}
}

// Check takes any endpoint id of fal's form with any task type, and any JSON object: models and their schemas change
// too often to be known here. Its error is an *events.FieldError of "task_type", "model" or "input".
func (d *Driver) Check(t events.TaskType, model string, input json.RawMessage) error {
	if !t.Valid() {
		return events.NewFieldError("task_type", "%.80q is not one of %v", string(t), events.TaskTypes())
	}
	if _, err := parseModel(model); err != nil {
		return err
	}
	if text := bytes.TrimSpace(input); len(text) == 0 || text[0] != '{' || !json.Valid(text) {
		return events.NewFieldError("input", "must be a JSON object")
	}
	return nil
}

// Ref returns the handle of the request with that id of a model.
func (d *Driver) Ref(model, id string) (json.RawMessage, error) {
	return d.refWith(model, id, acceptedBody{})
}

// refWith returns the handle of a request, with the addresses that fal has named for it where they are not the usual
// ones and lie on the host of the base URL: the key goes nowhere else.
func (d *Driver) refWith(model, id string, named acceptedBody) (json.RawMessage, error) {
	m, err := parseModel(model)
	if err != nil {
		return nil, err
	}
	if !validID(id) {
		return nil, fmt.Errorf("fal: %.120q is not a request id", id)
	}
	h := handle{App: m.app, RequestID: id}
	for rest, address := range map[string]string{
		restStatus: text(named.StatusURL), restResult: text(named.ResponseURL), restCancel: text(named.CancelURL),
	} {
		if path := d.pathOf(address); path != "" && d.origin()+path != d.url(h, rest) {
			*h.path(rest) = path
		}
	}
	return events.Marshal(h)
}

// What follows a request's address.
const (
	restResult = ""
	restStatus = "/status"
	restCancel = "/cancel"
)

// A handle names a request at fal. The paths are of addresses that fal has named and that differ from the usual ones.
type handle struct {
	App        string `json:"app"`
	RequestID  string `json:"request_id"`
	StatusPath string `json:"status_path,omitempty"`
	ResultPath string `json:"result_path,omitempty"`
	CancelPath string `json:"cancel_path,omitempty"`
}

// path is where the handle keeps the named path for one of the rests.
func (h *handle) path(rest string) *string {
	switch rest {
	case restStatus:
		return &h.StatusPath
	case restCancel:
		return &h.CancelPath
	}
	return &h.ResultPath
}

// pathOf returns the path of an address on the host of the base URL, "" for any other.
func (d *Driver) pathOf(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		!strings.EqualFold(u.Scheme+"://"+u.Host, d.origin()) || !validPath(u.EscapedPath()) {
		return ""
	}
	return u.EscapedPath()
}

// validPath reports whether a path is one that can be asked as it is.
func validPath(p string) bool {
	return len(p) <= maxPathBytes && strings.HasPrefix(p, "/") && path.Clean(p) == p && urlPath.MatchString(p)
}

// origin is the scheme and host of the base URL.
func (d *Driver) origin() string {
	u, err := url.Parse(d.baseURL)
	if err != nil {
		return d.baseURL
	}
	return u.Scheme + "://" + u.Host
}

// parseRef reads what Ref wrote and trusts nothing in it: it becomes part of a path. Its error is a *provider.Error.
func parseRef(ref json.RawMessage) (handle, *provider.Error) {
	var h handle
	if err := json.Unmarshal(ref, &h); err != nil {
		return h, badRef(err.Error())
	}
	m, err := parseModel(h.App)
	if err != nil || m.app != h.App {
		return h, badRef("no app in it")
	}
	if !validID(h.RequestID) {
		return h, badRef("no request id in it")
	}
	for _, p := range []string{h.StatusPath, h.ResultPath, h.CancelPath} {
		if p != "" && !validPath(p) {
			return h, badRef("a path in it is none")
		}
	}
	return h, nil
}

func badRef(why string) *provider.Error {
	return &provider.Error{
		Kind: events.KindInternal, Code: "bad_ref",
		Message: provider.Clip("not a handle of fal: "+why, events.MaxMessageBytes),
	}
}

// url returns the address of a request, of its status or of its cancel.
func (d *Driver) url(h handle, rest string) string {
	return d.baseURL + "/" + h.App + "/requests/" + url.PathEscape(h.RequestID) + rest
}

func (d *Driver) authorization() string { return "Key " + d.key.Reveal() }

// A model is an endpoint id: path is all of it, app what addresses its requests.
type model struct{ app, path string }

var (
	segment  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	bareName = regexp.MustCompile(`^([0-9]+)-([A-Za-z0-9-]+)$`)
	// id is what may stand in a segment of a path: unreserved characters and delimiters (RFC 3986, 3.3), not "." or "..".
	id      = regexp.MustCompile(`^[A-Za-z0-9_~-][A-Za-z0-9._~!$&'()*+,;=:@-]*$`)
	urlPath = regexp.MustCompile(`^[A-Za-z0-9._~!$&'()*+,;=:@/%-]+$`)
)

func validID(s string) bool { return len(s) <= maxIDBytes && id.MatchString(s) }

// parseModel reads an endpoint id: owner/app[/path...], with one more segment before it in the namespaces workflows and
// comfy. The older form 123-name means 123/name, as in fal's own clients. Its error is a FieldError of "model".
func parseModel(text string) (model, error) {
	if len(text) > events.MaxModelBytes {
		return model{}, events.NewFieldError("model", "%d bytes are over the limit of %d", len(text), events.MaxModelBytes)
	}
	if m := bareName.FindStringSubmatch(text); m != nil {
		text = m[1] + "/" + m[2]
	}
	segments := strings.Split(text, "/")
	app := 2
	if segments[0] == "workflows" || segments[0] == "comfy" {
		app = 3
	}
	if len(segments) < app {
		return model{}, events.NewFieldError("model", "%q is not an endpoint id of fal, such as fal-ai/flux/schnell", text)
	}
	for _, s := range segments {
		// "requests" would make the submit's path that of another call.
		if !segment.MatchString(s) || s == "requests" {
			return model{}, events.NewFieldError("model", "%q in %q does not belong in an endpoint id of fal", s, text)
		}
	}
	return model{app: strings.Join(segments[:app], "/"), path: text}, nil
}
