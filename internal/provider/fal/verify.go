package fal

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"reelay/internal/provider"
)

const (
	// DefaultJWKSURL is where fal publishes the keys that sign its webhooks.
	DefaultJWKSURL = "https://rest.fal.ai/.well-known/jwks.json"
	// SignatureWindow is how far the time of a signature may be from ours, either way
	// (https://fal.ai/docs/model-apis/inference/webhooks).
	SignatureWindow = 300 * time.Second

	headerRequestID = "X-Fal-Webhook-Request-Id"
	headerUserID    = "X-Fal-Webhook-User-Id"
	headerTimestamp = "X-Fal-Webhook-Timestamp"
	headerSignature = "X-Fal-Webhook-Signature"

	// maxHeaderBytes bounds each of the headers that are signed.
	maxHeaderBytes = 200
)

// VerifierOptions configure a Verifier.
type VerifierOptions struct {
	// JWKSURL is https, or http on a loopback address. Default: DefaultJWKSURL.
	JWKSURL string
	// UserID is the account whose webhooks are taken. Without one any account's are: fal signs for each of its customers,
	// who may name whatever URL they like.
	UserID string
	// Transport fetches the keys. Default: that of provider.NewTransport.
	Transport http.RoundTripper
}

// A Verifier tells fal's own webhooks from all others. It needs no API key and is safe for concurrent use.
type Verifier struct {
	userID string
	keys   *keySet
}

// NewVerifier checks the options and makes no call. Its errors name the option.
func NewVerifier(o VerifierOptions) (*Verifier, error) {
	if o.JWKSURL == "" {
		o.JWKSURL = DefaultJWKSURL
	}
	if err := provider.CheckBaseURL(o.JWKSURL); err != nil {
		return nil, fmt.Errorf("fal: JWKS URL: %w", err)
	}
	if len(o.UserID) > maxHeaderBytes || !printable(o.UserID) {
		return nil, fmt.Errorf("fal: user id: not up to %d printable characters", maxHeaderBytes)
	}
	if o.Transport == nil {
		o.Transport = provider.NewTransport(o.JWKSURL)
	}
	return &Verifier{userID: o.UserID, keys: newKeySet(o.JWKSURL, o.Transport)}, nil
}

// Verify accepts a webhook whose signature over the four headers' values and the SHA-256 of the raw body is good
// under one of fal's keys, that was signed within SignatureWindow of its arrival, and for our account. It fails with
// provider.ErrCallbackSignature, ErrHookTime, ErrHookAccount or, when fal's keys cannot be had, ErrHookKeys.
//
// A signature names no key, so all are tried. If none fits, the keys are fetched again, but not more than once a
// minute; what was signed later than that may be signed by a key that is not known yet, and fails with
// provider.ErrCallbackKeys, so that fal comes again.
func (v *Verifier) Verify(ctx context.Context, h http.Header, body []byte, arrived time.Time) error {
	s, err := readSigned(h)
	if err != nil {
		return err
	}
	if v.userID != "" && s.userID != v.userID {
		return provider.ErrCallbackAccount
	}
	if d := arrived.Unix() - s.timestamp; d > int64(SignatureWindow/time.Second) ||
		d < -int64(SignatureWindow/time.Second) {
		return fmt.Errorf("%w: %d s from now", provider.ErrCallbackTime, d)
	}
	message := s.message(body)
	keys, err := v.keys.current(ctx)
	if err != nil {
		return err
	}
	if verifiedBy(keys, message, s.signature) {
		return nil
	}
	keys, fetched := v.keys.newer(ctx, keys)
	switch {
	case verifiedBy(keys, message, s.signature):
		return nil
	case s.timestamp > fetched.Unix():
		return fmt.Errorf("%w: it may be signed by one that is newer than those of %s", provider.ErrCallbackKeys,
			fetched.UTC().Format(time.RFC3339))
	}
	return fmt.Errorf("%w: none of fal's %d keys has signed it", provider.ErrCallbackSignature, len(keys))
}

// Format prints nothing of the Verifier.
func (v *Verifier) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "fal's webhook signatures") }

// signed is what the headers of a webhook say.
type signed struct {
	requestID, userID string
	timestamp         int64
	signature         []byte
}

// readSigned reads the four headers, each of which must be there exactly once.
func readSigned(h http.Header) (s signed, err error) {
	values := map[string]string{}
	for _, name := range []string{headerRequestID, headerUserID, headerTimestamp, headerSignature} {
		all := h.Values(name)
		// What is signed is joined by line ends: a value with one in it could pass for two.
		if len(all) != 1 || all[0] == "" || len(all[0]) > maxHeaderBytes || !printable(all[0]) {
			return signed{}, fmt.Errorf("%w: header %s is missing, repeated or not of its form", provider.ErrCallbackSignature,
				name)
		}
		values[name] = all[0]
	}
	s.requestID, s.userID = values[headerRequestID], values[headerUserID]
	// The text is signed, so only the one way of writing a number is taken.
	if s.timestamp, err = strconv.ParseInt(values[headerTimestamp], 10, 64); err != nil ||
		strconv.FormatInt(s.timestamp, 10) != values[headerTimestamp] || s.timestamp < 0 {
		return signed{}, fmt.Errorf("%w: header %s is not a time in seconds", provider.ErrCallbackSignature, headerTimestamp)
	}
	text := values[headerSignature]
	// ed25519.Verify is only asked about signatures of the right length.
	if s.signature, err = hex.DecodeString(text); err != nil || len(s.signature) != ed25519.SignatureSize ||
		strings.ToLower(text) != text {
		return signed{}, fmt.Errorf("%w: header %s is not %d bytes in lower-case hex", provider.ErrCallbackSignature,
			headerSignature, ed25519.SignatureSize)
	}
	return s, nil
}

// message returns the text that fal signs.
func (s signed) message(body []byte) []byte {
	digest := sha256.Sum256(body)
	return fmt.Appendf(nil, "%s\n%s\n%d\n%x", s.requestID, s.userID, s.timestamp, digest)
}

func verifiedBy(keys []ed25519.PublicKey, message, signature []byte) bool {
	for _, key := range keys {
		if ed25519.Verify(key, message, signature) {
			return true
		}
	}
	return false
}

// printable reports whether s has nothing but visible ASCII characters and spaces.
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}
