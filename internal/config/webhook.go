package config

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kong"

	"reelay/internal/callbackurl"
	"reelay/internal/secret"
)

const (
	// MaxWebhookConns is the most that Webhook.WebhookConns may be.
	MaxWebhookConns = 100_000
	// maxProxies bounds the list of trusted proxies.
	maxProxies = 256
)

// WebhookListen is where the webhook service listens by default.
const WebhookListen = "127.0.0.1:8090"

// Webhook is how the webhook service is reached and whom it believes. Callback keys come from REELAY_CALLBACK_KEY.
// NewWebhook returns one that kong can read into.
type Webhook struct {
	WebhookListen string `help:"Address of the webhook service." env:"REELAY_WEBHOOK_LISTEN" default:"${webhook_listen}" placeholder:"HOST:PORT"`
	// WebhookTLSCert and WebhookTLSKey are PEM files, read again when they change. Without them the service speaks plain
	// HTTP.
	WebhookTLSCert string `name:"webhook-tls-cert" help:"Certificate of the webhook service, a PEM file; none for plain HTTP behind a proxy." env:"REELAY_WEBHOOK_TLS_CERT" placeholder:"FILE"`
	WebhookTLSKey  string `name:"webhook-tls-key" help:"Key of that certificate, a PEM file." env:"REELAY_WEBHOOK_TLS_KEY" placeholder:"FILE"`
	WebhookProxies string `help:"Addresses of proxies before the webhook service whose X-Forwarded-For is trusted, such as 10.0.0.0/8, comma separated." env:"REELAY_WEBHOOK_PROXIES" placeholder:"PREFIXES"`
	// WebhookConns is the most connections at once, 1 to MaxWebhookConns.
	WebhookConns int `help:"Most connections to the webhook service at once, 1 to 100000." env:"REELAY_WEBHOOK_CONNS" default:"1024" placeholder:"N"`
	// Flags are those of the registry's settings for callbacks.
	Flags kong.Plugins `embed:""`
}

// NewWebhook returns a Webhook with the flags of every provider of the registry.
func NewWebhook() Webhook { return Webhook{Flags: providerFlags(callbackSettings())} }

// Validate checks every field. Its error is a SettingError.
func (w Webhook) Validate() error {
	if err := checkHostPort(w.WebhookListen); err != nil {
		return wrong("--webhook-listen", "REELAY_WEBHOOK_LISTEN", err)
	}
	if (w.WebhookTLSCert == "") != (w.WebhookTLSKey == "") {
		return wrong("--webhook-tls-cert", "REELAY_WEBHOOK_TLS_CERT",
			errors.New("certificate and key must be given together"))
	}
	for _, f := range []struct{ flag, env, name string }{
		{"--webhook-tls-cert", "REELAY_WEBHOOK_TLS_CERT", w.WebhookTLSCert},
		{"--webhook-tls-key", "REELAY_WEBHOOK_TLS_KEY", w.WebhookTLSKey},
	} {
		if f.name == "" {
			continue
		}
		if _, err := os.Stat(f.name); err != nil {
			return wrong(f.flag, f.env, err)
		}
	}
	if _, err := w.Proxies(); err != nil {
		return wrong("--webhook-proxies", "REELAY_WEBHOOK_PROXIES", err)
	}
	if err := between(w.WebhookConns, 1, MaxWebhookConns); err != nil {
		return wrong("--webhook-conns", "REELAY_WEBHOOK_CONNS", err)
	}
	_, err := w.Settings()
	return err
}

// Settings returns the providers' settings for callbacks that are set, by flag as in the registry. Its error is a
// SettingError.
func (w Webhook) Settings() (map[string]string, error) {
	return providerValues(callbackSettings(), w.Flags)
}

// Proxies returns the trusted proxies. A single address is a prefix of its own.
func (w Webhook) Proxies() ([]netip.Prefix, error) {
	var all []netip.Prefix
	for part := range strings.SplitSeq(w.WebhookProxies, ",") {
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

// SharedKeys returns the keys that the webhook service and the submitters share: those of REELAY_CALLBACK_KEY, or, in
// the sandbox, the one that this machine keeps in dir. It fails with a SettingError where there is none.
func SharedKeys(sandbox bool, dir string) ([]callbackurl.Key, error) {
	keys, err := CallbackKeys()
	if err == nil && len(keys) == 0 && sandbox {
		keys, err = callbackurl.Kept(filepath.Join(dir, callbackurl.KeyFile))
	}
	if err == nil && len(keys) == 0 {
		err = wrong("", EnvCallbackKey,
			errors.New("must be set to take callbacks, the same for the webhook service and the submitters"))
	}
	return keys, err
}
