package dispatch

import (
	"testing"

	"reelay/events/bucket"
)

// TestPauseKnown: a watch that is begun again brings what is known once more; a person has said nothing new by that.
func TestPauseKnown(t *testing.T) {
	var p Pauses
	rows := []struct {
		revision uint64
		changed  bool
	}{{3, true}, {3, false}, {2, false}, {4, true}}
	for _, row := range rows {
		if got := p.Put("fal", bucket.LanePause{By: "ann"}, row.revision); got != row.changed {
			t.Errorf("revision %d is new: %v", row.revision, got)
		}
	}
}
