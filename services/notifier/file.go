package notifier

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.yaml.in/yaml/v3"

	"reelay/events"
	"reelay/internal/address"
	"reelay/internal/secret"
	"reelay/internal/smallfile"
)

const (
	maxFileBytes = 1 << 20
	maxEndpoints = 64
	maxURLBytes  = 2 << 10
	maxInFlight  = 64
	// minSecretBytes and maxSecretBytes are those of Standard Webhooks, see
	// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md.
	minSecretBytes, maxSecretBytes = 24, 64
	defaultInFlight                = 4
	// everyProject stands for all projects.
	everyProject = "*"
)

// settings are the endpoints, as the file has them.
type settings struct {
	// state is that of the file before it was read.
	state     fileState
	endpoints map[string]*endpoint
	// client reaches them.
	client *http.Client
}

// An endpoint is a web service of a user.
type endpoint struct {
	name string
	url  secret.Value
	// signers sign each delivery, the newer secret first.
	signers  []*standardwebhooks.Webhook
	projects []string
	always   bool
	events   []events.EventType
	inFlight int
	// redact takes the secret and the URL out of what the endpoint answers.
	redact []*secret.Redactor
}

// fileForm is the file.
type fileForm struct {
	Hosts     []string                `yaml:"hosts"`
	Endpoints map[string]endpointForm `yaml:"endpoints"`
}

type endpointForm struct {
	URL       string             `yaml:"url"`
	Secret    string             `yaml:"secret"`
	OldSecret string             `yaml:"old_secret"`
	Projects  []string           `yaml:"projects"`
	Always    bool               `yaml:"always"`
	Events    []events.EventType `yaml:"events"`
	InFlight  int                `yaml:"in_flight"`
}

// quoted is how the YAML library cites values in its errors.
var quoted = regexp.MustCompile("`[^`]*`")

// load reads the file; without a path there is no endpoint. hosts may be reached whatever they are. Its error names the
// field, and never a URL or a secret.
func load(path string, hosts []string) (*settings, error) {
	if path == "" {
		return &settings{}, nil
	}
	state := stateOf(path)
	text, err := smallfile.Read(path, maxFileBytes)
	if err != nil {
		return nil, err
	}
	s, err := parse(text, hosts)
	if err == nil {
		s.state = state
	}
	return s, err
}

func parse(text []byte, hosts []string) (*settings, error) {
	var form fileForm
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&form); err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.New(quoted.ReplaceAllString(err.Error(), "a value"))
	}
	if len(form.Endpoints) > maxEndpoints {
		return nil, fmt.Errorf("endpoints: %d are over the limit of %d", len(form.Endpoints), maxEndpoints)
	}
	hosts = slices.Concat(hosts, form.Hosts)
	s := &settings{endpoints: map[string]*endpoint{}, client: newClient(hosts)}
	for _, name := range slices.Sorted(maps.Keys(form.Endpoints)) {
		e, err := form.Endpoints[name].endpoint(name, hosts)
		if err != nil {
			return nil, fmt.Errorf("endpoints.%.80s.%w", name, err)
		}
		s.endpoints[name] = e
	}
	return s, nil
}

// endpoint checks every field.
func (f endpointForm) endpoint(name string, hosts []string) (*endpoint, error) {
	e := &endpoint{
		name: name, url: secret.New(f.URL), projects: f.Projects, always: f.Always, events: f.Events,
		inFlight: cmp.Or(f.InFlight, defaultInFlight),
	}
	switch {
	case !events.ValidToken(name):
		return nil, fmt.Errorf("name: must be 1 to %d characters of A-Z a-z 0-9 _ -", events.MaxTokenBytes)
	case e.inFlight < 1 || e.inFlight > maxInFlight:
		return nil, fmt.Errorf("in_flight: %d is not between 1 and %d", f.InFlight, maxInFlight)
	case f.Always && len(f.Projects) == 0:
		return nil, fmt.Errorf("always: needs projects; %q is all of them", everyProject)
	}
	for _, p := range f.Projects {
		if p != everyProject && !events.ValidToken(p) {
			return nil, fmt.Errorf("projects: %.80q is no project", p)
		}
	}
	for _, t := range f.Events {
		if !slices.Contains(events.NotifiedEvents(), t) {
			return nil, fmt.Errorf("events: %.80q is not one of %v", t, events.NotifiedEvents())
		}
	}
	if err := checkURL(f.URL, hosts); err != nil {
		return nil, err
	}
	u, _ := url.Parse(f.URL) // it was checked
	e.redact = append(e.redact, secret.NewRedactor(e.url), secret.NewRedactor(secret.New(u.RequestURI())),
		secret.NewRedactor(secret.New(u.Hostname())))
	for _, part := range append(strings.Split(u.EscapedPath(), "/"), strings.FieldsFunc(u.RawQuery, isQuerySign)...) {
		e.redact = append(e.redact, secret.NewRedactor(secret.New(part)))
	}
	if err := e.sign("secret", f.Secret); err != nil {
		return nil, err
	}
	return e, e.sign("old_secret", f.OldSecret)
}

