package provider

import (
	"net/url"
	"regexp"
	"strings"

	"reelay/events"
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

// inReason finds what may be secret in the links of a text: a user and password, and a query, which may be a signature.
var inReason = regexp.MustCompile(`(?i)\b([a-z][a-z0-9+.-]{0,15}://)([^\s/?#"'<>@]*@)?([^\s?#"'<>]*)([?#][^\s"'<>]*)?`)

// Reason is Clip for a provider's reason in words, which may quote a link of the input: of links it leaves scheme, host
// and path. It has at most events.MaxMessageBytes.
func Reason(text string) string {
	text = inReason.ReplaceAllStringFunc(text, func(link string) string {
		part := inReason.FindStringSubmatch(link)
		if part[4] != "" {
			part[4] = part[4][:1] + "..."
		}
		return part[1] + part[3] + part[4]
	})
	return Clip(text, events.MaxMessageBytes)
}
