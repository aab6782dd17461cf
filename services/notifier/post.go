package notifier

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"reelay/events"
)

const (
	// dialWait bounds a connect, postWait a delivery.
	dialWait, postWait = 5 * time.Second, 15 * time.Second
	maxHeaderBytes     = 16 << 10
	// maxAnswerBytes is how much of an answer is read, maxShownBytes how much of it is shown.
	maxAnswerBytes, maxShownBytes = 4 << 10, 200
	// ceHeader begins the names of the headers that go with an event.
	ceHeader = "ce-"
)

// The results of a delivery, for metrics.
const (
	resultDelivered   = "delivered"
	resultRefused     = "refused" // 4xx
	resultFailed      = "failed"  // any other status
	resultTimeout     = "timeout"
	resultUnreachable = "unreachable"
)

// A delivery is what an endpoint is sent.
type delivery struct {
	id     string
	header map[string][]string
	body   []byte
}

// A result is what came of a delivery; failure is empty if the endpoint has taken it.
type result struct {
	label      string
	status     int
	failure    string
	retryAfter time.Duration
}

// post delivers once.
func (s *Service) post(ctx context.Context, client *http.Client, e *endpoint, d delivery) result {
	r := s.try(ctx, client, e, d)
	s.metrics.deliveries.WithLabelValues(e.name, r.label).Inc()
	return r
}

func (s *Service) try(ctx context.Context, client *http.Client, e *endpoint, d delivery) result {
	ctx, cancel := context.WithTimeout(ctx, postWait)
	defer cancel()
	req, err := e.request(ctx, d, "reelay/"+s.o.Version)
	if err != nil {
		return result{label: resultUnreachable, failure: e.clean(err.Error())}
	}
	resp, err := client.Do(req)
	if err != nil {
		var of *url.Error
		if errors.As(err, &of) { // it shows the URL
			err = of.Err
		}
		r := result{label: resultUnreachable, failure: e.clean(err.Error())}
		if errors.Is(err, context.DeadlineExceeded) {
			r.label, r.failure = resultTimeout, fmt.Sprintf("no answer within %v", postWait)
		}
		return r
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes)) // it is for people: what has come will do
	r := result{status: resp.StatusCode, label: resultFailed, retryAfter: retryAfter(resp.Header.Get("Retry-After"))}
	switch {
	case r.status >= 200 && r.status < 300:
		return result{status: r.status, label: resultDelivered}
	case r.status >= 400 && r.status < 500:
		r.label = resultRefused
	}
	r.failure = "HTTP " + strconv.Itoa(r.status)
	if r.status >= 300 && r.status < 400 {
		r.failure += "; redirects are not followed"
	}
	if shown := strings.Join(strings.Fields(strings.ToValidUTF8(string(text), "")), " "); shown != "" {
		shown = e.clean(shown)
		r.failure += ": " + shown[:min(len(shown), maxShownBytes)]
	}
	return r
}

// request makes a signed one. Each secret signs, so that a receiver can go over to a new one at its leisure.
func (e *endpoint) request(ctx context.Context, d delivery, agent string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url.Reveal(), bytes.NewReader(d.body))
	if err != nil {
		return nil, errors.New("the URL cannot be called")
	}
	for name, values := range d.header {
		lower := strings.ToLower(name)
		if strings.HasPrefix(lower, ceHeader) && lower != events.HeaderNotify || lower == events.HeaderTraceparent {
			req.Header[http.CanonicalHeaderKey(name)] = values
		}
	}
	at := time.Now()
	var signatures []string
	for _, w := range e.signers {
		signature, err := w.Sign(d.id, at, d.body)
		if err != nil {
			return nil, err
		}
		signatures = append(signatures, signature)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", agent)
	req.Header.Set(standardwebhooks.HeaderWebhookID, d.id)
	req.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(at.Unix(), 10))
	req.Header.Set(standardwebhooks.HeaderWebhookSignature, strings.Join(signatures, " "))
	return req, nil
}

// retryAfter reads a Retry-After: seconds, or a time.
func retryAfter(header string) time.Duration {
	if n, err := strconv.Atoi(header); err == nil && n > 0 {
		return time.Duration(min(n, int(maxRetryAfter/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(header); err == nil {
		return min(max(0, time.Until(at)), maxRetryAfter)
	}
	return 0
}
