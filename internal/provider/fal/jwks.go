package fal

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"reelay/internal/provider"
)

const (
	// keysFresh is how long fetched keys are used without asking again: for so long one counts that fal has withdrawn.
	keysFresh = 5 * time.Minute
	// keysStale is how long they are used while they cannot be fetched again; fal limits it to a day.
	keysStale = 24 * time.Hour
	// fetchFloor is the shortest time between two fetches, firstFloor the same as long as there are no keys at all. Both
	// keep strangers from making us call fal.
	fetchFloor = time.Minute
	firstFloor = 5 * time.Second
	// fetchWait bounds one fetch: fal waits 15 s for the answer to a webhook.
	fetchWait = 5 * time.Second

	maxJWKSBytes = 64 << 10
	maxKeys      = 16
)

var (
	errNotFetched = errors.New("they are being fetched")
	errNoKey      = errors.New("no Ed25519 key in the set")
)

// A keySet holds fal's public keys. Of many callers at once one fetches them and the others wait for it.
type keySet struct {
	url    string
	client *http.Client

	mu      sync.Mutex
	keys    []ed25519.PublicKey
	fetched time.Time     // when keys were
	tried   time.Time     // when they were asked for last
	failure error         // what came of it
	flight  chan struct{} // closed at the end of the fetch under way; nil when there is none
}

func newKeySet(url string, transport http.RoundTripper) *keySet {
	return &keySet{url: url, client: provider.NewClient(transport, fetchWait), failure: errNotFetched}
}

// current returns the keys, fetching them when there are none or when they are five minutes old. Older ones serve for a
// day while fal cannot be asked. It fails with provider.ErrCallbackKeys.
func (s *keySet) current(ctx context.Context) ([]ed25519.PublicKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.keys) == 0 || time.Since(s.fetched) > keysFresh {
		s.refresh(ctx)
	}
	if len(s.keys) == 0 || time.Since(s.fetched) > keysStale {
		return nil, fmt.Errorf("%w: %w", provider.ErrCallbackKeys, s.failure)
	}
	return s.keys, nil
}

// newer returns the keys after one more fetch, if one is allowed now, for a caller whom known have not helped, and when
// they were fetched. Known keys whose successors cannot be had are returned as they are.
func (s *keySet) newer(ctx context.Context, known []ed25519.PublicKey) ([]ed25519.PublicKey, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.keys) > 0 && &s.keys[0] == &known[0] {
		s.refresh(ctx)
	}
	return s.keys, s.fetched
}

// refresh fetches the keys, waits for whoever is fetching them, or does nothing before its time. It lets go of the lock
// meanwhile.
func (s *keySet) refresh(ctx context.Context) {
	if flight := s.flight; flight != nil {
		s.mu.Unlock()
		defer s.mu.Lock()
		select {
		case <-flight:
		case <-ctx.Done():
		}
		return
	}
	floor := fetchFloor
	if len(s.keys) == 0 {
		floor = firstFloor
	}
	if !s.tried.IsZero() && time.Since(s.tried) < floor {
		return
	}
	s.flight = make(chan struct{})
	s.mu.Unlock()
	// Others wait for this fetch, so the end of this one request does not end it.
	keys, err := s.fetch(context.WithoutCancel(ctx))
	s.mu.Lock()
	s.tried, s.failure = time.Now(), err
	if err == nil {
		s.keys, s.fetched = keys, s.tried
	}
	close(s.flight)
	s.flight = nil
}

func (s *keySet) fetch(ctx context.Context) ([]ed25519.PublicKey, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return nil, err
	}
	r, err := provider.Exchange(s.client, req)
	switch {
	case err != nil:
		return nil, err
	case r.Status != http.StatusOK:
		return nil, fmt.Errorf("HTTP %d", r.Status)
	}
	return parseJWKS(r.Body)
}

// parseJWKS reads a JSON Web Key Set (RFC 7517) and takes the Ed25519 keys (RFC 8037) out of it. Those of other kinds
// are passed over; a set without any, or with too many, is an error.
func parseJWKS(body []byte) ([]ed25519.PublicKey, error) {
	if len(body) > maxJWKSBytes {
		return nil, fmt.Errorf("%d bytes are over the limit of %d", len(body), maxJWKSBytes)
	}
	var set struct {
		Keys []struct {
			Kty string `json:"kty"`
			Crv string `json:"crv"`
			X   string `json:"x"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, fmt.Errorf("not a key set: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("%d keys are over the limit of %d", len(set.Keys), maxKeys)
	}
	var keys []ed25519.PublicKey
	for _, k := range set.Keys {
		x, err := base64.RawURLEncoding.DecodeString(k.X)
		if k.Kty == "OKP" && k.Crv == "Ed25519" && err == nil && len(x) == ed25519.PublicKeySize {
			keys = append(keys, x)
		}
	}
	if len(keys) == 0 {
		return nil, errNoKey
	}
	return keys, nil
}
