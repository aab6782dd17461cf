package provider

import "errors"

// The reasons for which a callback is refused.
var (
	// ErrCallbackSignature says that a callback does not carry one good signature of the provider.
	ErrCallbackSignature = errors.New("no good signature of the provider")
	// ErrCallbackAccount says that the provider signed it for another account than ours.
	ErrCallbackAccount = errors.New("signed for another account")
	// ErrCallbackTime says that it was signed too long ago, or that the two clocks differ by too much.
	ErrCallbackTime = errors.New("signed too long ago, or in the future")
	// ErrCallbackKeys says that no callback can be verified now, because the provider's keys are not available.
	ErrCallbackKeys = errors.New("the provider's keys cannot be had")
	// ErrCallbackChallenge says that a handshake asks for an answer that no honest one needs.
	ErrCallbackChallenge = errors.New("not a challenge that is answered")
)