// isQuerySign reports whether a character stands between the names and values of a query.
func isQuerySign(r rune) bool { return r == '&' || r == '=' }

// sign adds a secret, which may be missing where it is an old one.
func (e *endpoint) sign(field, text string) error {
	if text == "" && field != "secret" {
		return nil
	}
	bare := strings.TrimPrefix(text, "whsec_")
	key, err := base64.StdEncoding.DecodeString(bare)
	if err != nil || len(key) < minSecretBytes || len(key) > maxSecretBytes {
		return fmt.Errorf(`%s: must be the base64 of %d to %d bytes, behind "whsec_" or not; one is: echo whsec_$(openssl rand -base64 32)`,
			field, minSecretBytes, maxSecretBytes)
	}
	w, err := standardwebhooks.NewWebhookRaw(key)
	if err != nil {
		return fmt.Errorf("%s: %w", field, err)
	}
	e.signers = append(e.signers, w)
	e.redact = append(e.redact, secret.NewRedactor(secret.New(bare)))
	return nil
}

// checkURL wants https, but for hosts that a person has named.
func checkURL(text string, hosts []string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || len(text) > maxURLBytes:
		return fmt.Errorf("url: must be a URL of at most %d bytes", maxURLBytes)
	case u.User != nil || u.Fragment != "":
		return errors.New("url: takes no user, password or fragment")
	case slices.Contains(hosts, u.Hostname()) || slices.Contains(hosts, address.Of(text)):
		if u.Scheme == "https" || u.Scheme == "http" {
			return nil
		}
	case u.Scheme == "https" && (u.Port() == "" || u.Port() == "443"):
		return nil
	case u.Scheme == "https":
		return errors.New("url: a port other than 443 is for hosts that are named in hosts, with or without the port")
	}
	return errors.New("url: must be https; http is for hosts that are named in hosts")
}

// newClient returns the guarded client: it reaches public addresses and the named hosts, through no proxy, and follows no
// redirect.
func newClient(hosts []string) *http.Client {
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: address.NewGuard(dialWait, hosts...).DialContext, TLSHandshakeTimeout: dialWait,
			DisableCompression: true, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: defaultInFlight, IdleConnTimeout: time.Minute,
			MaxResponseHeaderBytes: maxHeaderBytes,
			// A connection whose other end has vanished would be used for a quarter of an hour.
			HTTP2: &http.HTTP2Config{SendPingTimeout: postWait, PingTimeout: dialWait},
		},
	}
}

// allows reports whether a project may use the endpoint.
func (e *endpoint) allows(project string) bool {
	return len(e.projects) == 0 || slices.Contains(e.projects, project) || slices.Contains(e.projects, everyProject)
}

// wants reports whether the endpoint is sent events of a type. Those of requests that did not name it do not include
// rejections, unless it asks for them.
func (e *endpoint) wants(t events.EventType, named bool) bool {
	if len(e.events) > 0 {
		return slices.Contains(e.events, t)
	}
	return named || t != events.EventRejected
}

// clean makes an answer printable, without the URL and the secrets.
func (e *endpoint) clean(text string) string {
	for _, r := range e.redact {
		text = r.Text(text)
	}
	return text
}

// sameWork reports whether the worker of an endpoint need not be started anew.
func (e *endpoint) sameWork(other *endpoint) bool {
	return (e == nil) == (other == nil) && (e == nil || e.inFlight == other.inFlight)
}

// A fileState tells whether a file has changed.
type fileState struct {
	at   time.Time
	size int64
	err  string
}

func stateOf(path string) fileState {
	info, err := os.Stat(path)
	if err != nil {
		return fileState{err: err.Error()}
	}
	return fileState{at: info.ModTime(), size: info.Size()}
}
