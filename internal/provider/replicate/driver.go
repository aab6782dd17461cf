package replicate

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"reelay/events"
	"reelay/internal/provider"
	"reelay/internal/provider/jsonapi"
	"reelay/internal/secret"
)

// DefaultBaseURL is Replicate's API.
const DefaultBaseURL = "https://api.replicate.com"

// Options configures a Driver.
type Options struct {
	// BaseURL is https, or http on a loopback address. Default: DefaultBaseURL.
	BaseURL string
	Key     secret.Value
	// Transport carries the free calls; that of package jsonapi if nil.
	Transport http.RoundTripper
	// Timeout bounds one free call; that of package jsonapi if 0.
	Timeout time.Duration
}

// A Driver speaks to one account. It is safe for concurrent use.
type Driver struct{ api *jsonapi.Client }

// New returns a driver. It fails for a base URL or a key that cannot be one.
func New(o Options) (*Driver, error) {
	base := cmp.Or(o.BaseURL, DefaultBaseURL)
	api, err := jsonapi.New(jsonapi.Options{
		BaseURL: strings.TrimSuffix(strings.TrimRight(base, "/"), "/v1"), Key: o.Key, Transport: o.Transport, Timeout: o.Timeout,
	})
	if err != nil {
		return nil, err
	}
	return &Driver{api}, nil
}

// Format prints the base URL only, never the key.
func (d *Driver) Format(s fmt.State, _ rune) {
	_, _ = io.WriteString(s, "replicate.Driver("+d.api.Base()+")")
}

// Features tells what Replicate can do with predictions of a model.
func (d *Driver) Features(model string) provider.Features {
	if _, err := parseModel(model); err != nil {
		return provider.Features{}
	}
	return provider.Features{Cancel: true, List: true, Webhook: true, Logs: true}
}

// A target is what a task's model stands for.
type target struct {
	// path is where predictions of it are created.
	path string
	// Of these, what the model says. version is without the name before it.
	model, version, deployment string
}

var (
	ownedPattern   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$`)
	versionPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

const (
	predictionsPath = "/v1/predictions"
	deployments     = "deployments/"
)

// parseModel fails with a FieldError of "model".
func parseModel(model string) (target, error) {
	if len(model) <= events.MaxModelBytes {
		name, version, versioned := strings.Cut(model, ":")
		deployment, deployed := strings.CutPrefix(model, deployments)
		switch {
		case versionPattern.MatchString(model):
			return target{path: predictionsPath, version: model}, nil
		case deployed && ownedPattern.MatchString(deployment):
			return target{path: "/v1/" + model + "/predictions", deployment: deployment}, nil
		case versioned && ownedPattern.MatchString(name) && versionPattern.MatchString(version):
			return target{path: predictionsPath, model: name, version: version}, nil
		case ownedPattern.MatchString(model):
			return target{path: "/v1/models/" + model + "/predictions", model: model}, nil
		}
	}
	return target{}, events.NewFieldError("model", "%q is none of owner/name, owner/name:version, a version of 64 hexadecimal "+
		"digits, or deployments/owner/name", provider.Clip(model, events.MaxModelBytes))
}

// ref is the handle of a prediction.
type ref struct {
	PredictionID string `json:"prediction_id"`
}

var idPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// Ref builds the handle of a prediction. Its error is a FieldError for "model" or "provider_id".
func (d *Driver) Ref(model, id string) (json.RawMessage, error) {
	if _, err := parseModel(model); err != nil {
		return nil, err
	}
	if !idPattern.MatchString(id) {
		return nil, events.NewFieldError("provider_id", "must be 1 to 64 characters of A-Z a-z 0-9 _ -")
	}
	return events.Marshal(ref{id})
}

// readRef opens a handle that Ref has built.
func readRef(raw json.RawMessage) (id string, err error) {
	var r ref
	if json.Unmarshal(raw, &r) != nil || !idPattern.MatchString(r.PredictionID) {
		return "", jsonapi.NewError(events.KindInternal, "bad_ref", "the handle is not one of a prediction", provider.Reply{})
	}
	return r.PredictionID, nil
}

func predictionPath(id string) string { return predictionsPath + "/" + url.PathEscape(id) }
