// Package jsonapi is what drivers share whose provider answers with JSON and may take a bearer key: free calls, answers of
// which nothing is certain, and errors that hold no key. What an answer means is the driver's to say.
package jsonapi

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"reelay/events"
	"reelay/internal/provider"
	"reelay/internal/secret"
)

// DefaultTimeout bounds one free call.
const DefaultTimeout = 30 * time.Second

// Options configures a Client.
type Options struct {
	BaseURL string
	// Private takes plain http to private addresses, too.
	Private bool
	// Key is the API key; none is sent if it is empty.
	Key secret.Value
	// Transport carries the free calls; that of provider.NewTransport if nil.
	Transport http.RoundTripper
	// Timeout bounds one free call; DefaultTimeout if 0.
	Timeout time.Duration
}

// A Client makes the free calls of one account. It is safe for concurrent use.
type Client struct {
	base     string
	key      secret.Value
	redactor *secret.Redactor
	client   *http.Client
	// uploads carries what takes longer.
	uploads *http.Client
}

// New returns a client. It fails if the base URL is neither https nor plain http to an address that may have it, and if the
// key cannot stand in a header.
func New(o Options) (*Client, error) {
	check := provider.CheckBaseURL
	if o.Private {
		check = provider.CheckPrivateBaseURL
	}
	if err := check(o.BaseURL); err != nil {
		return nil, fmt.Errorf("base URL: %w", err)
	}
	if strings.ContainsFunc(o.Key.Reveal(), func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return nil, errors.New("the API key holds a space or a character that no key has")
	}
	if o.Transport == nil {
		o.Transport = provider.NewTransport(o.BaseURL)
	}
	return &Client{
		base: strings.TrimRight(o.BaseURL, "/"), key: o.Key, redactor: secret.NewRedactor(o.Key),
		client:  provider.NewClient(o.Transport, cmp.Or(o.Timeout, DefaultTimeout)),
		uploads: provider.NewClient(o.Transport, uploadTimeout),
	}, nil
}

// Format prints the base URL only: fmt reads unexported fields past their own methods, the key's among them.
func (c *Client) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, c.base) }

// Base is the base URL, without a slash at its end.
func (c *Client) Base() string { return c.base }

// maxURLBytes bounds a link of an answer.
const maxURLBytes = 4 << 10

// Absolute is a link of an answer: https, or one of the server's own, which may be a path; "" for any other.
func (c *Client) Absolute(link string) string {
	switch {
	case len(link) > maxURLBytes:
		return ""
	case strings.HasPrefix(link, "/") && !strings.HasPrefix(link, "//"):
		return c.base + link
	case strings.HasPrefix(link, "https://"), strings.HasPrefix(link, c.base+"/"):
		return link
	}
	return ""
}

// Header returns the headers of every call.
func (c *Client) Header() http.Header {
	h := http.Header{"Accept": {"application/json"}}
	if !c.key.Empty() {
		h.Set("Authorization", "Bearer "+c.key.Reveal())
	}
	return h
}

// Call makes one free call of a path below the base URL, and takes the key out of its answer. Its error is a
// *provider.Error.
func (c *Client) Call(ctx context.Context, method, path string, query url.Values) (provider.Reply, error) {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return c.send(ctx, c.client, method, path, "", nil)
}

// Send is Call with JSON as its body.
func (c *Client) Send(ctx context.Context, method, path string, body []byte) (provider.Reply, error) {
	return c.send(ctx, c.client, method, path, "application/json", bytes.NewReader(body))
}

func (c *Client) send(ctx context.Context, client *http.Client, method, path, contentType string, body io.Reader) (
	provider.Reply, error,
) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return provider.Reply{}, NewError(events.KindInternal, "bad_request", method+" "+path+" cannot be sent", provider.Reply{})
	}
	req.Header = c.Header()
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	r, err := provider.Exchange(client, req)
	if err != nil {
		return r, c.redactError(provider.AsError(err))
	}
	return c.Redact(r), nil
}

// Redact takes the key out of an answer.
func (c *Client) Redact(r provider.Reply) provider.Reply {
	r.Body = c.redactor.Bytes(r.Body)
	header := make(http.Header, len(r.Header))
	for name, values := range r.Header {
		for _, v := range values {
			header.Add(name, c.redactor.Text(v))
		}
	}
	r.Header = header
	return r
}

// redactError drops the cause, too, when the key is in an error of the transport, which may quote a broken answer.
func (c *Client) redactError(e *provider.Error) *provider.Error {
	if m := c.redactor.Text(e.Message); m != e.Message {
		return NewError(e.Kind, e.Code, m, provider.Reply{Status: e.HTTPStatus})
	}
	return e
}
