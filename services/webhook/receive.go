package webhook

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"reelay/events"
	"reelay/internal/callbackurl"
	"reelay/internal/provider"
)

// noProvider is the metrics' label of requests to no good URL.
const noProvider = "none"

// A result is what became of a request; it is a label of the metrics.
type result string

const (
	accepted     result = "accepted"
	duplicate    result = "duplicate"
	handshake    result = "challenge"
	badMethod    result = "method"
	badMAC       result = "bad_mac"
	expired      result = "expired"
	unknownLane  result = "unknown_lane"
	badType      result = "bad_type"
	tooLarge     result = "too_large"
	cut          result = "cut"
	badSignature result = "bad_signature"
	badAccount   result = "bad_account"
	old          result = "old"
	badJSON      result = "bad_json"
	badChallenge result = "bad_challenge"
	rateLimited  result = "rate_limited"
	busy         result = "busy"
	unavailable  result = "unavailable"
)

// status returns the status of the answer. A wrong path, a wrong MAC, a URL that counts no more and a lane that is not
// ours are one to a stranger.
func (r result) status() int {
	switch r {
	case accepted, duplicate, handshake:
		return http.StatusOK
	case badMethod:
		return http.StatusMethodNotAllowed
	case badMAC, expired, unknownLane:
		return http.StatusNotFound
	case badType:
		return http.StatusUnsupportedMediaType
	case tooLarge:
		return http.StatusRequestEntityTooLarge
	case badSignature, badAccount, old:
		return http.StatusUnauthorized
	case cut, badJSON, badChallenge:
		return http.StatusBadRequest
	case rateLimited:
		return http.StatusTooManyRequests
	default:
		return http.StatusServiceUnavailable
	}
}

// An outcome is what a request has come to.
type outcome struct {
	result result
	// lane and target are known from the check of the URL on.
	lane   provider.CallbackLane
	target callbackurl.Target
	// answer is that of a handshake.
	answer []byte
	err    error
}

// serve answers one request.
func (s *Service) serve(w http.ResponseWriter, r *http.Request) {
	arrived := time.Now()
	o := s.receive(w, r, arrived)
	if status := o.result.status(); status >= 400 && status < 500 && !s.refusals.allow(clientAddress(r, s.o.Proxies)) {
		o.result = rateLimited
	}
	s.answer(w, r, o)
	s.report(o, time.Since(arrived))
}

// receive judges a request step by step, the cheapest first, and hands its body on if everything is right. Where only the
// clock or the content type is wrong, or it comes too late, it hands on that something came, and refuses it.
func (s *Service) receive(w http.ResponseWriter, r *http.Request, arrived time.Time) (o outcome) {
	o.lane.Provider = noProvider
	if r.Method != http.MethodPost {
		o.result = badMethod
		return o
	}
	target, ok := s.o.Keys.Verify(strings.TrimPrefix(r.URL.EscapedPath(), s.base))
	if !ok {
		o.result = badMAC
		return o
	}
	lane, ok := s.lanes[target.Lane]
	if !ok {
		o.result = unknownLane
		return o
	}
	o.lane, o.target = lane, target
	if !s.calls.allow(target) {
		o.result = rateLimited
		return o
	}
	c := events.Callback{Lane: target.Lane, Task: target.Key, Attempt: target.Attempt, Received: arrived}
	if target.Expired(arrived) {
		o.result = expired
	} else if c.Body, o.result, o.err = s.read(w, r, target); o.result == "" {
		o.answer, o.result, o.err = s.judge(r, lane, c.Body, arrived)
	}
	if o.result == "" {
		o.result, o.err = s.publish(r.Context(), c)
		return o
	}
	if c.Unproven = o.result.unproven(); c.Unproven != "" {
		c.Body = nil
		if _, err := s.publish(r.Context(), c); err != nil {
			o.err = errors.Join(o.err, err)
		}
	}
	return o
}

// unproven returns the reason to tell of a callback that is refused all the same, because the provider itself may have
// sent it and will not come again; empty where that is not so.
func (r result) unproven() events.Unproven {
	switch r {
	case old:
		return events.UnprovenClock
	case badType:
		return events.UnprovenContentType
	case expired:
		return events.UnprovenExpired
	default:
		return ""
	}
}

// read returns the body of a JSON request. A result other than "" refuses it.
func (s *Service) read(w http.ResponseWriter, r *http.Request, of callbackurl.Target) ([]byte, result, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" ||
		len(r.Header.Values("Content-Encoding")) > 0 {
		return nil, badType, nil
	}
	if r.ContentLength > events.MaxCallbackBytes {
		return nil, tooLarge, nil
	}
	slot := s.reading.enter(of, func() { _ = http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0)) })
	if slot == nil {
		return nil, busy, nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, events.MaxCallbackBytes))
	lost := s.reading.leave(slot)
	var over *http.MaxBytesError
	switch {
	case lost && err != nil:
		return nil, busy, nil
	case errors.As(err, &over):
		return nil, tooLarge, nil
	case err != nil:
		return nil, cut, err
	}
	return body, "", nil
}

