package provider

import (
	"net/url"
	"strings"
)

// maxRedirectBytes bounds the address of a redirect in a message.
const maxRedirectBytes = 200

// IsDataURL reports whether a link is itself the file (RFC 2397).
func IsDataURL(link string) bool { return len(link) >= 5 && strings.EqualFold(link[:5], "data:") }

// RedirectTarget returns where a Location header leads, for people: bounded, and without what may be secret in it.
func RedirectTarget(location string) string {
	u, err := url.Parse(location)
	if err != nil || location == "" {
		return "an address that cannot be read"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return Clip(u.String(), maxRedirectBytes)
}
