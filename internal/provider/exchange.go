package provider

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"reelay/events"
	"reelay/internal/address"
)

// MaxBodyBytes bounds the body of any provider answer that is read.
const MaxBodyBytes = 4 << 20

// maxRetryAfter bounds what a provider can make an account wait by a header.
const maxRetryAfter = 10 * time.Minute

// maxRedirects bounds the redirects that one free call follows.
const maxRedirects = 3

// Exchange makes one free call and reads its answer, at most MaxBodyBytes of it. The body is decoded (gzip, deflate,
// br), without a byte order mark, and text of it is UTF-8. A redirect 307 or 308 within the same origin is followed;
// any other is the answer. It returns an *Error of KindRetry when the call or the body broke off, and one with the code
// CodeTooLarge for an answer over the limit; the error names the method and path, never the query or a header.
func Exchange(client *http.Client, req *http.Request) (Reply, error) {
	return exchange(client, req, nil)
}

// CodeTooLarge is the code of an answer that is over the limit.
const CodeTooLarge = "answer_too_large"

// LargeReads lets a few calls at once read answers over MaxBodyBytes. It is safe for concurrent use.
type LargeReads struct {
	limit int64
	slots chan struct{}
}

// NewLargeReads returns one for at most n answers at once, of at most limit bytes each.
func NewLargeReads(n int, limit int64) *LargeReads {
	return &LargeReads{limit: limit, slots: make(chan struct{}, n)}
}

// Exchange is as the function Exchange, with the limit of l. What is over MaxBodyBytes waits for its turn.
func (l *LargeReads) Exchange(client *http.Client, req *http.Request) (Reply, error) {
	return exchange(client, req, l)
}

func exchange(client *http.Client, req *http.Request, large *LargeReads) (Reply, error) {
	res, err := follow(client, req)
	if err != nil {
		return Reply{}, broken(req, err)
	}
	defer res.Body.Close()
	limit := int64(MaxBodyBytes)
	if large != nil {
		limit = large.limit
	}
	body, err := readBody(req, res, large, limit)
	switch {
	case errors.Is(err, errTooLarge):
		return Reply{}, &Error{
			Kind: events.KindInternal, Code: CodeTooLarge, HTTPStatus: res.StatusCode,
			Message: fmt.Sprintf("%s %s answered with more than %d bytes", req.Method, req.URL.Path, limit),
		}
	case err != nil:
		return Reply{}, broken(req, err)
	}
	return Reply{Status: res.StatusCode, Header: res.Header, Body: cleanText(res.Header, body)}, nil
}

// errTooLarge says that a body is over its limit.
var errTooLarge = errors.New("the body is too large")

// readBody returns the decoded body. It fails with errTooLarge.
func readBody(req *http.Request, res *http.Response, large *LargeReads, limit int64) ([]byte, error) {
	if res.ContentLength > limit {
		return nil, errTooLarge
	}
	in, err := decoded(res)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(in, MaxBodyBytes+1))
	switch {
	case err != nil || len(body) <= MaxBodyBytes:
		return body, err
	case limit <= MaxBodyBytes:
		return nil, errTooLarge
	}
	select {
	case large.slots <- struct{}{}:
		defer func() { <-large.slots }()
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
	rest, err := io.ReadAll(io.LimitReader(in, limit+1-int64(len(body))))
	if err == nil && int64(len(body)+len(rest)) > limit {
		return nil, errTooLarge
	}
	return append(body, rest...), err
}

// follow makes the call, and makes it again where a redirect of the same origin says so.
func follow(client *http.Client, req *http.Request) (*http.Response, error) {
	for n := 0; ; n++ {
		res, err := client.Do(req)
		if err != nil || n == maxRedirects || req.Body != nil && req.Body != http.NoBody ||
			res.StatusCode != http.StatusTemporaryRedirect && res.StatusCode != http.StatusPermanentRedirect {
			return res, err
		}
		to, err := res.Location()
		// The key goes nowhere but to the origin that was asked.
		if err != nil || to.Scheme != req.URL.Scheme || to.Host != req.URL.Host || to.User != nil {
			return res, nil
		}
		_ = res.Body.Close()
		next := req.Clone(req.Context())
		next.URL = to
		req = next
	}
}

