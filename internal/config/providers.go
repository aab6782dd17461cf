package config

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"reelay/events"
	"reelay/internal/callbackurl"
	"reelay/internal/group"
	"reelay/internal/provider"
	"reelay/internal/provider/registry"
	"reelay/internal/secret"
)

// EnvCallbackKey is the environment variable of the callback keys; <name>_FILE names a file that holds them instead.
// Those of the providers' keys are in the registry.
const EnvCallbackKey = "REELAY_CALLBACK_KEY"

// Providers is which providers are talked to, and how. NewProviders returns one that kong can read into.
type Providers struct {
	Sandbox   bool   `help:"Talk to emulated providers only; no key is read and no money is spent." env:"REELAY_SANDBOX"`
	PublicURL string `name:"public-url" help:"Base URL under which providers reach the webhook service." env:"REELAY_PUBLIC_URL" placeholder:"URL"`
	// NoCallback names lanes whose tasks are only polled.
	NoCallback string `name:"no-callback" help:"Lanes whose requests name no callback URL, comma separated." env:"REELAY_NO_CALLBACK" placeholder:"LANES"`
	Lanes
	Groups
	// Flags are those of the registry's settings.
	Flags kong.Plugins `embed:""`
}

// NewProviders returns Providers with the flags of every provider of the registry.
func NewProviders() Providers { return Providers{Flags: providerFlags(callerSettings())} }

// Resolved is Providers as plain values, the keys read.
type Resolved struct {
	Sandbox bool
	// Keys are the API keys by provider, of those that have one; there is none in the sandbox.
	Keys map[string]secret.Value
	// Settings are the providers' settings that are set, by flag as in the registry. A URL has no slash at its end.
	Settings map[string]string
	// Lanes are those that were named beside the providers' own.
	Lanes []Lane
	// Groups are groups of lanes, which exist.
	Groups []group.Group
	// PublicURL has no slash at its end; empty means no webhooks.
	PublicURL string
	// NoCallback names the lanes whose requests name no callback URL.
	NoCallback []string
	// CallbackKeys are those of REELAY_CALLBACK_KEY.
	CallbackKeys []callbackurl.Key
}

// World is that of the lanes.
func (r Resolved) World() events.World {
	if r.Sandbox {
		return events.WorldSandbox
	}
	return events.WorldLive
}

// Has reports whether a provider has a lane of its own name: it has a key, or an address if it is self-hosted.
func (r Resolved) Has(p registry.Provider) bool {
	if p.SelfHosted {
		return r.Settings[p.BaseURL().Flag] != ""
	}
	key := r.Keys[p.Name]
	return !key.Empty()
}

// HasAny reports whether any lane is configured.
func (r Resolved) HasAny() bool {
	return len(r.Lanes) > 0 || slices.ContainsFunc(registry.All(), r.Has)
}

// Validate checks every field and key. Its error names the setting.
func (p Providers) Validate() error {
	_, err := p.Resolve()
	return err
}

// Resolve checks every field, reads the keys and returns plain values. Its error names the setting and holds no key.
func (p Providers) Resolve() (Resolved, error) {
	r := Resolved{
		Sandbox: p.Sandbox, Keys: map[string]secret.Value{},
		NoCallback: strings.FieldsFunc(p.NoCallback, func(r rune) bool { return r == ',' || r == ' ' }),
	}
	var err error
	if r.Settings, err = providerValues(callerSettings(), p.Flags); err != nil {
		return Resolved{}, err
	}
	if r.Lanes, err = p.Named(); err != nil {
		return Resolved{}, err
	}
	if p.PublicURL != "" {
		if err := provider.CheckBaseURL(p.PublicURL); err != nil {
			return Resolved{}, wrong("--public-url", "REELAY_PUBLIC_URL", err)
		}
		r.PublicURL = strings.TrimRight(p.PublicURL, "/")
	}
	if r.CallbackKeys, err = CallbackKeys(); err != nil {
		return Resolved{}, err
	}
	if p.Sandbox {
		r.Groups, err = p.Groups.named(r)
		return r, err // what is not read cannot be sent
	}
	for _, known := range registry.All() {
		key, err := ProviderKey(known)
		if err != nil {
			return Resolved{}, err
		}
		if !key.Empty() {
			r.Keys[known.Name] = key
		}
	}
	for i, l := range r.Lanes {
		if r.Lanes[i].Key, err = l.readKey(); err != nil {
			return Resolved{}, err
		}
	}
	r.Groups, err = p.Groups.named(r)
	return r, err
}

// ProviderKey reads the API key of a provider from its variable, or else from its pair of variables; empty if none is
// set. Half a pair is an error: without it reelay would start as if there were no key. Its errors name the variable and
// hold no key.
func ProviderKey(p registry.Provider) (secret.Value, error) {
	key, err := secret.LookupKey(p.KeyEnv)
	if err != nil || !key.Empty() || len(p.KeyPair) == 0 {
		return key, err
	}
	var parts []string
	var missing string
	for _, name := range p.KeyPair {
		part, err := secret.LookupKey(name)
		if err != nil {
			return secret.Value{}, err
		}
		if part.Empty() {
			missing = name
			continue
		}
		parts = append(parts, part.Reveal())
	}
	switch len(parts) {
	case 0:
		return secret.Value{}, nil
	case len(p.KeyPair):
		return secret.New(strings.Join(parts, ":")), nil
	}
	return secret.Value{}, fmt.Errorf("%s: must be set too: the key of %s is %s together, or %s alone", missing, p.Name,
		strings.Join(p.KeyPair, " and "), p.KeyEnv)
}

// IgnoredProxy returns the variable of a proxy for https that is set here; empty for none. No proxy is used: one that
// repeats a request that costs money, or answers in the provider's place, must not stand between.
func IgnoredProxy() string {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"} {
		if os.Getenv(name) != "" {
			return name
		}
	}
	return ""
}
