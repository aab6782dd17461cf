package lanes

import (
	"log/slog"
	"maps"
	"net/http"

	"reelay/internal/config"
	"reelay/internal/provider"
	"reelay/internal/provider/registry"
	"reelay/internal/secret"
)

// CallbackOptions configure OpenCallbacks. No API key is in them; the secrets that sign callbacks are read from the
// environment.
type CallbackOptions struct {
	Webhook config.Webhook
	// Sandbox takes the callbacks of the emulators.
	Sandbox bool
	// Emulators are the base URLs of those that are not at their usual addresses, by flag as in the registry.
	Emulators map[string]string
	// Transport fetches the keys that sign callbacks; nil for the driver's own.
	Transport http.RoundTripper
	Log       *slog.Logger
}

// OpenCallbacks returns the lanes whose callbacks are taken: those of every provider, since a callback's URL tells
// whether it is ours.
func OpenCallbacks(o CallbackOptions) ([]provider.CallbackLane, error) {
	given, err := o.Webhook.Settings()
	if err != nil {
		return nil, err
	}
	if o.Sandbox {
		maps.Copy(given, o.Emulators)
	}
	var all []provider.CallbackLane
	for _, p := range registry.All() {
		set := given
		if o.Sandbox {
			if set, err = emulated(p, p.CallbackSettings, set); err != nil {
				return nil, err
			}
		}
		l := provider.CallbackLane{Name: p.Name, Provider: p.Name}
		key, err := callbackKey(p, o.Sandbox)
		if err != nil {
			return nil, err
		}
		if err := callbacks(&l, set, key, o.Transport, o.Log); err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}

// callbackKey returns the secret that signs a provider's callbacks; empty if none is set. In the sandbox it is its emulator's.
func callbackKey(p registry.Provider, sandbox bool) (secret.Value, error) {
	if sandbox || p.CallbackKeyEnv == "" {
		return secret.New(p.SandboxCallbackKey), nil
	}
	return secret.LookupKey(p.CallbackKeyEnv)
}
