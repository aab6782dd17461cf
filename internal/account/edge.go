package account

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"reelay/internal/provider/fal"
	"reelay/internal/provider/minimax"
)

// An EdgeLane is what the webhook edge needs of a lane. No API key is in it.
type EdgeLane struct {
	Lane     string
	Provider string
	// Verifier checks signatures; nil for a provider that signs nothing.
	Verifier CallbackVerifier
	// Handshake answers a provider that asks whether a URL is wanted; nil for one that does not ask.
	Handshake func(body []byte) (answer []byte, err error)
}

// A CallbackVerifier tells a provider's own callbacks from others. Its errors are those of package provider.
type CallbackVerifier interface {
	Verify(ctx context.Context, header http.Header, body []byte, arrived time.Time) error
}

// EdgeOptions configure EdgeLanes.
type EdgeOptions struct {
	// FalUserID is our account at fal. Without it any account's webhooks pass, which is logged unless they are Emulated.
	FalUserID string
	Emulated  bool
	// FalJWKSURL is where fal's keys are; empty for fal's own.
	FalJWKSURL string
	// Transport fetches them; nil for the driver's own.
	Transport http.RoundTripper
	Log       *slog.Logger
}

// EdgeLanes returns the lanes of this build. The edge takes callbacks of all of them: their URLs tell which are ours.
func EdgeLanes(o EdgeOptions) ([]EdgeLane, error) {
	v, err := fal.NewVerifier(fal.VerifierOptions{JWKSURL: o.FalJWKSURL, UserID: o.FalUserID, Transport: o.Transport})
	if err != nil {
		return nil, err
	}
	if o.FalUserID == "" && !o.Emulated {
		o.Log.Warn("REELAY_FAL_USER_ID is not set: webhooks that fal signed for other customers are told from ours by their URL alone")
	}
	return []EdgeLane{
		{Lane: Fal, Provider: Fal, Verifier: v},
		{Lane: Minimax, Provider: Minimax, Handshake: minimax.Handshake},
	}, nil
}
