package fal

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"sync"
)

// keys sign webhooks: the newest does, the one before it is still published.
type keys struct {
	mu  sync.Mutex
	all []ed25519.PrivateKey // newest first, at most two
}

// rotate makes another key. Keys are in memory only, so that a restart is a rotation as well.
func (k *keys) rotate() {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.all = append([]ed25519.PrivateKey{private}, k.all[:min(1, len(k.all))]...)
}

// sign signs a webhook as fal does, in hex: an Ed25519 signature of the id of the request, that of the customer, the
// time in seconds and the SHA-256 of the body in hex, on a line each.
func (k *keys) sign(requestID, userID, timestamp string, body []byte) string {
	k.mu.Lock()
	private := k.all[0]
	k.mu.Unlock()
	sum := sha256.Sum256(body)
	message := requestID + "\n" + userID + "\n" + timestamp + "\n" + hex.EncodeToString(sum[:])
	return hex.EncodeToString(ed25519.Sign(private, []byte(message)))
}

// ServeHTTP writes the public keys as a JWKS.
func (k *keys) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	type jwk struct {
		Type  string `json:"kty"`
		Curve string `json:"crv"`
		X     string `json:"x"`
		ID    string `json:"kid"`
	}
	set := struct {
		Keys []jwk `json:"keys"`
	}{Keys: []jwk{}}
	k.mu.Lock()
	for _, private := range k.all {
		public := private.Public().(ed25519.PublicKey)
		sum := sha256.Sum256(public)
		set.Keys = append(set.Keys,
			jwk{"OKP", "Ed25519", base64.RawURLEncoding.EncodeToString(public), hex.EncodeToString(sum[:8])})
	}
	k.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "max-age=86400")
	_ = json.NewEncoder(w).Encode(set)
}
