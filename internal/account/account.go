// Package account builds the provider accounts of a process, its lanes, from the settings.
package account

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"reelay/events"
	"reelay/internal/config"
	"reelay/internal/provider"
	"reelay/internal/provider/fal"
	"reelay/internal/provider/minimax"
	"reelay/internal/secret"
)

// The providers of this build.
const (
	Fal     = "fal"
	Minimax = "minimax"
)

// Known lists the providers of this build.
func Known() []string { return []string{Fal, Minimax} }

// ErrNone says that no provider is configured.
var ErrNone = errors.New("no provider is configured: set FAL_KEY or MINIMAX_API_KEY, or use --sandbox")

const (
	// sandboxInterval is the time between two looks at an emulator, which makes a video in seconds, not minutes.
	sandboxInterval = 500 * time.Millisecond
	sandboxKey      = "sandbox"

	// falSilence is how long after the time by which it had to begin fal may stay silent about a submit in doubt: the longest run,
	// two hours of webhook retries, margin.
	falSilence = 3*time.Hour + 30*time.Minute
	// minimaxHorizon is the same for MiniMax, whose V2 lists its tasks. V1 lists nothing, so that its silence proves nothing:
	// there the request's policy applies all the same.
	minimaxHorizon = time.Hour
)

// Options configure Open.
type Options struct {
	// Interval is the time between two looks at a task of a real provider, SandboxInterval the same at an emulator: half a
	// second if 0.
	Interval        time.Duration
	SandboxInterval time.Duration
	// Transport carries the free calls; nil is each driver's own.
	Transport http.RoundTripper
}

// Open builds an account for each provider that has a key; in the sandbox one for each provider, at its emulator. A base
// URL that is set replaces the provider's own; in the sandbox it must be a loopback address. It fails with ErrNone or with a
// config.SettingError.
func Open(r config.Resolved, o Options) ([]provider.Lane, error) {
	interval, transport := o.Interval, o.Transport
	falURL, falPlatformURL, minimaxURL := r.FalURL, r.FalPlatformURL, r.MinimaxURL
	if r.Sandbox {
		r.FalKey, r.MinimaxKey = secret.New(sandboxKey), secret.New(sandboxKey)
		if interval = o.SandboxInterval; interval == 0 {
			interval = sandboxInterval
		}
		var err error
		if falURL, err = sandboxURL(falURL, config.FalEmulator, "--fal-url", "REELAY_FAL_URL"); err != nil {
			return nil, err
		}
		if falPlatformURL == "" {
			falPlatformURL = falURL
		}
		if falPlatformURL, err = sandboxURL(falPlatformURL, config.FalEmulator, "--fal-platform-url", "REELAY_FAL_PLATFORM_URL"); err != nil {
			return nil, err
		}
		if minimaxURL, err = sandboxURL(minimaxURL, config.MinimaxEmulator, "--minimax-url", "REELAY_MINIMAX_URL"); err != nil {
			return nil, err
		}
	}
	var all []provider.Lane
	if !r.FalKey.Empty() {
		d, err := fal.New(fal.Options{BaseURL: falURL, PlatformURL: falPlatformURL, Key: r.FalKey, Transport: transport})
		if err != nil {
			return nil, err
		}
		all = append(all, provider.Lane{
			Name: Fal, Provider: Fal, Driver: d, Emulated: r.Sandbox, PollInterval: interval, Horizon: falHorizon, Limits: falLimits(),
		})
	}
	if !r.MinimaxKey.Empty() {
		d, err := minimax.New(minimax.Options{BaseURL: minimaxURL, Key: r.MinimaxKey, Transport: transport})
		if err != nil {
			return nil, err
		}
		all = append(all, provider.Lane{
			Name: Minimax, Provider: Minimax, Handshake: true, Driver: d, Emulated: r.Sandbox, PollInterval: interval, Horizon: miniMaxHorizon,
			Limits: minimaxLimits(), ConcurrencyCodes: minimaxCrowded(),
		})
	}
	if len(all) == 0 {
		return nil, ErrNone
	}
	for i := range all {
		all[i].NoCallback = slices.Contains(r.NoCallback, all[i].Name)
	}
	return all, nil
}

// falHorizon counts from the time by which fal had to begin, which each submit tells it.
func falHorizon(t events.Task) time.Duration {
	if t.StartDeadline != nil {
		return falSilence + t.StartDeadline.Sub(t.CreatedAt)
	}
	return falSilence + t.Deadline.Sub(t.CreatedAt)
}

func miniMaxHorizon(events.Task) time.Duration { return minimaxHorizon }

func sandboxURL(given, emulator, flag, env string) (string, error) {
	if given == "" {
		return "http://" + emulator, nil
	}
	if !provider.IsLoopbackURL(given) {
		return "", &config.SettingError{Flag: flag, Env: env, Err: fmt.Errorf("%q is not a loopback address, and --sandbox is set", given)}
	}
	return given, nil
}
