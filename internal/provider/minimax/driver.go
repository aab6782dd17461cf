package minimax

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"reelay/events"
	"reelay/internal/provider"
	"reelay/internal/secret"
)

const (
	// DefaultBaseURL is MiniMax's international host. A key works only with the host of its own region.
	DefaultBaseURL = "https://api.minimax.io"
	// DefaultTimeout bounds one free call.
	DefaultTimeout = 30 * time.Second

	families = "MiniMax-H3*, MiniMax-Hailuo-*, T2V-01*, I2V-01*, S2V-01*, speech-*, t2a_v2/speech-*, music-*, image-*, " +
		"voice_clone, voice_design, get_voice, delete_voice"
)

// Options configures a Driver.
type Options struct {
	// BaseURL is where MiniMax is; DefaultBaseURL if empty.
	BaseURL string
	// Key is the API key, without "Bearer". It must not be empty.
	Key secret.Value
	// Transport carries the free calls; that of provider.NewTransport if nil.
	Transport http.RoundTripper
	// Timeout bounds one free call; DefaultTimeout if 0.
	Timeout time.Duration
}

// A Driver speaks MiniMax's wire formats. It is safe for concurrent use.
type Driver struct {
	base     string
	key      secret.Value
	redactor *secret.Redactor
	client   *http.Client
	// uploads makes the calls that carry files.
	uploads *http.Client
	batch   runningBatch
	// archives fetches the files of speech tasks, one at a time.
	archives *provider.LargeReads
}

// versionPath is the end of a base URL that MiniMax's text API wants and its video API does not.
var versionPath = regexp.MustCompile(`(?i)/v[12](/video_generation)?/*$`)

