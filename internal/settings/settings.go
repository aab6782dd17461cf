// Package settings writes what operators set.
//
// Promise: what somebody else has set meanwhile is never overwritten unseen, if the writer says what it knows.
package settings

import (
	"context"
	"errors"

	"reelay/events"
	"reelay/internal/api"
	"reelay/internal/bus"
)

// tries is how often a setting is written that is to take the place of whatever is there, while others change it.
const tries = 5

// Write writes v to a key, nil to delete it: if a revision is given, only while the key still has that one, 0 being none.
// It returns the new revision. Its error is one for the client: a conflict, or a timeout after which the setting may be
// written.
func Write(ctx context.Context, b *bus.Bus, bucket, key string, v any, revision *uint64) (uint64, error) {
	settings := b.Bucket(bucket, "setting")
	data, err := events.Marshal(v)
	if err != nil {
		return 0, err
	}
	for try := 1; ; try++ {
		written, err := once(ctx, settings, key, data, v == nil, revision)
		switch {
		case err == nil:
			return written, nil
		case !errors.Is(err, bus.ErrConflict):
			return 0, api.TimedOut("it is not known whether the setting is written: %v; read it, and send it again if it is not",
				err)
		case revision != nil || try == tries:
			return 0, api.Conflict(events.CodeConflict, "revision",
				"somebody else has changed %s in %s meanwhile; read it and try again", key, bucket)
		}
	}
}

// once writes if the key has the revision, or, if none is given, that which it has now. It fails with bus.ErrConflict,
// or leaves open whether it has written.
func once(ctx context.Context, settings bus.Bucket, key string, data []byte, remove bool, revision *uint64) (uint64, error) {
	var known uint64
	if revision != nil && *revision != 0 {
		known = *revision
	} else {
		e, err := settings.Get(ctx, key)
		if err != nil {
			return 0, err
		}
		if revision != nil && e.Present {
			return 0, bus.ErrConflict
		}
		known = e.Revision // of the marker, where a value was
	}
	if remove {
		return 0, settings.Delete(ctx, key, known)
	}
	return settings.Update(ctx, key, data, known, 0)
}
