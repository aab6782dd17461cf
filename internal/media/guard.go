package media

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"reelay/internal/address"
)

const (
	// guardedDial bounds one connect of a guarded client, guardedHeader its wait for the head of an answer.
	guardedDial   = 20 * time.Second
	guardedHeader = time.Minute
	// maxHeaderBytes bounds the head of an answer.
	maxHeaderBytes = 64 << 10
)

// DefaultMaxBytes is the usual bound of one file.
const DefaultMaxBytes = 2 << 30

// NewFetcher returns a Fetcher for files of up to maxBytes, with the ordinary bounds: 30 minutes a file, a minute without bytes, five tries
// in about 15 seconds beside what they take. It reaches public addresses only, checked when it connects, so that no name
// and no redirect can lead into the network of this machine; it uses no proxy, which would connect in its place. hosts
// are names or addresses, with a port or for all of them, that a person allows whatever they are, as they stand in
// links.
func NewFetcher(hosts []string, maxBytes int64) *Fetcher {
	return &Fetcher{
		Client: guarded(hosts), MaxBytes: maxBytes, Tries: 5, Pause: time.Second, Stall: time.Minute, Timeout: 30 * time.Minute,
	}
}

// guarded returns a client that reaches public addresses and hosts.
func guarded(hosts []string) *http.Client {
	return &http.Client{CheckRedirect: checkRedirect, Transport: &http.Transport{
		DialContext:        address.NewGuard(guardedDial, hosts...).DialContext,
		DisableCompression: true, // a few compressed bytes must not become gigabytes
		ForceAttemptHTTP2:  true, MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: guardedDial,
		ResponseHeaderTimeout: guardedHeader, MaxResponseHeaderBytes: maxHeaderBytes,
	}}
}

// Reaching returns the same fetcher for a link that reelay itself has given out, whose server may be in a network of the
// operator's own.
func (f *Fetcher) Reaching(link string) *Fetcher {
	other := *f
	other.Client = guarded([]string{address.Of(link)})
	return &other
}

// NewOwn is NewFetcher for files of up to maxBytes, with a server that a person has named, by its base URL with a slash at its end: its links
// may be plain http, and are asked for with header.
func NewOwn(baseURL string, header http.Header, maxBytes int64) (*Fetcher, error) {
	u, err := url.Parse(baseURL)
	if err != nil || u.Hostname() == "" {
		return nil, fmt.Errorf("%w: the address of the server is no URL", ErrUnsafe)
	}
	f := NewFetcher([]string{address.Of(baseURL)}, maxBytes)
	f.Own, f.Header = baseURL, header
	return f, nil
}

// Loopback returns the hosts of this machine alone, where emulators are.
func Loopback() []string { return []string{"127.0.0.1", "::1", "localhost"} }
