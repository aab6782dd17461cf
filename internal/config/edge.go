package config

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"reelay/internal/callbackurl"
	"reelay/internal/provider"
	"reelay/internal/secret"
)

// Limits of the webhook edge's settings.
const (
	MaxHookConns = 100_000
	// maxProxies bounds the list of trusted proxies.
	maxProxies = 256
)

// HookListen is where the webhook edge listens by default.
const HookListen = "127.0.0.1:8090"

// Edge is how the webhook edge is reached and whom it believes. Callback keys come from REELAY_CALLBACK_KEY.
type Edge struct {
	HookListen string `help:"Address of the webhook edge." env:"REELAY_HOOK_LISTEN" default:"127.0.0.1:8090" placeholder:"HOST:PORT"`
	// HookTLSCert and HookTLSKey are PEM files, read again when they change. Without them the edge speaks plain HTTP.
	HookTLSCert string `name:"hook-tls-cert" help:"Certificate of the webhook edge, a PEM file; none for plain HTTP behind a proxy." env:"REELAY_HOOK_TLS_CERT" placeholder:"FILE"`
	HookTLSKey  string `name:"hook-tls-key" help:"Key of that certificate, a PEM file." env:"REELAY_HOOK_TLS_KEY" placeholder:"FILE"`
	HookProxies string `help:"Addresses of proxies before the webhook edge whose X-Forwarded-For is believed, such as 10.0.0.0/8, comma separated." env:"REELAY_HOOK_PROXIES" placeholder:"PREFIXES"`
	// HookConns is the most connections at once, 1 to 100000.
	HookConns int `help:"Most connections to the webhook edge at once, 1 to 100000." env:"REELAY_HOOK_CONNS" default:"1024" placeholder:"N"`
	// FalUserID pins fal's webhooks to one account.
	FalUserID  string `name:"fal-user-id" help:"User id of our fal account; without it webhooks that fal signed for other customers pass for ours." env:"REELAY_FAL_USER_ID" placeholder:"ID"`
	FalJWKSURL string `name:"fal-jwks-url" help:"URL of the keys that sign fal's webhooks (default fal's own)." env:"REELAY_FAL_JWKS_URL" placeholder:"URL"`
}

// Validate checks every field. Its error is a SettingError.
func (e Edge) Validate() error {
	if err := checkHostPort(e.HookListen); err != nil {
		return wrong("--hook-listen", "REELAY_HOOK_LISTEN", err)
	}
	if (e.HookTLSCert == "") != (e.HookTLSKey == "") {
		return wrong("--hook-tls-cert", "REELAY_HOOK_TLS_CERT", errors.New("certificate and key must be given together"))
	}
	for _, f := range []struct{ flag, env, name string }{
		{"--hook-tls-cert", "REELAY_HOOK_TLS_CERT", e.HookTLSCert}, {"--hook-tls-key", "REELAY_HOOK_TLS_KEY", e.HookTLSKey},
	} {
		if f.name == "" {
			continue
		}
		if _, err := os.Stat(f.name); err != nil {
			return wrong(f.flag, f.env, err)
		}
	}
	if _, err := e.Proxies(); err != nil {
		return wrong("--hook-proxies", "REELAY_HOOK_PROXIES", err)
	}
	if err := between(e.HookConns, 1, MaxHookConns); err != nil {
		return wrong("--hook-conns", "REELAY_HOOK_CONNS", err)
	}
	if e.FalJWKSURL != "" {
		return wrong("--fal-jwks-url", "REELAY_FAL_JWKS_URL", provider.CheckBaseURL(e.FalJWKSURL))
	}
	return nil
}

// Proxies returns the trusted proxies. A single address is a prefix of its own.
func (e Edge) Proxies() ([]netip.Prefix, error) {
	var all []netip.Prefix
	for part := range strings.SplitSeq(e.HookProxies, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		if len(all) == maxProxies {
			return nil, fmt.Errorf("more than %d", maxProxies)
		}
		p, err := netip.ParsePrefix(part)
		if address, err2 := netip.ParseAddr(part); err2 == nil {
			p, err = netip.PrefixFrom(address, address.BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("%q is neither an address nor a prefix", part)
		}
		all = append(all, p.Masked())
	}
	return all, nil
}

// CallbackKeys reads REELAY_CALLBACK_KEY: none if it is not set. Its error names the setting and holds no key.
func CallbackKeys() ([]callbackurl.Key, error) {
	text, err := secret.Lookup(EnvCallbackKey)
	if err != nil {
		return nil, err
	}
	keys, err := callbackurl.Parse(text)
	return keys, wrong("", EnvCallbackKey, err)
}

// SharedKeys returns the keys that the edge and the submitters share: those of REELAY_CALLBACK_KEY, or, in the sandbox, the one
// that this machine keeps in dir. It fails with a SettingError where there is none.
func SharedKeys(sandbox bool, dir string) ([]callbackurl.Key, error) {
	keys, err := CallbackKeys()
	if err == nil && len(keys) == 0 && sandbox {
		keys, err = callbackurl.Kept(filepath.Join(dir, callbackurl.KeyFile))
	}
	if err == nil && len(keys) == 0 {
		err = wrong("", EnvCallbackKey, errors.New("must be set to take callbacks, the same for the edge and the submitters"))
	}
	return keys, err
}
