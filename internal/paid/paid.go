// Package paid sends a paid request once. It is the only code of reelay that can spend money.
//
// A request needs a Permit, and a Permit exists only after the intent to send was stored and positively acknowledged to
// this process. A permit is used up by the first call, expires after MaxAge, and is checked again by the caller's gate
// just before the last byte of the body leaves: whatever fails before that is proven not sent (ErrNotSent), because no
// server accepts an incomplete body. Whatever fails after it leaves open what the provider did.
package paid

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"reelay/internal/provider"
)

// ErrNotSent says that the request provably did not leave in full: nothing was bought.
var ErrNotSent = errors.New("the paid request was not sent")

const (
	// MaxAge is how long a permit is good for, counted from before its intent was written.
	MaxAge = 20 * time.Second
	// Timeout bounds one paid request that sets none, the answer included.
	Timeout = 60 * time.Second
	// maxReplyBytes bounds the answer to a paid request that sets no bound.
	maxReplyBytes = 1 << 20
)

// A Permit is the right to send one paid request.
type Permit struct {
	granted time.Time
	used    atomic.Bool
}

// Grant stores an intent by calling intend, and returns a permit if intend reports the positive acknowledgement by nil.
// Any other outcome, a lost acknowledgement included, gives none.
func Grant(ctx context.Context, intend func(context.Context) error) (*Permit, error) {
	p := &Permit{granted: time.Now()}
	if err := intend(ctx); err != nil {
		return nil, err
	}
	return p, nil
}

// A Gate is asked just before the last byte leaves whether the task still wants to be sent.
type Gate func(context.Context) error

// A Poster sends paid requests.
type Poster struct {
	transport *http.Transport
}

// A Dialer opens network connections.
type Dialer func(ctx context.Context, network, address string) (net.Conn, error)

// NewPoster returns a Poster. A nil dial dials TCP.
func NewPoster(dial Dialer) *Poster {
	if dial == nil {
		dial = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	}
	return &Poster{transport: &http.Transport{
		// A fresh connection per request: net/http resends on a reused one, and a half-dead one loses answers. No proxy.
		DisableKeepAlives: true, DialContext: dial, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 10 * time.Second,
	}}
}

// Post sends r once. Its error is ErrNotSent when that is proven; any other error leaves open whether the provider
// accepted the request. Redirects are not followed.
func (p *Poster) Post(ctx context.Context, permit *Permit, r provider.Request, gate Gate) (provider.Reply, error) {
	reply, err := p.post(ctx, permit, r, gate)
	if err != nil {
		err = scrub(err, r.Header)
	}
	return reply, err
}

// Hand is Post for a request that costs nothing and goes by send, and not over HTTP. It may be sent again, so that all of
// its errors are ErrNotSent.
func (p *Poster) Hand(ctx context.Context, permit *Permit, r provider.Request, gate Gate,
	send func(context.Context, provider.Request) (provider.Reply, error),
) (reply provider.Reply, err error) {
	if permit == nil || permit.used.Swap(true) {
		return reply, fmt.Errorf("%w: no permit", ErrNotSent)
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(r.Timeout, Timeout))
	defer cancel()
	if err = gate(ctx); err == nil {
		reply, err = send(ctx, r)
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	return reply, err
}

func (p *Poster) post(ctx context.Context, permit *Permit, r provider.Request, gate Gate) (provider.Reply, error) {
	if permit == nil || permit.used.Swap(true) {
		return provider.Reply{}, fmt.Errorf("%w: no permit", ErrNotSent)
	}
	if len(r.Body) == 0 {
		return provider.Reply{}, fmt.Errorf("%w: a body is needed for the last-byte gate", ErrNotSent)
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(r.Timeout, Timeout))
	defer cancel()
	fresh := func() error {
		if age := time.Since(permit.granted); age > MaxAge {
			return fmt.Errorf("the permit is %v old", age.Round(time.Second))
		}
		return nil
	}
	body := &gated{ctx: ctx, rest: r.Body, check: func(ctx context.Context) error {
		if err := fresh(); err != nil {
			return err
		}
		if err := gate(ctx); err != nil {
			return err
		}
		return fresh() // the gate itself may have taken long
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.URL, nil)
	if err != nil {
		return provider.Reply{}, fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	req.Header = r.Header.Clone()
	req.Body, req.ContentLength = body, int64(len(r.Body))
	req.GetBody = nil // with it net/http and HTTP/2 resend by themselves

	// With keep-alives off HTTP/2 still lets requests that overlap share a connection, and its end.
	transport := p.transport.Clone()
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(req)
	if err != nil {
		return provider.Reply{}, body.explain(err)
	}
	defer res.Body.Close()
	most := cmp.Or(r.MaxReplyBytes, maxReplyBytes)
	answer, err := io.ReadAll(io.LimitReader(res.Body, most+1))
	if err != nil {
		return provider.Reply{}, fmt.Errorf("the answer broke off: %w", err)
	}
	if int64(len(answer)) > most {
		return provider.Reply{}, fmt.Errorf("the answer is longer than %d bytes", most)
	}
	if !body.released.Load() && res.StatusCode < 300 {
		// A server that answers a body it has not read in full has broken HTTP; nobody knows what it did.
		return provider.Reply{}, errors.New("the provider answered before the request was complete")
	}
	return provider.Reply{Status: res.StatusCode, Header: res.Header, Body: answer}, nil
}

// gated hands out a body, and its last byte only after check has agreed.
type gated struct {
	ctx      context.Context
	rest     []byte
	check    Gate
	veto     atomic.Pointer[error]
	released atomic.Bool
}

func (g *gated) Read(p []byte) (int, error) {
	switch {
	case len(g.rest) == 0:
		return 0, io.EOF
	case len(p) == 0:
		return 0, nil
	case len(g.rest) > 1:
		n := copy(p, g.rest[:len(g.rest)-1])
		g.rest = g.rest[n:]
		return n, nil
	}
	if err := g.check(g.ctx); err != nil {
		g.veto.Store(&err)
		return 0, err
	}
	g.released.Store(true)
	p[0] = g.rest[0]
	g.rest = nil
	return 1, io.EOF
}

func (g *gated) Close() error { return nil }

// scrub keeps the credentials of a request out of an error: a server can send them back in what is no HTTP.
func scrub(err error, h http.Header) error {
	text := err.Error()
	for _, v := range h.Values("Authorization") {
		scheme, key, _ := strings.Cut(v, " ")
		if key == "" {
			key = scheme
		}
		text = strings.ReplaceAll(text, key, "[redacted]")
	}
	if text == err.Error() {
		return err
	}
	if errors.Is(err, ErrNotSent) {
		return fmt.Errorf("%w: %s", ErrNotSent, strings.TrimPrefix(text, ErrNotSent.Error()+": "))
	}
	return errors.New(text)
}

// explain says whether a failed request can have reached the provider. The URL is left out: it may hold a callback.
func (g *gated) explain(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	if veto := g.veto.Load(); veto != nil {
		return fmt.Errorf("%w: %w", ErrNotSent, *veto)
	}
	if !g.released.Load() {
		return fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	return err
}
