package lanes

import (
	"log/slog"
	"net/http"

	"reelay/internal/provider"
	"reelay/internal/provider/registry"
)

// CallbackOptions configure OpenCallbacks. No API key is in them.
type CallbackOptions struct {
	// Settings are those of config.Webhook, by flag.
	Settings map[string]string
	// Sandbox takes the callbacks of the emulators, which are below the base URLs in Settings or at their usual addresses.
	Sandbox bool
	// Transport fetches the keys that sign callbacks; nil for the driver's own.
	Transport http.RoundTripper
	Log       *slog.Logger
}

// OpenCallbacks returns the lanes whose callbacks are taken: those of every provider, since a callback's URL tells whether it is ours.
func OpenCallbacks(o CallbackOptions) ([]provider.CallbackLane, error) {
	var all []provider.CallbackLane
	for _, p := range registry.All() {
		set := o.Settings
		if o.Sandbox {
			var err error
			if set, err = emulated(p, p.CallbackSettings, set); err != nil {
				return nil, err
			}
		}
		l := provider.CallbackLane{Name: p.Name, Provider: p.Name}
		if err := callbacks(&l, set, o.Transport, o.Log); err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}