// NewClient returns the HTTP client for free calls: the given transport, no redirects, no cookies, and a bound on each
// call.
func NewClient(transport http.RoundTripper, timeout time.Duration) *http.Client {
	return &http.Client{
		Transport: transport, Timeout: timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// NewTransport returns the transport for free calls: no proxy from the environment, bounded dials and idle connections.
// It reaches public addresses, and otherwise the servers at the base URLs of settings only: an answer may name a place
// for a file that is in the network of this machine.
func NewTransport(baseURLs ...string) *http.Transport {
	var named []string
	for _, u := range baseURLs {
		named = append(named, address.Of(u))
	}
	return &http.Transport{
		DialContext:           address.NewGuard(10*time.Second, named...).DialContext,
		ForceAttemptHTTP2:     true,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 2 * time.Minute, // a backstop: the timeout of the call decides
		MaxIdleConnsPerHost:   256,             // more polls of a lane than are under way at once by default
		IdleConnTimeout:       60 * time.Second,
		DisableCompression:    true, // what comes compressed nevertheless is unpacked by Exchange, within its limit
	}
}

// RetryAfter reads the header of that name, in seconds or as a date (RFC 9110, 10.2.3), relative to now; 0 if there is
// none that can be read. It is capped at ten minutes.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	// A number out of range is read as the nearest in range.
	if s, err := strconv.Atoi(text); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(max(0, s), int(maxRetryAfter/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(0, at.Sub(now)), maxRetryAfter)
	}
	return 0
}

// CheckBaseURL accepts https, and plain http only for loopback addresses, without user, query or fragment.
func CheckBaseURL(raw string) error {
	return checkBaseURL(raw, address.IsLoopback, "loopback addresses")
}

// CheckPrivateBaseURL is CheckBaseURL for a server of the operator's own: plain http is for private addresses and names,
// too.
func CheckPrivateBaseURL(raw string) error {
	return checkBaseURL(raw, IsPrivate, "loopback and private addresses")
}

func checkBaseURL(raw string, plain func(host string) bool, which string) error {
	// Whatever has one of these may hold a password or a token, so it is not quoted; and a path put behind a bare "?" or
	// "#" would not be a path.
	if strings.ContainsAny(raw, "@?#") {
		return errors.New("a base URL has no user, query or fragment")
	}
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" {
		return fmt.Errorf("%q is not an absolute URL", raw)
	}
	if u.Scheme == "https" || u.Scheme == "http" && plain(u.Hostname()) {
		return nil
	}
	return fmt.Errorf("%q must be https; plain http is for %s only", raw, which)
}

// IsLoopbackURL reports whether raw points at this machine only.
func IsLoopbackURL(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && address.IsLoopback(u.Hostname())
}

// IsPrivate reports whether host is a loopback address, one of a private network (RFC 1918, RFC 4193, and RFC 6598, which
// networks of machines use), or a name that no public name server has: one without a dot, or below local (RFC 6762),
// internal or home.arpa (RFC 8375).
func IsPrivate(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		ip = ip.Unmap()
		return ip.IsLoopback() || ip.IsPrivate() || netip.MustParsePrefix("100.64.0.0/10").Contains(ip)
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host != "" && !strings.Contains(host, ".") || strings.HasSuffix(host, ".local") ||
		strings.HasSuffix(host, ".internal") || strings.HasSuffix(host, ".home.arpa")
}

// broken wraps a transport error without the URL, whose query may hold what must not be logged.
func broken(req *http.Request, err error) *Error {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	return &Error{
		Kind: events.KindRetry, Code: "network", Message: fmt.Sprintf("%s %s: %v", req.Method, req.URL.Path, err), cause: err,
	}
}
