package replicate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"reelay/events"
	"reelay/internal/provider"
	"reelay/internal/provider/jsonapi"
	"reelay/internal/secret"
)

// ReadCallback reads which prediction a webhook is about. It takes nothing else from it: the poll that follows shows the
// same, also where no secret was set by which the webhook could be verified. Its error is a *provider.Error.
func (d *Driver) ReadCallback(model string, body []byte) (provider.Callback, error) {
	bad := func(why string) (provider.Callback, error) {
		return provider.Callback{}, jsonapi.NewError(events.KindInternal, "bad_callback", why, provider.Reply{})
	}
	if len(body) > events.MaxCallbackBytes {
		return bad(fmt.Sprintf("%d bytes are over the limit of %d", len(body), events.MaxCallbackBytes))
	}
	p := jsonapi.Read(d.api.Redact(provider.Reply{Body: body}).Body)
	handle, err := d.Ref(model, p.Text("id"))
	if err != nil {
		return bad(err.Error())
	}
	state := states[p.Text("status")]
	ended := state == provider.Succeeded || state == provider.Failed || state == provider.Cancelled
	return provider.Callback{ID: p.Text("id"), Ref: handle, Ended: ended}, nil
}

// A Verifier tells Replicate's own webhooks from all others, by the secret of the account. It is safe for concurrent use.
type Verifier struct{ webhooks *standardwebhooks.Webhook }

// NewVerifier returns one for a secret as GET /v1/webhooks/default/secret shows it: whsec_ and base64. It fails for one that
// is none, and does not repeat it.
func NewVerifier(key secret.Value) (*Verifier, error) {
	webhooks, err := standardwebhooks.NewWebhook(key.Reveal())
	if err != nil || strings.TrimPrefix(key.Reveal(), "whsec_") == "" {
		return nil, errors.New("the secret of webhooks is not whsec_ and base64")
	}
	return &Verifier{webhooks}, nil
}

// maxHeaderBytes bounds each of the headers that are signed; signatures are several while a secret is replaced.
const maxHeaderBytes = 2 << 10

// Verify accepts a webhook with one good signature of the account that is at most five minutes from now. It fails with
// provider.ErrCallbackSignature or provider.ErrCallbackTime.
func (v *Verifier) Verify(_ context.Context, h http.Header, body []byte, _ time.Time) error {
	for _, name := range []string{
		standardwebhooks.HeaderWebhookID, standardwebhooks.HeaderWebhookTimestamp, standardwebhooks.HeaderWebhookSignature,
	} {
		if all := h.Values(name); len(all) != 1 || all[0] == "" || len(all[0]) > maxHeaderBytes {
			return fmt.Errorf("%w: header %s is missing, repeated or too long", provider.ErrCallbackSignature, name)
		}
	}
	err := v.webhooks.Verify(body, h)
	switch {
	case errors.Is(err, standardwebhooks.ErrMessageTooOld), errors.Is(err, standardwebhooks.ErrMessageTooNew):
		return provider.ErrCallbackTime
	case err != nil:
		return fmt.Errorf("%w: %w", provider.ErrCallbackSignature, err)
	}
	return nil
}

// Format prints nothing of the Verifier.
func (v *Verifier) Format(s fmt.State, _ rune) {
	_, _ = io.WriteString(s, "Replicate's webhook signatures")
}
