package fal

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"reelay/internal/provider"
)

// A jwksHost is fal's key host on no network: it answers with set, or with its error.
type jwksHost struct {
	set     func() ([]byte, error)
	fetches int
}

func (h *jwksHost) RoundTrip(r *http.Request) (*http.Response, error) {
	h.fetches++
	body, err := h.set()
	if err != nil {
		return nil, err
	}
	return reply(http.StatusOK, body), nil
}

func reply(status int, body []byte) *http.Response {
	return &http.Response{
		StatusCode: status, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body)),
		ContentLength: -1,
	}
}

func verifier(t *testing.T, userID string, host http.RoundTripper) *Verifier {
	t.Helper()
	v, err := NewVerifier(VerifierOptions{UserID: userID, Transport: host})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// A webhook is one callback as it arrives.
type webhook struct {
	header http.Header
	body   []byte
	at     time.Time
}

// recorded returns the callbacks that testdata/webhooks/generate.mjs has signed with Node's crypto, and the keys they
// verify with.
func recorded(t testing.TB) (jwks []byte, callbacks map[string]webhook) {
	t.Helper()
	raw, err := os.ReadFile("testdata/webhooks/webhooks.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		JWKS      json.RawMessage `json:"jwks"`
		Callbacks []struct {
			Name      string `json:"name"`
			RequestID string `json:"request_id"`
			UserID    string `json:"user_id"`
			Timestamp int64  `json:"timestamp"`
			Body      []byte `json:"body_base64"`
			Signature string `json:"signature"`
		} `json:"callbacks"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	callbacks = map[string]webhook{}
	for _, c := range file.Callbacks {
		callbacks[c.Name] = webhook{
			headers(c.RequestID, c.UserID, c.Timestamp, c.Signature), c.Body,
			time.Unix(c.Timestamp, 0),
		}
	}
	return file.JWKS, callbacks
}

func headers(requestID, userID string, timestamp int64, signature string) http.Header {
	h := http.Header{}
	h.Set("X-Fal-Webhook-Request-Id", requestID)
	h.Set("X-Fal-Webhook-User-Id", userID)
	h.Set("X-Fal-Webhook-Timestamp", strconv.FormatInt(timestamp, 10))
	h.Set("X-Fal-Webhook-Signature", signature)
	return h
}

func (w webhook) clone() webhook { return webhook{w.header.Clone(), bytes.Clone(w.body), w.at} }

// A signer is a key of fal.
type signer struct{ private ed25519.PrivateKey }

func newSigner(seed string) signer {
	sum := sha256.Sum256([]byte(seed))
	return signer{ed25519.NewKeyFromSeed(sum[:])}
}

func (s signer) jwk() string {
	x := base64.RawURLEncoding.EncodeToString(s.private.Public().(ed25519.PublicKey))
	return fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","x":%q,"kid":"ignored"}`, x)
}

func jwks(all ...signer) []byte {
	var keys []string
	for _, s := range all {
		keys = append(keys, s.jwk())
	}
	return []byte(`{"keys":[` + strings.Join(keys, ",") + `]}`)
}

func (s signer) sign(requestID, userID string, at time.Time, body string) webhook {
	digest := sha256.Sum256([]byte(body))
	message := requestID + "\n" + userID + "\n" + strconv.FormatInt(at.Unix(), 10) + "\n" + hex.EncodeToString(digest[:])
	return webhook{
		headers(requestID, userID, at.Unix(), hex.EncodeToString(ed25519.Sign(s.private, []byte(message)))),
		[]byte(body), at,
	}
}

// fixed is a host that always answers with one set.
func fixed(set []byte) *jwksHost { return &jwksHost{set: func() ([]byte, error) { return set, nil }} }

// A vector made when this was designed, and what another implementation has signed since.
func TestVerifyRecorded(t *testing.T) {
	set, callbacks := recorded(t)
	const vector = "82a9dd44d1960ed3cc6cc539bad38309eb955182e8b528149b8d2b3c35ba69e2c046d6b5803ead42d51d735ea14fc28b25fb2e731482fa93e735f7fcc0969f02"
	if got := callbacks["ok"].header.Get("X-Fal-Webhook-Signature"); got != vector {
		t.Errorf("the vector's signature is %s", got)
	}
	if len(callbacks) != 8 {
		t.Errorf("%d callbacks", len(callbacks))
	}
	v := verifier(t, "user_abc", fixed(set))
	for name, w := range callbacks {
		if err := v.Verify(t.Context(), w.header, w.body, w.at); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		w.body = append(w.body, ' ')
		if err := v.Verify(t.Context(), w.header, w.body, w.at); !errors.Is(err, provider.ErrCallbackSignature) {
			t.Errorf("%s, with one byte more: %v", name, err)
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	set, callbacks := recorded(t)
	good := callbacks["ok"]
	seconds := func(n int) func(*webhook) {
		return func(w *webhook) { w.at = w.at.Add(time.Duration(n) * time.Second) }
	}
	change := func(name string, value ...string) func(*webhook) {
		return func(w *webhook) { w.header[http.CanonicalHeaderKey(name)] = value }
	}
	signature := good.header.Get("X-Fal-Webhook-Signature")
	for _, row := range []struct {
		name   string
		change func(*webhook)
		want   error
	}{
		{"as it was sent", func(*webhook) {}, nil},
		{"300 s old", seconds(300), nil},
		{"301 s old", seconds(301), provider.ErrCallbackTime},
		{"300 s early", seconds(-300), nil},
		{"301 s early", seconds(-301), provider.ErrCallbackTime},
		{"a year old", seconds(365 * 24 * 3600), provider.ErrCallbackTime},
		{"time of int64's end", change(headerTimestamp, "9223372036854775807"), provider.ErrCallbackTime},
		{"negative time", change(headerTimestamp, "-1700000000"), provider.ErrCallbackSignature},
		{"time with a sign", change(headerTimestamp, "+1700000000"), provider.ErrCallbackSignature},
		{"time with a zero", change(headerTimestamp, "01700000000"), provider.ErrCallbackSignature},
		{"time with a point", change(headerTimestamp, "1700000000.0"), provider.ErrCallbackSignature},
		{"time in words", change(headerTimestamp, "now"), provider.ErrCallbackSignature},
		{"a second later", change(headerTimestamp, "1700000001"), provider.ErrCallbackSignature},
		{"no time", change(headerTimestamp), provider.ErrCallbackSignature},
		{"two times", change(headerTimestamp, "1700000000", "1700000000"), provider.ErrCallbackSignature},
		{"no request", change(headerRequestID), provider.ErrCallbackSignature},
		{"empty request", change(headerRequestID, ""), provider.ErrCallbackSignature},
		{"another request", change(headerRequestID, "019e1951-c778-7120-9c82-16efcf40ec83"), provider.ErrCallbackSignature},
		{"two requests", change(headerRequestID, "a", "b"), provider.ErrCallbackSignature},
		{"line end in the request", change(headerRequestID, "a\nb"), provider.ErrCallbackSignature},
		{"long request", change(headerRequestID, strings.Repeat("a", 201)), provider.ErrCallbackSignature},
		{"another account", change(headerUserID, "user_xyz"), provider.ErrCallbackAccount},
		{"two accounts", change(headerUserID, "user_abc", "user_abc"), provider.ErrCallbackSignature},
		{"no account", change(headerUserID), provider.ErrCallbackSignature},
		{"no signature", change(headerSignature), provider.ErrCallbackSignature},
		{"empty signature", change(headerSignature, ""), provider.ErrCallbackSignature},
		{"two signatures", change(headerSignature, signature, signature), provider.ErrCallbackSignature},
		{"signature cut", change(headerSignature, signature[:126]), provider.ErrCallbackSignature},
		{"signature of odd length", change(headerSignature, signature[:127]), provider.ErrCallbackSignature},
		{"signature too long", change(headerSignature, signature+"00"), provider.ErrCallbackSignature},
		{"signature in capitals", change(headerSignature, strings.ToUpper(signature)), provider.ErrCallbackSignature},
		{"signature of zeros", change(headerSignature, strings.Repeat("0", 128)), provider.ErrCallbackSignature},
		{
			"signature of another body", change(headerSignature, callbacks["no body"].header.Get(headerSignature)),
			provider.ErrCallbackSignature,
		},
		{
			"other body", func(w *webhook) { w.body = bytes.Replace(w.body, []byte("OK"), []byte("KO"), 1) },
			provider.ErrCallbackSignature,
		},
		{"no body", func(w *webhook) { w.body = nil }, provider.ErrCallbackSignature},
	} {
		w := good.clone()
		row.change(&w)
		v := verifier(t, "user_abc", fixed(set))
		if err := v.Verify(t.Context(), w.header, w.body, w.at); !errors.Is(err, row.want) ||
			(row.want == nil) != (err == nil) {
			t.Errorf("%s: %v, want %v", row.name, err, row.want)
		}
	}
}

// Without a pin fal's signature alone decides, whoever it was made for.
func TestVerifyAnyAccount(t *testing.T) {
	fal := newSigner("fal")
	w := fal.sign("r", "user_of_somebody_else", time.Now(), `{}`)
	if err := verifier(t, "", fixed(jwks(fal))).Verify(t.Context(), w.header, w.body, w.at); err != nil {
		t.Error(err)
	}
	if err := verifier(t, "user_abc", fixed(jwks(fal))).Verify(t.Context(), w.header, w.body, w.at); !errors.Is(err,
		provider.ErrCallbackAccount) {
		t.Errorf("%v", err)
	}
}

// No change of one byte anywhere in what is signed or in the signature is accepted.
func TestVerifyMutations(t *testing.T) {
	set, callbacks := recorded(t)
	v := verifier(t, "", fixed(set))
	random := rand.New(rand.NewPCG(1, 2))
	names := []string{headerRequestID, headerUserID, headerTimestamp, headerSignature}
	accepted, n := 0, 2000
	for i := range n {
		w := callbacks["error"].clone()
		if at := i % (len(names) + 1); at < len(names) {
			value := []byte(w.header.Get(names[at]))
			value[random.IntN(len(value))] ^= byte(1 + random.IntN(255))
			w.header[names[at]] = []string{string(value)}
		} else {
			w.body[random.IntN(len(w.body))] ^= byte(1 + random.IntN(255))
		}
		if v.Verify(t.Context(), w.header, w.body, w.at) == nil {
			accepted++
		}
	}
	if accepted != 0 {
		t.Errorf("%d of %d mutations accepted", accepted, n)
	}
}

// Only what fal's key has signed is ever accepted, whatever the headers hold.
func FuzzVerify(f *testing.F) {
	set, callbacks := recorded(f)
	v, err := NewVerifier(VerifierOptions{Transport: fixed(set)})
	if err != nil {
		f.Fatal(err)
	}
	for _, w := range callbacks {
		f.Add(w.header.Get(headerRequestID), w.header.Get(headerUserID), w.header.Get(headerTimestamp),
			w.header.Get(headerSignature), w.body)
	}
	f.Fuzz(func(t *testing.T, requestID, userID, timestamp, signature string, body []byte) {
		h := http.Header{
			headerRequestID: {requestID}, headerUserID: {userID}, headerTimestamp: {timestamp},
			headerSignature: {signature},
		}
		seconds, _ := strconv.ParseInt(timestamp, 10, 64)
		if v.Verify(context.Background(), h, body, time.Unix(seconds, 0)) != nil {
			return
		}
		for _, w := range callbacks {
			if bytes.Equal(w.body, body) && requestID == w.header.Get(headerRequestID) && userID == w.header.Get(headerUserID) &&
				timestamp == w.header.Get(headerTimestamp) {
				return
			}
		}
		t.Errorf("accepted: %q %q %q %q %q", requestID, userID, timestamp, signature, body)
	})
}

func TestNewVerifierRefuses(t *testing.T) {
	for _, row := range []struct {
		o    VerifierOptions
		want string
	}{
		{VerifierOptions{JWKSURL: "http://rest.fal.ai/jwks"}, "fal: JWKS URL: "},
		{VerifierOptions{JWKSURL: "nowhere"}, "fal: JWKS URL: "},
		{VerifierOptions{UserID: "a\nb"}, "fal: user id: "},
		{VerifierOptions{UserID: strings.Repeat("a", 201)}, "fal: user id: "},
	} {
		if _, err := NewVerifier(row.o); err == nil || !strings.HasPrefix(err.Error(), row.want) {
			t.Errorf("%+v: %v, want %s", row.o, err, row.want)
		}
	}
}
