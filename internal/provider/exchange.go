package provider

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"reelay/events"
)

// MaxBodyBytes bounds the body of any provider answer that is read.
const MaxBodyBytes = 4 << 20

// maxRetryAfter bounds what a provider can make an account wait by a header.
const maxRetryAfter = 10 * time.Minute

// Exchange makes one free call and reads its answer. It returns an *Error of KindRetry when the call or the body broke
// off; the error names the method and path, never the query or a header.
func Exchange(client *http.Client, req *http.Request) (Reply, error) {
	res, err := client.Do(req)
	if err != nil {
		return Reply{}, broken(req, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, MaxBodyBytes+1))
	if err != nil {
		return Reply{}, broken(req, err)
	}
	if len(body) > MaxBodyBytes {
		return Reply{}, &Error{
			Kind: events.KindInternal, Code: "answer_too_large", HTTPStatus: res.StatusCode,
			Message: fmt.Sprintf("%s %s answered with more than %d bytes", req.Method, req.URL.Path, MaxBodyBytes),
		}
	}
	return Reply{Status: res.StatusCode, Header: res.Header, Body: body}, nil
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
func NewTransport() *http.Transport {
	return &http.Transport{
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:     true,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 30 * time.Second,
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       60 * time.Second,
		DisableCompression:    true, // a few compressed bytes must not become gigabytes
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
	// Whatever has one of these may hold a password or a token, so it is not quoted; and a path put behind a bare "?" or
	// "#" would not be a path.
	if strings.ContainsAny(raw, "@?#") {
		return errors.New("a base URL has no user, query or fragment")
	}
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" {
		return fmt.Errorf("%q is not an absolute URL", raw)
	}
	if u.Scheme == "https" || u.Scheme == "http" && IsLoopback(u.Hostname()) {
		return nil
	}
	return fmt.Errorf("%q must be https; plain http is for loopback addresses only", raw)
}

// IsLoopbackURL reports whether raw points at this machine only.
func IsLoopbackURL(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && IsLoopback(u.Hostname())
}

// IsLoopback reports whether host is "localhost" or a loopback address.
func IsLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
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
