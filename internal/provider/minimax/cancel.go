package minimax

import (
	"context"
	"encoding/json"

	"reelay/internal/provider"
)

// Cancel asks MiniMax to cancel the task. V1 has no cancel and is not called. V2 can cancel only what is queued: any
// other state is CancelTooLate and nothing is sent that could delete a result. An error of code "record_deleted" says
// that the task ended in the moment between, so that the cancel deleted its record, result included.
func (d *Driver) Cancel(ctx context.Context, ref json.RawMessage) (provider.CancelOutcome, error) {
	g, id, err := d.readRef(ref)
	if err != nil {
		return "", err
	}
	return g.cancel(ctx, d, id)
}
