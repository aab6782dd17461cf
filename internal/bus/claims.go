package bus

import (
	"context"
	"fmt"

	"reelay/events"
)

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
	switch {
	case err == nil:
		return by, nil
	case !isOccupied(err):
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
	claim, err := b.last(ctx, events.StreamClaims, events.ClaimSubject(lane, providerID))
	if err != nil {
		return "", fmt.Errorf("claim of %s at %s: %w", providerID, lane, err)
	}
	return string(claim.data), nil
}