// New returns a driver. It fails if the base URL is not https (plain http is for loopback) or ends in the version of an
// API, if the timeout is negative, and if the key is empty or cannot stand in a header.
func New(o Options) (*Driver, error) {
	if o.BaseURL == "" {
		o.BaseURL = DefaultBaseURL
	}
	if o.Transport == nil {
		o.Transport = provider.NewTransport(o.BaseURL)
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if err := provider.CheckBaseURL(o.BaseURL); err != nil {
		return nil, fmt.Errorf("minimax: base URL: %w", err)
	}
	if version := versionPath.FindString(o.BaseURL); version != "" {
		return nil, fmt.Errorf("minimax: base URL: REELAY_MINIMAX_URL ends in %s, which reelay adds itself: leave it out",
			version)
	}
	if o.Timeout < 0 {
		return nil, fmt.Errorf("minimax: timeout %v is negative", o.Timeout)
	}
	if o.Key.Empty() {
		return nil, errors.New("minimax: no API key")
	}
	if strings.ContainsFunc(o.Key.Reveal(), func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return nil, errors.New("minimax: the API key holds a space or a character that no key has")
	}
	return &Driver{
		base: strings.TrimRight(o.BaseURL, "/"), key: o.Key, redactor: secret.NewRedactor(o.Key), client: provider.NewClient(o.Transport, o.Timeout),
		uploads:  provider.NewClient(o.Transport, uploadTimeout),
		archives: provider.NewLargeReads(1, maxAnswerBytes),
	}, nil
}

// Features tells what the generation that serves model can do; nothing for a model of no known family.
func (d *Driver) Features(model string) provider.Features {
	g := generationOf(model)
	if g == nil {
		return provider.Features{}
	}
	return g.features()
}

// Format prints the base URL only: fmt reads unexported fields past their own methods, the key's among them.
func (d *Driver) Format(s fmt.State, _ rune) { _, _ = fmt.Fprintf(s, "minimax.Driver(%s)", d.base) }

// A generation is one of MiniMax's APIs: the two for video, speech with a task, and the calls that answer with what they
// make.
type generation interface {
	name() string // as in handles
	features() provider.Features
	createPath() string
	taskTypes() []events.TaskType
	// wireModel is the body's model for a task's, "" where the body has none of ours.
	wireModel(model string) string
	poll(ctx context.Context, d *Driver, id string) (provider.Snapshot, error)
	cancel(ctx context.Context, d *Driver, id string) (provider.CancelOutcome, error)
}

var (
	_ generation = v1{}
	_ generation = v2{}
	_ generation = speech{}
	_ generation = call{}
)

// modelPattern is what a model's name looks like, after the name of an API where one is asked for.
var modelPattern = regexp.MustCompile(`^([a-z0-9_]{1,32}/)?[A-Za-z0-9][A-Za-z0-9._-]{0,150}$`)

// generationOf returns the API that serves a model, nil for a model of no known family.
func generationOf(model string) generation {
	if !modelPattern.MatchString(model) {
		return nil
	}
	if c, ok := callOf(model); ok {
		return c
	}
	model = strings.ToLower(model)
	if strings.HasPrefix(model, "speech-") {
		return speech{}
	}
	if strings.HasPrefix(model, "minimax-h3") {
		return v2{}
	}
	for _, family := range []string{"minimax-hailuo-", "t2v-01", "i2v-01", "s2v-01"} {
		if strings.HasPrefix(model, family) {
			return v1{}
		}
	}
	return nil
}

// ref is the handle of a task.
type ref struct {
	API    string `json:"api"`
	TaskID string `json:"task_id"`
	// Characters is what MiniMax said at the create of a speech task that it bills.
	Characters *float64 `json:"characters,omitempty"`
}

// idPattern is what a MiniMax id looks like: digits so far, with room for what they or a gateway's may become, and
// nothing that could leave its place in a URL.
var idPattern = regexp.MustCompile(`^[A-Za-z0-9_~-][A-Za-z0-9._~:;@!+,=-]{0,127}$`)

// Ref builds the handle of the task that MiniMax calls id. Its error is a FieldError for "model" or "provider_id".
func (d *Driver) Ref(model, id string) (json.RawMessage, error) {
	return d.refWith(model, id, nil)
}

func (d *Driver) refWith(model, id string, characters *float64) (json.RawMessage, error) {
	g := generationOf(model)
	if g == nil {
		return nil, unknownModel(model)
	}
	if g.features().Synchronous {
		return nil, events.NewFieldError("provider_id", "%s has no tasks that could be asked about", g.name())
	}
	if !idPattern.MatchString(id) {
		return nil, events.NewFieldError("provider_id", "must be 1 to 128 characters of A-Z a-z 0-9 . _ ~ : ; @ ! + , = -")
	}
	return events.Marshal(ref{API: g.name(), TaskID: id, Characters: characters})
}

// readRef opens a handle that Ref has built.
func (d *Driver) readRef(raw json.RawMessage) (generation, string, error) {
	var r ref
	if err := json.Unmarshal(raw, &r); err == nil && idPattern.MatchString(r.TaskID) {
		all := []generation{v1{}, v2{}, speech{characters: r.Characters}}
		for _, c := range calls() {
			all = append(all, c)
		}
		for _, g := range all {
			if g.name() == r.API {
				return g, r.TaskID, nil
			}
		}
	}
	return nil, "", d.newError(events.KindInternal, "bad_ref", "the handle is not one of a MiniMax task", provider.Reply{})
}

func unknownModel(model string) error {
	return events.NewFieldError("model", "%q is of no MiniMax family: %s",
		provider.Clip(model, events.MaxModelBytes), families)
}

// call makes one free call. Its error is a *provider.Error.
func (d *Driver) call(ctx context.Context, method, path string, query url.Values) (provider.Reply, error) {
	target := d.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, nil)
	if err != nil {
		return provider.Reply{},
			d.newError(events.KindInternal, "bad_request", method+" "+path+" cannot be sent", provider.Reply{})
	}
	req.Header = d.header()
	r, err := provider.Exchange(d.client, req)
	if err != nil {
		return r, d.redactError(provider.AsError(err))
	}
	return r, nil
}

// header returns the headers of every call.
func (d *Driver) header() http.Header {
	return http.Header{
		"Authorization": {"Bearer " + d.key.Reveal()},
		"Accept":        {"application/json"},
	}
}
