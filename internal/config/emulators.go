package config

import (
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

func listenSettings() (all []registry.Setting) {
	for _, p := range registry.All() {
		all = append(all, registry.Setting{
			Flag: p.Name + "-listen", Env: "REELAY_" + strings.ToUpper(p.Name) + "_EMULATOR_LISTEN", Kind: registry.Address,
			Help: "Address of the emulator of " + p.Name + ".", Default: p.Emulator,
		})
	}
	return all
}
