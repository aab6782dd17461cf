package media

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"reelay/internal/address"
)

// ErrUnsafe says that a link is not followed.
var ErrUnsafe = errors.New("the link is not safe to follow")

// maxRedirects bounds the redirects of one try.
const maxRedirects = 3

// parseLink reads a link as a browser would: blanks around it and line breaks in it do not count, and what may not
// stand in a URL is escaped. One below own may be plain http; own may be empty. Its error is ErrUnsafe.
func parseLink(raw, own string) (*url.URL, error) {
	raw = strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(strings.TrimSpace(raw))
	raw, _, _ = strings.Cut(raw, "#")
	start := 0
	if _, rest, ok := strings.Cut(raw, "://"); ok {
		start = len(raw) - len(rest)
		if i := strings.IndexAny(rest, "/?"); i >= 0 {
			start += i
		} else {
			start = len(raw)
		}
	}
	path, query, hasQuery := strings.Cut(raw[start:], "?")
	text := raw[:start] + escape(path, " \"<>\\^`{|}")
	if hasQuery {
		text += "?" + escape(query, " \"<>'")
	}
	link, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%w: it is no URL", ErrUnsafe)
	}
	if isBelow(link, own) {
		return link, nil
	}
	return link, checkLink(link)
}

// isBelow reports whether a link is one of the server at a base URL, which may be empty for none.
func isBelow(link *url.URL, base string) bool {
	return base != "" && link.User == nil && strings.HasPrefix(link.Scheme+"://"+link.Host+link.EscapedPath(), base)
}

// escape percent-encodes the bytes of forbidden and those beyond ASCII, and a % that encodes nothing.
func escape(text, forbidden string) string {
	var b strings.Builder
	for i := range len(text) {
		c := text[i]
		stray := c == '%' && (i+2 >= len(text) || !isHex(text[i+1]) || !isHex(text[i+2]))
		if stray || c < ' ' || c >= 0x7f || strings.IndexByte(forbidden, c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// checkLink accepts https, and http for loopback addresses only; never a user in the URL, which would be sent as
// credentials.
func checkLink(u *url.URL) error {
	if u.User != nil {
		return fmt.Errorf("%w: it holds credentials", ErrUnsafe)
	}
	if u.Host != "" && (u.Scheme == "https" || u.Scheme == "http" && address.IsLoopback(u.Hostname())) {
		return nil
	}
	return fmt.Errorf("%w: it is not https (plain http is for loopback addresses only)", ErrUnsafe)
}

func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("%w: more than %d redirects", ErrUnsafe, maxRedirects)
	}
	req.Header.Del("Referer") // the former link may be a pass to the file
	if via[0].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return fmt.Errorf("%w: it leads from https to %s", ErrUnsafe, req.URL.Scheme)
	}
	req.URL.RawQuery = escape(req.URL.RawQuery, " \"<>'")
	return checkLink(req.URL)
}
