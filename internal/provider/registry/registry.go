package registry

import (
	"slices"
	"strings"
	"time"

	"reelay/events"
)

// A Provider is what is known of one provider before anything is asked of it.
type Provider struct {
	// Name is the provider's in requests and records, and that of its lane.
	Name string
	// KeyEnv is the environment variable of its API key; <KeyEnv>_FILE names a file that holds it instead.
	KeyEnv string
	// SelfHosted says that it is a server of one's own, whose key may be none: it has a lane for each address that an
	// operator names, and nothing is charged for it.
	SelfHosted bool
	// KeyPair are the two variables that the provider's own clients take instead of KeyEnv, for the parts of the key
	// before and behind its colon; empty if there are none.
	KeyPair []string
	// Emulator is host and port at which its emulator listens, and at which the sandbox expects it.
	Emulator string
	// Settings are for whoever calls the provider. The first is its base URL, which is its emulator's in the sandbox.
	Settings []Setting
	// CallbackSettings are for whoever takes its callbacks.
	CallbackSettings []Setting
	// CallbackKeyEnv is the environment variable of the secret that signs its callbacks, as KeyEnv; empty if none is needed.
	// SandboxCallbackKey is what its emulator signs with.
	CallbackKeyEnv, SandboxCallbackKey string
	// Handshake says that it tries a callback URL before it accepts a request.
	Handshake bool
	// Horizon is how long after a submit in doubt it may stay silent about a task that it has accepted.
	Horizon func(events.Task) time.Duration
	// Limits are what it grants an account by default, by limit group as in events.LaneLimits; nil if that is no limit, or
	// nobody knows.
	Limits map[string]events.ModelLimits
	// ConcurrencyCodes are its codes for refusals for the tasks in flight, not for the rate of requests.
	ConcurrencyCodes []string
	// ExampleModel is a model that makes a video of a prompt, for examples.
	ExampleModel string
	// ContentInputs are its models whose prompt is not the input's field "prompt".
	ContentInputs []ContentInput
}

// A Setting is something that a user may set of a provider, by flag or variable. Keys are none: flags are seen by
// others.
type Setting struct {
	// Flag has no dashes before it.
	Flag string
	Env  string
	Kind Kind
	// Help says in a sentence what it means.
	Help string
	// Default is what it is unless it is set; empty for what the driver says.
	Default string
	// Account says that it is of one account: another at the provider has its own.
	Account bool
	// Private says of a URL that it may be plain http to a private address.
	Private bool
	// Sandbox is what it is in the sandbox unless it is set; of a URL, the path below the emulator's base URL.
	Sandbox string
}

// A Kind is what a setting holds, as its placeholder shows it.
type Kind string

// The kinds of settings. A URL is https, or plain http for loopback addresses.
const (
	URL     Kind = "URL"
	ID      Kind = "ID"
	Address Kind = "HOST:PORT"
)

// A ContentInput says how models take a prompt as one part of the list "content": {"type":"text","text":...}.
type ContentInput struct {
	// Prefix begins the names of the models, in lower case.
	Prefix string
	// Least is a JSON object: the fields that an input needs besides, for the least that the models make.
	Least string
}

