package minimax

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"reelay/internal/provider"
)

const (
	// maxHandshakeBytes is the longest body in which a challenge is searched for.
	maxHandshakeBytes = 4 << 10
	// maxChallengeBytes is the longest challenge that is answered.
	maxChallengeBytes = 256
)

// Handshake answers MiniMax's question whether a callback URL is wanted: a body with "challenge", whose value has to
// come back within 3 s (https://platform.minimax.io/docs/api-reference/video-generation-t2v, callback_url). It returns
// nil for any other body. It fails with provider.ErrCallbackChallenge when the value is neither a number nor a short
// printable text: what a stranger may have us say is kept small.
func Handshake(body []byte) (answer []byte, err error) {
	if len(body) > maxHandshakeBytes {
		return nil, nil
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil || fields["challenge"] == nil {
		return nil, nil
	}
	challenge := fields["challenge"]
	if len(challenge) > maxChallengeBytes {
		return nil, fmt.Errorf("%w: %d bytes are over the limit of %d", provider.ErrCallbackChallenge, len(challenge),
			maxChallengeBytes)
	}
	var number json.Number
	var text string
	switch {
	case challenge[0] == '"' && json.Unmarshal(challenge, &text) == nil:
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
			return nil, fmt.Errorf("%w: the text has characters that are not printable", provider.ErrCallbackChallenge)
		}
		challenge, _ = json.Marshal(text) // in one form, and harmless should anyone take it for HTML
	case challenge[0] != '"' && json.Unmarshal(challenge, &number) == nil && number != "":
		// As it was written: a number may be beyond float64.
	default:
		return nil, fmt.Errorf("%w: neither a number nor a text", provider.ErrCallbackChallenge)
	}
	return bytes.Join([][]byte{[]byte(`{"challenge":`), challenge, []byte(`}`)}, nil), nil
}
