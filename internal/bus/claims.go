package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
)

// ClaimHolder names an attempt in claims.
func ClaimHolder(k events.Key, attempt int) string { return fmt.Sprintf("%s.%d", k, attempt) }

// Claim reserves a provider id of a lane for one attempt and returns who holds it: by, or whoever was first. It may be
// repeated by the same attempt. After an error the claim may or may not have been made.
//
// A claim is never given back: an id goes to one attempt at most, also when its taker crashes before its record tells.
func (b *Bus) Claim(ctx context.Context, lane, providerID, by string) (holder string, err error) {
	writeCtx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	err = b.faults.Do(writeCtx, "claim", func() error {
		_, err := b.js.Publish(writeCtx, events.ClaimSubject(lane, providerID), []byte(by))
		return err
	})
	var api *jetstream.APIError
	switch {
	case err == nil:
		return by, nil
	case !errors.As(err, &api) || api.ErrorCode != codePerSubjectFull:
		return "", fmt.Errorf("claim of %s at %s: %w", providerID, lane, err)
	}
	if holder, err = b.Claimant(ctx, lane, providerID); err == nil && holder == "" {
		err = fmt.Errorf("claim of %s at %s: refused, and nobody holds it", providerID, lane)
	}
	return holder, err
}

// Claimant returns the attempt that holds a provider id of a lane, "" if none does.
func (b *Bus) Claimant(ctx context.Context, lane, providerID string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	s, err := b.js.Stream(ctx, events.StreamClaims)
	if err != nil {
		return "", fmt.Errorf("stream %s: %w", events.StreamClaims, err)
	}
	msg, err := s.GetLastMsgForSubject(ctx, events.ClaimSubject(lane, providerID))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("claim of %s at %s: %w", providerID, lane, err)
	}
	return string(msg.Data), nil
}
