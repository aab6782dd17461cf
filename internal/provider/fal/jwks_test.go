package fal

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"reelay/internal/provider"
)

var (
	oldKey, newKey, newest, stranger = newSigner("old"), newSigner("new"), newSigner("newest"), newSigner("stranger")
	errHostDown                      = errors.New("the host is down")
)

// A hosted is a verifier in a bubble whose key host can be changed while it runs.
type hosted struct {
	*testing.T
	v *Verifier

	mu      sync.Mutex
	set     []byte // nil is a host that is down
	slow    time.Duration
	fetches int
}

func host(t *testing.T, f func(h *hosted)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := &hosted{T: t, set: jwks(oldKey)}
		h.v = verifier(t, "", h)
		f(h)
	})
}

func (h *hosted) RoundTrip(r *http.Request) (*http.Response, error) {
	h.mu.Lock()
	h.fetches++
	set, slow := h.set, h.slow
	h.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if set == nil {
		return nil, errHostDown
	}
	return reply(http.StatusOK, set), nil
}

// expect verifies a fresh webhook of s and compares the verdict and how often the host was asked so far.
func (h *hosted) expect(what string, s signer, want error, fetches int) {
	h.Helper()
	w := s.sign("r", "u", time.Now(), "{}")
	err := h.v.Verify(h.Context(), w.header, w.body, w.at)
	if !errors.Is(err, want) || (want == nil) != (err == nil) {
		h.Errorf("%s: %v, want %v", what, err, want)
	}
	if h.fetches != fetches {
		h.Errorf("%s: %d fetches, want %d", what, h.fetches, fetches)
	}
}

func TestKeysAreCached(t *testing.T) {
	host(t, func(h *hosted) {
		h.expect("first", oldKey, nil, 1)
		time.Sleep(5 * time.Minute)
		h.expect("five minutes later", oldKey, nil, 1)
		time.Sleep(time.Second)
		h.expect("then", oldKey, nil, 2)
	})
}

// A key that fal has begun to use is known with its first webhook, or when fal has tried again; strangers cannot make us
// ask more than once a minute. One that fal has withdrawn counts for five minutes.
func TestKeyRotation(t *testing.T) {
	host(t, func(h *hosted) {
		h.expect("old key", oldKey, nil, 1)
		time.Sleep(2 * time.Minute)
		h.set = jwks(newKey, oldKey)
		h.expect("new key", newKey, nil, 2)
		h.expect("old key, still published", oldKey, nil, 2)
		for range 100 {
			h.expect("stranger, in that second", stranger, provider.ErrCallbackSignature, 2)
		}
		time.Sleep(30 * time.Second)
		h.set = jwks(newest, newKey, oldKey)
		h.expect("another new key, within the minute", newest, provider.ErrCallbackKeys, 2)
		time.Sleep(30 * time.Second)
		h.expect("another new key, tried again", newest, nil, 3)
		h.expect("stranger, a minute later", stranger, provider.ErrCallbackSignature, 3)
		h.set = jwks(newKey)
		time.Sleep(5*time.Minute + time.Second)
		h.expect("old key, withdrawn for five minutes", oldKey, provider.ErrCallbackSignature, 4)
	})
}

func TestKeyHostDown(t *testing.T) {
	host(t, func(h *hosted) {
		h.set = nil
		h.expect("no keys yet", oldKey, provider.ErrCallbackKeys, 1)
		h.expect("at once again", oldKey, provider.ErrCallbackKeys, 1)
		time.Sleep(5 * time.Second)
		h.expect("5 s later", oldKey, provider.ErrCallbackKeys, 2)
		time.Sleep(5 * time.Second)
		h.set = jwks(oldKey)
		h.expect("up", oldKey, nil, 3)
		h.set = nil
		time.Sleep(12 * time.Hour)
		h.expect("down for half a day", oldKey, nil, 4)
		h.expect("at once again", oldKey, nil, 4)
		time.Sleep(2 * time.Minute)
		h.expect("a stranger meanwhile", stranger, provider.ErrCallbackKeys, 5)
		time.Sleep(12 * time.Hour)
		h.expect("down for over a day", oldKey, provider.ErrCallbackKeys, 6)
		h.set = jwks(newKey)
		time.Sleep(time.Minute)
		h.expect("up again", newKey, nil, 7)
	})
}

