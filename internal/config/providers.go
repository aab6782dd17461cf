package config

import (
	"strings"

	"reelay/internal/callbackurl"
	"reelay/internal/provider"
	"reelay/internal/secret"
)

// The environment variables that hold keys; <name>_FILE names a file that holds one instead.
const (
	EnvFalKey      = "FAL_KEY"
	EnvMinimaxKey  = "MINIMAX_API_KEY"
	EnvCallbackKey = "REELAY_CALLBACK_KEY"
)

// FalEmulator and MinimaxEmulator are where cmd/emulator listens, and where the sandbox looks for it.
const (
	FalEmulator     = "127.0.0.1:7101"
	MinimaxEmulator = "127.0.0.1:7102"
)

// Providers is which providers are talked to, and how.
type Providers struct {
	Sandbox bool   `help:"Talk to emulated providers only; no key is read and no money is spent." env:"REELAY_SANDBOX"`
	FalURL  string `name:"fal-url" help:"Base URL of fal's queue API." env:"REELAY_FAL_URL" placeholder:"URL"`
	// FalPlatformURL lists requests; empty means the driver's own, or FalURL where that is set.
	FalPlatformURL string `name:"fal-platform-url" help:"Base URL of fal's platform API; that of --fal-url if only it is set." env:"REELAY_FAL_PLATFORM_URL" placeholder:"URL"`
	MinimaxURL     string `name:"minimax-url" help:"Base URL of the MiniMax API." env:"REELAY_MINIMAX_URL" placeholder:"URL"`
	PublicURL      string `name:"public-url" help:"Base URL under which providers reach the webhook edge." env:"REELAY_PUBLIC_URL" placeholder:"URL"`
	// NoCallback is the switch by lane: its tasks are only looked at.
	NoCallback string `name:"no-callback" help:"Lanes whose requests name no callback URL, comma separated." env:"REELAY_NO_CALLBACK" placeholder:"LANES"`
}

// Resolved is Providers as plain values, the keys read.
type Resolved struct {
	Sandbox bool
	// FalKey and MinimaxKey are empty where none is set, and always in the sandbox.
	FalKey     secret.Value
	MinimaxKey secret.Value
	// FalURL, FalPlatformURL, MinimaxURL and PublicURL have no slash at the end; empty means the driver's own, or no webhooks.
	FalURL         string
	FalPlatformURL string
	MinimaxURL     string
	PublicURL      string
	// NoCallback names the lanes whose requests name no callback URL.
	NoCallback []string
	// CallbackKeys are those of REELAY_CALLBACK_KEY.
	CallbackKeys []callbackurl.Key
}

// Validate checks every field and key. Its error names the setting.
func (p Providers) Validate() error {
	_, err := p.Resolve()
	return err
}

// Resolve checks every field, reads the keys and returns plain values. Its error names the setting and holds no key.
func (p Providers) Resolve() (Resolved, error) {
	r := Resolved{Sandbox: p.Sandbox, NoCallback: strings.FieldsFunc(p.NoCallback, func(r rune) bool { return r == ',' || r == ' ' })}
	for _, u := range []struct {
		flag, env, raw string
		to             *string
	}{
		{"--fal-url", "REELAY_FAL_URL", p.FalURL, &r.FalURL},
		{"--fal-platform-url", "REELAY_FAL_PLATFORM_URL", p.FalPlatformURL, &r.FalPlatformURL},
		{"--minimax-url", "REELAY_MINIMAX_URL", p.MinimaxURL, &r.MinimaxURL},
		{"--public-url", "REELAY_PUBLIC_URL", p.PublicURL, &r.PublicURL},
	} {
		if u.raw == "" {
			continue
		}
		if err := provider.CheckBaseURL(u.raw); err != nil {
			return Resolved{}, wrong(u.flag, u.env, err)
		}
		*u.to = strings.TrimRight(u.raw, "/")
	}
	var err error
	if r.CallbackKeys, err = CallbackKeys(); err != nil {
		return Resolved{}, err
	}
	if p.Sandbox {
		return r, nil // what is not read cannot be sent
	}
	if r.FalKey, err = secret.Lookup(EnvFalKey); err != nil {
		return Resolved{}, err
	}
	if r.MinimaxKey, err = secret.Lookup(EnvMinimaxKey); err != nil {
		return Resolved{}, err
	}
	return r, nil
}
