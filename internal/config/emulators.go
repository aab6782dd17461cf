package config

import (
	"os"
	"strings"

	"github.com/alecthomas/kong"

	"reelay/internal/provider/registry"
)

// Emulators is where the emulators listen. NewEmulators returns one that kong can read into.
type Emulators struct {
	Flags kong.Plugins `embed:""`
}

// NewEmulators returns Emulators with a flag for the address of each provider's emulator.
func NewEmulators() Emulators { return Emulators{Flags: providerFlags(listenSettings())} }

// Addresses returns host and port of each emulator by provider.
func (e Emulators) Addresses() (map[string]string, error) {
	set, err := providerValues(listenSettings(), e.Flags)
	if err != nil {
		return nil, err
	}
	addresses := map[string]string{}
	for i, name := range registry.Names() {
		addresses[name] = set[listenSettings()[i].Flag]
	}
	return addresses, nil
}

// EmulatorURLs returns the base URLs of the emulators that this environment names, by the flag of the provider's base URL:
// for a process of the sandbox that calls no provider and so has no such flag.
func EmulatorURLs() map[string]string {
	urls := map[string]string{}
	for _, p := range registry.All() {
		if url := os.Getenv(p.BaseURL().Env); url != "" {
			urls[p.BaseURL().Flag] = strings.TrimRight(url, "/")
		}
	}
	return urls
}

func listenSettings() (all []registry.Setting) {
	for _, p := range registry.All() {
		all = append(all, registry.Setting{
			Flag: p.Name + "-listen", Env: "REELAY_" + variable(p.Name) + "_EMULATOR_LISTEN", Kind: registry.Address,
			Help: "Address of the emulator of " + p.Name + ".", Default: p.Emulator,
		})
	}
	return all
}