// A host that never answers costs a webhook five seconds, not its fifteen.
func TestKeyHostHangs(t *testing.T) {
	host(t, func(h *hosted) {
		h.slow = time.Hour
		begin := time.Now()
		h.expect("hangs", oldKey, provider.ErrCallbackKeys, 1)
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// Of a crowd one fetches, and its going away does not take the answer from the others.
func TestNoStampede(t *testing.T) {
	host(t, func(h *hosted) {
		h.slow = time.Second
		first, leave := context.WithCancel(h.Context())
		var wg sync.WaitGroup
		for i := range 100 {
			ctx := h.Context()
			if i == 0 {
				ctx = first
			}
			wg.Go(func() {
				w := oldKey.sign("r", "u", time.Now(), "{}")
				if err := h.v.Verify(ctx, w.header, w.body, w.at); err != nil {
					h.Error(err)
				}
			})
			synctest.Wait()
		}
		leave()
		wg.Wait()
		if h.fetches != 1 {
			h.Errorf("%d fetches", h.fetches)
		}
	})
}

// Whoever has tried keys that were replaced meanwhile tries the new ones, and fal is not asked once more for him.
func TestKeysReplacedMeanwhile(t *testing.T) {
	host(t, func(h *hosted) {
		known, err := h.v.keys.current(h.Context())
		if err != nil {
			h.Fatal(err)
		}
		time.Sleep(time.Minute)
		h.set = jwks(newKey)
		h.expect("somebody else", newKey, nil, 2)
		time.Sleep(time.Minute)
		newer, _ := h.v.keys.newer(h.Context(), known)
		if len(newer) != 1 || !newer[0].Equal(newKey.private.Public()) || h.fetches != 2 {
			h.Errorf("%d keys after %d fetches", len(newer), h.fetches)
		}
	})
}

// A waiter whose own request ends does not wait on.
func TestWaiterLeaves(t *testing.T) {
	host(t, func(h *hosted) {
		h.slow = 3 * time.Second
		go func() { _, _ = h.v.keys.current(h.Context()) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(h.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		_, err := h.v.keys.current(ctx)
		if !errors.Is(err, provider.ErrCallbackKeys) || time.Since(begin) != time.Second {
			h.Errorf("%v after %v", err, time.Since(begin))
		}
		time.Sleep(5 * time.Second)
	})
}

// A broken answer of the host never takes the place of good keys.
func TestParseJWKS(t *testing.T) {
	short := strings.Replace(string(jwks(oldKey)), `"x":"`, `"x":"AA`, 1)
	many := func(n int) string { return `{"keys":[` + strings.Repeat(oldKey.jwk()+",", n-1) + oldKey.jwk() + `]}` }
	for _, row := range []struct {
		name, body string
		keys       int
		want       string
	}{
		{"one", string(jwks(oldKey)), 1, ""},
		{"two", string(jwks(oldKey, newKey)), 2, ""},
		{"another kind beside", `{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"},{"kty":"OKP","crv":"X25519","x":"AA"},` +
			oldKey.jwk() + `]}`, 1, ""},
		{"16", many(16), 16, ""},
		{"17", many(17), 0, "17 keys are over the limit of 16"},
		{"none", `{"keys":[]}`, 0, "no Ed25519 key in the set"},
		{"key too long", short, 0, "no Ed25519 key in the set"},
		{
			"another curve's name", strings.Replace(string(jwks(oldKey)), "Ed25519", "X25519", 1), 0,
			"no Ed25519 key in the set",
		},
		{"empty", "", 0, "not a key set: unexpected end of JSON input"},
		{"HTML", "<html>", 0, "not a key set: invalid character '<' looking for beginning of value"},
		{"too long", strings.Repeat(" ", 64<<10) + string(jwks(oldKey)), 0, "are over the limit of 65536"},
	} {
		keys, err := parseJWKS([]byte(row.body))
		if len(keys) != row.keys || (row.want == "") != (err == nil) ||
			err != nil && !strings.HasSuffix(err.Error(), row.want) {
			t.Errorf("%s: %d keys, %v, want %d, %q", row.name, len(keys), err, row.keys, row.want)
		}
	}
}

// Only 200 counts, and a redirect is not followed.
func TestKeyHostStatus(t *testing.T) {
	for _, status := range []int{204, 301, 302, 404, 500} {
		v := verifier(t, "", roundTrip(func(*http.Request) (*http.Response, error) {
			r := reply(status, jwks(oldKey))
			r.Header.Set("Location", "https://elsewhere.example.test/jwks")
			return r, nil
		}))
		w := oldKey.sign("r", "u", time.Now(), "{}")
		if err := v.Verify(t.Context(), w.header, w.body, w.at); !errors.Is(err, provider.ErrCallbackKeys) {
			t.Errorf("%d: %v", status, err)
		}
	}
}

func FuzzParseJWKS(f *testing.F) {
	f.Add(jwks(oldKey, newKey))
	f.Fuzz(func(t *testing.T, body []byte) {
		keys, err := parseJWKS(body)
		if (err == nil) != (len(keys) > 0) || len(keys) > maxKeys {
			t.Errorf("%d keys, %v", len(keys), err)
		}
		verifiedBy(keys, body, make([]byte, 64)) // must not panic
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
