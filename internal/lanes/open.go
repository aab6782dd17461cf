// Package lanes opens the lanes of a process, each an account at a provider or a server, from its settings and keys. It is the only
// package that links the drivers.
package lanes

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"reelay/internal/config"
	"reelay/internal/provider"
	"reelay/internal/provider/comfy"
	"reelay/internal/provider/fal"
	"reelay/internal/provider/minimax"
	"reelay/internal/provider/openai"
	"reelay/internal/provider/registry"
	"reelay/internal/provider/replicate"
	"reelay/internal/secret"
)

// driver links the driver of a provider of the registry, for the account of that key.
func driver(name string, key secret.Value, set map[string]string,
	transport http.RoundTripper,
) (provider.Driver, error) {
	switch name {
	case "fal":
		return fal.New(fal.Options{
			BaseURL: set["fal-url"], PlatformURL: set["fal-platform-url"], Key: key,
			Transport: transport,
		})
	case "minimax":
		return minimax.New(minimax.Options{BaseURL: set["minimax-url"], Key: key, Transport: transport})
	case "replicate":
		return replicate.New(replicate.Options{BaseURL: set["replicate-url"], Key: key, Transport: transport})
	case "comfy":
		return comfy.New(comfy.Options{BaseURL: set["comfy-url"], Key: key, Transport: transport})
	case "openai-videos":
		return openai.New(openai.Options{BaseURL: set["openai-videos-url"], Key: key, Transport: transport})
	}
	return nil, fmt.Errorf("provider %s has no driver in this build", name)
}

// callbacks links what a provider's callbacks need: nothing for one that neither signs them nor tries their URL.
// key is the secret that signs them.
func callbacks(l *provider.CallbackLane, set map[string]string, key secret.Value, transport http.RoundTripper,
	log *slog.Logger,
) error {
	switch l.Provider {
	case "fal":
		if set["fal-user-id"] == "" {
			log.Warn("the user id of the account at fal is not set: webhooks that fal signed for other customers are told from ours by " +
				"their URL alone")
		}
		v, err := fal.NewVerifier(fal.VerifierOptions{
			JWKSURL: set["fal-jwks-url"], UserID: set["fal-user-id"],
			Transport: transport,
		})
		if err != nil {
			return err
		}
		l.Verifier = v
	case "minimax":
		l.Handshake = minimax.Handshake
	case "replicate":
		if key.Empty() { // what a webhook says is asked for once more in any case
			return nil
		}
		v, err := replicate.NewVerifier(key)
		if err != nil {
			return err
		}
		l.Verifier = v
	}
	return nil
}

// ErrNone says that no provider is configured.
var ErrNone = errors.New("no provider is configured")

const (
	// sandboxInterval is the time between two polls of an emulator, which makes a video in seconds, not minutes.
	sandboxInterval = 500 * time.Millisecond
	sandboxKey      = "sandbox"
)

// Options configure Open.
type Options struct {
	// PollInterval is the time between two polls of a task at a real provider, SandboxInterval the same at an emulator:
	// half a second if 0.
	PollInterval    time.Duration
	SandboxInterval time.Duration
	// Transport carries the free calls; nil is each driver's own.
	Transport http.RoundTripper
}

// Open opens a lane for each provider that has a key, or of which an address is set if it is self-hosted, and one for each
// of r.Lanes; in the sandbox also one for each provider, at its emulator. A base URL that is set replaces the provider's
// own; in the sandbox it must be a loopback address. It fails with ErrNone or with a config.SettingError.
func Open(r config.Resolved, o Options) ([]provider.Lane, error) {
	var all []provider.Lane
	for _, p := range registry.All() {
		if r.Sandbox || r.Has(p) {
			l, err := open(p, p.Name, r.Keys[p.Name], r.Settings, r, o)
			if err != nil {
				return nil, err
			}
			all = append(all, l)
		}
	}
	for _, l := range r.Lanes {
		p, set := registry.Find(l.Provider), maps.Clone(r.Settings)
		if set == nil {
			set = map[string]string{}
		}
		if l.URL != "" {
			set[p.BaseURL().Flag] = l.URL
		}
		opened, err := open(p, l.Name, l.Key, set, r, o)
		if err != nil {
			return nil, config.LaneError(fmt.Errorf("%s: %w", l.Name, err))
		}
		all = append(all, opened)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: set %s, or use --lane or --sandbox", ErrNone, strings.Join(registry.KeyEnvs(), " or "))
	}
	return all, nil
}

// open opens one lane of a provider.
func open(p registry.Provider, name string, key secret.Value, set map[string]string, r config.Resolved, o Options,
) (provider.Lane, error) {
	interval := o.PollInterval
	if r.Sandbox {
		var err error
		if set, err = emulated(p, p.Settings, set); err != nil {
			return provider.Lane{}, err
		}
		key, interval = secret.New(sandboxKey), cmp.Or(o.SandboxInterval, sandboxInterval)
	}
	d, err := driver(p.Name, key, set, o.Transport)
	return provider.Lane{
		Name: name, Provider: p.Name, Driver: d, Emulated: r.Sandbox, Free: p.SelfHosted, PollInterval: interval,
		Horizon: p.Horizon, Handshake: p.Handshake, NoCallback: slices.Contains(r.NoCallback, name), Limits: p.Limits,
		ConcurrencyCodes: p.ConcurrencyCodes,
	}, err
}

// emulated returns settings of a provider in the sandbox: what is not set points at its emulator, and what is set may
// not point at another machine. Its error is a config.SettingError.
func emulated(p registry.Provider, settings []registry.Setting, set map[string]string) (map[string]string, error) {
	base := cmp.Or(set[p.BaseURL().Flag], "http://"+p.Emulator)
	filled := map[string]string{}
	for _, s := range settings {
		value := set[s.Flag]
		switch {
		case value != "" && s.Kind == registry.URL && !provider.IsLoopbackURL(value):
			err := fmt.Errorf("%q is not a loopback address, and --sandbox is set", value)
			return nil, &config.SettingError{Flag: "--" + s.Flag, Env: s.Env, Err: err}
		case value == "" && s.Kind == registry.URL:
			value = base + s.Sandbox
		case value == "":
			value = s.Sandbox
		}
		filled[s.Flag] = value
	}
	return filled, nil
}
