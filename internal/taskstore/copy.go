package taskstore

import (
	"context"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/task"
)

// CopyIn stores a record as it is, with its heartbeat and no event: for measurements, on a store that nobody spends on.
// It fails with bus.ErrConflict where the task is known.
func CopyIn(ctx context.Context, b *bus.Bus, t events.Task) error {
	_, err := b.Put(ctx, bus.Put{Task: t, Heartbeat: task.HeartbeatInterval(t)})
	return err
}
