package provider

import "errors"

// Why a callback is refused.
var (
	// ErrHookSignature says that a callback does not carry one good signature of the provider.
	ErrHookSignature = errors.New("no good signature of the provider")
	// ErrHookAccount says that the provider signed it for another account than ours.
	ErrHookAccount = errors.New("signed for another account")
	// ErrHookTime says that it was signed too long ago, or that the two clocks differ by too much.
	ErrHookTime = errors.New("signed too long ago, or in the future")
	// ErrHookKeys says that no callback can be verified now, because the provider's keys cannot be had.
	ErrHookKeys = errors.New("the provider's keys cannot be had")
	// ErrHookChallenge says that a handshake asks for an answer that no honest one needs.
	ErrHookChallenge = errors.New("not a challenge that is answered")
)