// All returns every provider of this build.
func All() []Provider {
	return []Provider{
		{
			Name: "fal", KeyEnv: "FAL_KEY", Emulator: "127.0.0.1:7101",
			// As fal's clients do: fal-ai/fal-js@381105e libs/client/src, fal-ai/fal@c6f0afa projects/fal_client.
			KeyPair: []string{"FAL_KEY_ID", "FAL_KEY_SECRET"},
			Settings: []Setting{
				{Flag: "fal-url", Env: "REELAY_FAL_URL", Kind: URL, Help: "Base URL of fal's queue API."},
				{
					Flag: "fal-platform-url", Env: "REELAY_FAL_PLATFORM_URL", Kind: URL,
					Help: "Base URL of fal's platform API; that of --fal-url if only it is set.",
				},
			},
			CallbackSettings: []Setting{
				{
					Flag: "fal-user-id", Env: "REELAY_FAL_USER_ID", Kind: ID, Sandbox: "user_emulated", Account: true,
					Help: "User id of our fal account; without it webhooks that fal signed for other customers pass for ours.",
				},
				{
					Flag: "fal-jwks-url", Env: "REELAY_FAL_JWKS_URL", Kind: URL, Sandbox: "/.well-known/jwks.json",
					Help: "URL of the keys that sign fal's webhooks (default fal's own).",
				},
			},
			Horizon:      falHorizon,
			ExampleModel: "fal-ai/kling-video/v3/pro/text-to-video",
			// fal documents no limit of requests for its queue, and never refuses what has to wait for one of the account's
			// runners (https://fal.ai/docs/model-apis/concurrency-limits): nothing is kept back here unless fal says so.
		},
		{
			Name: "minimax", KeyEnv: "MINIMAX_API_KEY", Emulator: "127.0.0.1:7102",
			Settings: []Setting{{
				Flag: "minimax-url", Env: "REELAY_MINIMAX_URL", Kind: URL,
				Help: "Base URL of the MiniMax API.",
			}},
			Handshake: true,
			Horizon:   minimaxHorizon,
			// Those of a paid account by https://platform.minimax.io/docs/guides/rate-limits, as read in October 2026; an
			// account with a plan may have others. The API of MiniMax-H3 has its own, and a cap of tasks under way.
			// What is answered with its result is in flight until then: the tasks in flight are MiniMax's limit for music, and
			// for the others as many connections as are reasonable.
			Limits: map[string]events.ModelLimits{
				events.AnyModel: {Requests: 20}, "MiniMax-H3": {Requests: 300, InFlight: 30},
				"speech-": {Requests: 60}, "t2a_v2/": {Requests: 60, InFlight: 20}, "music-": {Requests: 120, InFlight: 20},
				"image-": {Requests: 10, InFlight: 10}, "voice_clone": {Requests: 60, InFlight: 10},
				"voice_design": {Requests: 20, InFlight: 10}, "get_voice": {Requests: 60, InFlight: 10},
				"delete_voice": {Requests: 60, InFlight: 10},
			},
			// The code for too many tasks under way (https://platform.minimax.io/docs/api-reference/errorcode).
			ConcurrencyCodes: []string{"1041"},
			ExampleModel:     "MiniMax-Hailuo-2.3",
			ContentInputs:    []ContentInput{{Prefix: "minimax-h3", Least: `{"resolution":"768P","duration":5,"ratio":"16:9"}`}},
		},
		{
			Name: "replicate", KeyEnv: "REPLICATE_API_TOKEN", Emulator: "127.0.0.1:7104",
			Settings: []Setting{{
				Flag: "replicate-url", Env: "REELAY_REPLICATE_URL", Kind: URL, Help: "Base URL of Replicate's API.",
			}},
			CallbackKeyEnv: "REPLICATE_WEBHOOK_SECRET", SandboxCallbackKey: "whsec_ZW11bGF0ZWQtcmVwbGljYXRlLXdlYmhvb2tz",
			Horizon: replicateHorizon,
			// https://replicate.com/docs/topics/predictions/rate-limits, as read in November 2026; less with little credit.
			Limits:       map[string]events.ModelLimits{events.AnyModel: {Requests: 600}},
			ExampleModel: "bytedance/seedance-1-pro",
		},
		{
			Name: "openai-videos", KeyEnv: "OPENAI_VIDEOS_KEY", SelfHosted: true, Emulator: "127.0.0.1:7103",
			Settings: []Setting{{
				Flag: "openai-videos-url", Env: "REELAY_OPENAI_VIDEOS_URL", Kind: URL, Private: true,
				Help: "Base URL of a server of your own with OpenAI's video API (SGLang, vLLM-Omni, LiteLLM); --lane names more.",
			}},
			Horizon: selfHostedHorizon,
			// One at work and one that waits keep a GPU busy; what waits here is safe from a restart of the server.
			Limits:       map[string]events.ModelLimits{events.AnyModel: {InFlight: 2}},
			ExampleModel: "default",
		},
		{
			Name: "comfy", KeyEnv: "COMFY_KEY", SelfHosted: true, Emulator: "127.0.0.1:7105",
			Settings: []Setting{{
				Flag: "comfy-url", Env: "REELAY_COMFY_URL", Kind: URL, Private: true,
				Help: "Base URL of a ComfyUI of your own, with /api/v2 at its end for Comfy API v2; --lane names more.",
			}},
			Horizon: selfHostedHorizon,
			// As for any GPU of one's own.
			Limits:       map[string]events.ModelLimits{events.AnyModel: {InFlight: 2}},
			ExampleModel: "default",
		},
	}
}

// falSilence is how long after the time by which it had to begin fal may stay silent about a submit in doubt: the
// longest run, two hours of webhook retries, margin.
const falSilence = 3*time.Hour + 30*time.Minute

// falHorizon counts from the time by which fal had to begin, which each submit tells it.
func falHorizon(t events.Task) time.Duration {
	if t.StartDeadline != nil {
		return falSilence + t.StartDeadline.Sub(t.TimeoutsFrom())
	}
	return falSilence + t.Deadline.Sub(t.TimeoutsFrom())
}

// minimaxHorizon: V2 lists its tasks. V1 lists nothing, so that its silence proves nothing: there the request's policy
// applies all the same. What is answered with its result will not turn up at all, save in the journal of a submitter
// that is started again.
func minimaxHorizon(t events.Task) time.Duration {
	if t.TaskType == events.Video {
		return time.Hour
	}
	return 15 * time.Minute
}

// replicateHorizon: a prediction is in the list from its creation on. An hour after its end its input is removed, by which it
// is recognized where it names no callback.
func replicateHorizon(events.Task) time.Duration { return 30 * time.Minute }

// selfHostedHorizon leaves time for three readings of the server's list.
func selfHostedHorizon(events.Task) time.Duration { return 15 * time.Minute }

// Local is what requests name as their provider whose work is done here, by the media service. It is no row: there is
// no account, no key and no emulator.
const Local = "local"

// Names lists the names of all providers.
func Names() []string {
	var names []string
	for _, p := range All() {
		names = append(names, p.Name)
	}
	return names
}

// Find returns the provider of that name; the zero Provider if there is none.
func Find(name string) Provider {
	all := All()
	if i := slices.IndexFunc(all, func(p Provider) bool { return p.Name == name }); i >= 0 {
		return all[i]
	}
	return Provider{}
}

// KeyEnvs lists the variables of the API keys of all providers.
func KeyEnvs() []string {
	var envs []string
	for _, p := range All() {
		envs = append(envs, p.KeyEnv)
	}
	return envs
}

// BaseURL is the setting of the provider's base URL.
func (p Provider) BaseURL() Setting { return p.Settings[0] }

// ContentInputOf returns how a model of any provider takes its prompt; ok is false if that is the input's field
// "prompt".
func ContentInputOf(model string) (c ContentInput, ok bool) {
	model = strings.ToLower(model)
	for _, p := range All() {
		for _, c := range p.ContentInputs {
			if strings.HasPrefix(model, c.Prefix) {
				return c, true
			}
		}
	}
	return ContentInput{}, false
}
