package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/internal/layout"
)

// StreamBytes is the most that each stream may hold, by its name; EveryStream counts for those that are not named.
type StreamBytes map[string]int64

// EveryStream is the key of StreamBytes for every stream that has none of its own.
const EveryStream = "*"

func (s StreamBytes) of(stream string) int64 {
	if n, ok := s[stream]; ok {
		return n
	}
	return s[EveryStream]
}

// provisionStream makes a stream if create is set, or mends one that exists, and returns what cannot be mended. It fails with
// ErrOtherBuild where the stream holds what this build would leave unread.
func (b *Bus) provisionStream(ctx context.Context, need layout.Need, create bool) ([]layout.Fault, error) {
	old, err := b.js.Stream(ctx, need.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) && create {
		// Several services may do this at once: creating the same stream twice is no error.
		_, err = b.js.CreateStream(ctx, need.Make(b.replicas, b.maxBytes.of(need.Name)))
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	info := old.CachedInfo()
	if foreign := need.Foreign(info.Config); foreign != "" {
		return nil, otherBuild(foreign)
	}
	if n := info.Config.Replicas; create && n < b.replicas {
		b.log.Warn("a stream has fewer replicas than were asked for, and keeps them until a person changes that",
			"stream", need.Name, "replicas", n, "wanted", b.replicas)
	}
	return b.mend(ctx, need, info)
}

// mend brings an existing stream to what is needed and leaves the operator's settings alone. It returns what it cannot
// mend.
func (b *Bus) mend(ctx context.Context, need layout.Need, info *jetstream.StreamInfo) (left []layout.Fault, err error) {
	wanted := need.Mend(info.Config)
	if !reflect.DeepEqual(wanted, info.Config) {
		for _, f := range need.Faults(info.Config) {
			if f.Evicts() && info.State.Msgs > 0 {
				b.log.Error("a limit by which the broker drops task records is taken off the stream; some may be lost",
					"stream", f.Stream, "setting", f.Setting, "was", f.Is)
				wanted.Metadata = withKey(wanted.Metadata, events.RecordsEvictedKey, layout.MarkEvicted(f, time.Now()))
			}
			if f.Mendable {
				b.log.Warn("a setting of a stream is mended", "stream", f.Stream, "setting", f.Setting, "was", f.Is, "is", f.Needed)
			}
		}
		made, err := b.js.UpdateStream(ctx, wanted)
		if err != nil {
			return nil, err
		}
		info = made.CachedInfo()
	}
	return need.Faults(info.Config), nil
}

func withKey(m map[string]string, key, value string) map[string]string {
	m = maps.Clone(m)
	if m == nil {
		m = map[string]string{}
	}
	m[key] = value
	return m
}

// Mend does to the streams what Open did, but for the task records: their stream is mended and never made anew, for
// what it held was paid for. It returns what it cannot mend, and an error for what it could not look at.
func (b *Bus) Mend(ctx context.Context) (left []layout.Fault, err error) {
	var all []error
	for _, need := range layout.All() {
		err := step(ctx, need.About, func(ctx context.Context) error {
			faults, err := b.provisionStream(ctx, need, need.Name != events.StreamTasks)
			left = append(left, faults...)
			return err
		})
		all = append(all, err)
	}
	return left, errors.Join(all...)
}

// enter notes the world of the task records, or fails with ErrOtherWorld where they are of another one, unless join is
// set. A service without lanes is of no world.
func (b *Bus) enter(ctx context.Context, world events.World, join bool) error {
	if world == "" {
		return nil
	}
	for {
		s, err := b.js.Stream(ctx, events.StreamTasks)
		if err != nil {
			return err
		}
		c := s.CachedInfo().Config
		switch is := events.World(c.Metadata[events.WorldKey]); {
		case is == world:
			return nil
		case is != "" && !join:
			return fmt.Errorf("%w: they are of the %s world, and this process is of the %s one; use another NATS account or store "+
				"directory, or join it on purpose with --join-world (REELAY_JOIN_WORLD=true)", ErrOtherWorld, is, world)
		case is != "":
			b.log.Warn("this process works on task records of the other world, as it was told to", "records", is, "process", world)
			return nil
		}
		c.Metadata = withKey(c.Metadata, events.WorldKey, string(world))
		if _, err := b.js.UpdateStream(ctx, c); err != nil {
			return err
		}
		// Read again: a service of the other world may have done the same.
	}
}

// AcceptEvicted takes the mark of lost records off the record stream.
func (b *Bus) AcceptEvicted(ctx context.Context) error {
	s, err := b.js.Stream(ctx, events.StreamTasks)
	if err != nil {
		return fmt.Errorf("stream %s: %w", events.StreamTasks, err)
	}
	c := s.CachedInfo().Config
	c.Metadata = maps.Clone(c.Metadata)
	delete(c.Metadata, events.RecordsEvictedKey)
	if _, err := b.js.UpdateStream(ctx, c); err != nil {
		return fmt.Errorf("stream %s: %w", events.StreamTasks, err)
	}
	return nil
}

func otherBuild(why string) error {
	return fmt.Errorf("%w (%s): let the tasks end with that build, or use another store directory", ErrOtherBuild, why)
}
