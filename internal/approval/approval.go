// Package approval signs questions about money. It keeps nothing: what was asked is in the state that the client of a
// question hands back, and an approval is used up by the task whose id it names, which is created once.
package approval

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"reelay/internal/secret"
)

// Life is how long a person may take to answer a question.
const Life = 15 * time.Minute

// A Signer signs questions and knows them again.
type Signer struct{ key secret.Value }

// NewSigner signs with the common key of all replicas, or with one of its own if that is empty: another replica then
// does not know its questions, and asks again.
func NewSigner(key secret.Value) Signer {
	if key.Empty() {
		key = secret.New(rand.Text())
	}
	return Signer{key}
}

// An Approval is what is asked for.
type Approval struct {
	// ID is that of the task, so that one approval is one task however often it is handed back.
	ID  string  `json:"id"`
	USD float64 `json:"usd"`
	// Expires is in seconds since 1970.
	Expires int64 `json:"expires"`
}

// Seal returns the state of a question. bound is all that it is bound to, such as the principal and the arguments.
func (s Signer) Seal(id string, usd float64, bound ...string) string {
	text, _ := json.Marshal(Approval{id, usd, time.Now().Add(Life).Unix()}) // texts and numbers, so that it cannot fail
	body := base64.RawURLEncoding.EncodeToString(text)
	return body + "." + s.mac(body, bound)
}

// Open returns what a state says that was sealed for the same, and has not expired.
func (s Signer) Open(state string, bound ...string) (a Approval, ok bool) {
	body, mac, _ := strings.Cut(state, ".")
	if !hmac.Equal([]byte(mac), []byte(s.mac(body, bound))) {
		return a, false
	}
	text, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil || json.Unmarshal(text, &a) != nil {
		return Approval{}, false
	}
	return a, time.Now().Unix() < a.Expires
}

func (s Signer) mac(body string, bound []string) string {
	sum := hmac.New(sha256.New, []byte(s.key.Reveal()))
	for _, part := range append([]string{body}, bound...) {
		fmt.Fprintf(sum, "%d:%s", len(part), part)
	}
	return base64.RawURLEncoding.EncodeToString(sum.Sum(nil))
}
