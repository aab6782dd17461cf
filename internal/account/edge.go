package account

import (
	"log/slog"
	"net/http"

	"reelay/internal/provider"
	"reelay/internal/provider/fal"
	"reelay/internal/provider/minimax"
)

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
func EdgeLanes(o EdgeOptions) ([]provider.CallbackLane, error) {
	v, err := fal.NewVerifier(fal.VerifierOptions{JWKSURL: o.FalJWKSURL, UserID: o.FalUserID, Transport: o.Transport})
	if err != nil {
		return nil, err
	}
	if o.FalUserID == "" && !o.Emulated {
		o.Log.Warn("REELAY_FAL_USER_ID is not set: webhooks that fal signed for other customers are told from ours by their URL alone")
	}
	return []provider.CallbackLane{
		{Name: Fal, Provider: Fal, Verifier: v},
		{Name: Minimax, Provider: Minimax, Handshake: minimax.Handshake},
	}, nil
}
