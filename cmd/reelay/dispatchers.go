package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
)

// printDispatchers says of each lane which process sends its tasks, if any, and what the provider was seen to grant.
func (a *api) printDispatchers(ctx context.Context, w io.Writer, lanes []string) error {
	js, err := jetstream.New(a.nc)
	if err != nil {
		return fmt.Errorf("jetstream: %w", err)
	}
	kv, err := bounded(ctx, func(ctx context.Context) (jetstream.KeyValue, error) { return js.KeyValue(ctx, events.LeaseBucket) })
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil // no submitter has ever run here
	}
	if err != nil {
		return fmt.Errorf("bucket %s: %w", events.LeaseBucket, err)
	}
	now := time.Now()
	for _, lane := range lanes {
		var holder events.Holder
		var learned events.HandOver
		for key, v := range map[string]any{lane: &holder, events.HandOverKey(lane): &learned} {
			if err := readJSON(ctx, kv, key, v); err != nil {
				return fmt.Errorf("%s in %s: %w", key, events.LeaseBucket, err)
			}
		}
		for _, line := range describeDispatcher(holder, learned, now) {
			fmt.Fprintf(w, "%s %s\n", lane, line)
		}
	}
	return nil
}

// readJSON reads the value of a key; one that is not there changes nothing.
func readJSON(ctx context.Context, kv jetstream.KeyValue, key string, v any) error {
	entry, err := bounded(ctx, func(ctx context.Context) (jetstream.KeyValueEntry, error) { return kv.Get(ctx, key) })
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(entry.Value(), v)
}

// describeDispatcher says who sends the tasks of a lane and what was learned, one line each.
func describeDispatcher(h events.Holder, m events.HandOver, now time.Time) (lines []string) {
	if h.Name != "" {
		lines = append(lines, fmt.Sprintf("sent by %s for %s", clean(h.Name), short(max(0, now.Sub(h.Since)))))
	}
	for _, name := range slices.Sorted(maps.Keys(m.Groups)) {
		l, of := m.Groups[name], "learned for models "+clean(name)+": "
		if l.Rate.Limit > 0 {
			lines = append(lines, fmt.Sprintf("%s%d requests in a window", of, l.Rate.Limit))
		}
		if l.Concurrency.Limit > 0 {
			lines = append(lines, fmt.Sprintf("%s%d in flight", of, l.Concurrency.Limit))
		}
		if left := l.PausedUntil.Sub(now); left > 0 {
			lines = append(lines, of+"nothing is sent for "+short(left))
		}
	}
	return lines
}
