package lanes

import (
	"log/slog"
	"maps"
	"net/http"
	"slices"

	"reelay/internal/config"
	"reelay/internal/provider"
	"reelay/internal/provider/registry"
	"reelay/internal/secret"
)

// CallbackOptions configure OpenCallbacks. No API key is in them; the secrets that sign callbacks are read from the
// environment.
type CallbackOptions struct {
	Webhook config.Webhook
	// Lanes are those beside the ones that are named after their providers.
	Lanes []config.Lane
	// Sandbox takes the callbacks of the emulators.
	Sandbox bool
	// Emulators are the base URLs of those that are not at their usual addresses, by flag as in the registry.
	Emulators map[string]string
	// Transport fetches the keys that sign callbacks; nil for the driver's own.
	Transport http.RoundTripper
	Log       *slog.Logger
}

// OpenCallbacks returns the lanes whose callbacks are taken: those of every provider, since a callback's URL tells whether it
// is ours, and the named ones.
func OpenCallbacks(o CallbackOptions) ([]provider.CallbackLane, error) {
	given, err := o.Webhook.Settings()
	if err != nil {
		return nil, err
	}
	if o.Sandbox {
		maps.Copy(given, o.Emulators)
	}
	named := slices.Clone(o.Lanes)
	for i, p := range registry.All() {
		named = slices.Insert(named, i, config.Lane{Name: p.Name, Provider: p.Name})
	}
	var all []provider.CallbackLane
	for _, l := range named {
		p := registry.Find(l.Provider)
		set := map[string]string{}
		maps.Copy(set, given)
		if l.Name != p.Name {
			for _, s := range p.CallbackSettings {
				if s.Account {
					set[s.Flag] = l.AccountSetting(s)
				}
			}
		}
		if o.Sandbox {
			if set, err = emulated(p, p.CallbackSettings, set); err != nil {
				return nil, err
			}
		}
		key, err := callbackKey(p, l, o.Sandbox)
		if err != nil {
			return nil, err
		}
		opened := provider.CallbackLane{Name: l.Name, Provider: p.Name}
		if err := callbacks(&opened, set, key, o.Transport, o.Log.With("lane", l.Name)); err != nil {
			return nil, err
		}
		all = append(all, opened)
	}
	return all, nil
}

// callbackKey returns the secret that signs a lane's callbacks; empty if none is set. In the sandbox it is the emulator's.
func callbackKey(p registry.Provider, l config.Lane, sandbox bool) (secret.Value, error) {
	switch {
	case sandbox || p.CallbackKeyEnv == "":
		return secret.New(p.SandboxCallbackKey), nil
	case l.Name == p.Name:
		return secret.LookupKey(p.CallbackKeyEnv)
	}
	return secret.LookupKey(l.CallbackKeyEnv())
}