// judge checks a body, or answers it if it is a handshake. A result other than "" is the end of it.
func (s *Service) judge(r *http.Request, lane provider.CallbackLane, body []byte,
	arrived time.Time,
) ([]byte, result, error) {
	if lane.Verifier != nil {
		if err := lane.Verifier.Verify(r.Context(), r.Header, body, arrived); err != nil {
			return nil, refusal(err), err
		}
	}
	if !plainObject(body) {
		return nil, badJSON, nil
	}
	if lane.Handshake == nil {
		return nil, "", nil
	}
	answer, err := lane.Handshake(body)
	switch {
	case err != nil:
		return nil, badChallenge, err
	case answer != nil:
		return answer, handshake, nil
	}
	return nil, "", nil
}

func refusal(err error) result {
	switch {
	case errors.Is(err, provider.ErrCallbackTime):
		return old
	case errors.Is(err, provider.ErrCallbackAccount):
		return badAccount
	case errors.Is(err, provider.ErrCallbackKeys):
		return unavailable
	default:
		return badSignature
	}
}

// publish hands a callback on, and waits until it is stored.
func (s *Service) publish(ctx context.Context, c events.Callback) (result, error) {
	select {
	case s.publishing <- struct{}{}:
		defer func() { <-s.publishing }()
	default:
		return busy, nil
	}
	ctx, cancel := context.WithTimeout(ctx, publishWait)
	defer cancel()
	again, err := s.o.Publisher.Publish(ctx, c)
	switch {
	case err != nil:
		return unavailable, err
	case again:
		return duplicate, nil
	}
	return accepted, nil
}

// answer writes the one answer that a result has.
func (s *Service) answer(w http.ResponseWriter, r *http.Request, o outcome) {
	h, status, body := w.Header(), o.result.status(), o.answer
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	switch {
	case status == http.StatusMethodNotAllowed:
		h.Set("Allow", http.MethodPost)
	case status == http.StatusServiceUnavailable, status == http.StatusTooManyRequests:
		h.Set("Retry-After", "10")
	}
	if status < 500 && status >= 400 && r.ProtoMajor == 1 {
		h.Set("Connection", "close") // what is left of its body is not waited for
	}
	if status != http.StatusOK {
		body = []byte(`{"error":"` + strings.ToLower(http.StatusText(status)) + `"}`)
	} else if body == nil {
		body = []byte(`{"status":"success"}`)
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// report counts a request. Only those with a good URL are logged: whoever sends others must not fill the log.
func (s *Service) report(o outcome, took time.Duration) {
	s.metrics.requests.WithLabelValues(o.lane.Provider, string(o.result)).Inc()
	s.metrics.duration.WithLabelValues(o.lane.Provider).Observe(took.Seconds())
	if o.target.Lane == "" {
		return
	}
	log := s.log.With("result", string(o.result), "lane", o.target.Lane, "task", o.target.Key.String(), "attempt",
		o.target.Attempt)
	switch {
	case o.err != nil:
		log.Warn("callback was refused", "error", o.err)
	case o.result == expired:
		log.Info("callback came after its URL had expired, and is taken for a sign of life")
	case o.result.status() != http.StatusOK:
		log.Warn("callback was refused")
	default:
		log.Debug("callback was answered")
	}
}

// clientAddress returns the address that a request came from, of IPv6 its /64, which one customer has to himself.
// Behind a trusted proxy it is the last address of X-Forwarded-For that is not a trusted proxy's. One that cannot be
// read is the zero Addr.
func clientAddress(r *http.Request, proxies []netip.Prefix) netip.Addr {
	remote := parseAddress(r.RemoteAddr)
	if !trusted(proxies, remote) {
		return site(remote)
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop := parseAddress(strings.TrimSpace(hops[i]))
		if !hop.IsValid() {
			break // whatever stands before it was not written by a proxy of ours
		}
		if remote = hop; !trusted(proxies, hop) {
			break
		}
	}
	return site(remote)
}

// parseAddress reads an address with or without a port.
func parseAddress(text string) netip.Addr {
	if withPort, err := netip.ParseAddrPort(text); err == nil {
		return withPort.Addr().Unmap().WithZone("")
	}
	address, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return address.Unmap().WithZone("")
}

func trusted(proxies []netip.Prefix, address netip.Addr) bool {
	for _, p := range proxies {
		if p.Contains(address) {
			return true
		}
	}
	return false
}

// site returns what of an address stands for whoever has it.
func site(address netip.Addr) netip.Addr {
	if !address.Is6() {
		return address
	}
	prefix, _ := address.Prefix(64)
	return prefix.Addr()
}
