package submitter

import (
	"testing"

	"reelay/events"
	"reelay/internal/bus"
)

// TestSwitchNews: a watch that is begun again brings what is known once more; a person has said nothing new by that.
func TestSwitchNews(t *testing.T) {
	w := newSwitches()
	on := &events.LanePause{By: "ann"}
	rows := []struct {
		revision uint64
		news     bool
	}{{3, true}, {3, false}, {2, false}, {4, true}}
	for _, row := range rows {
		if got := w.put(bus.LaneUpdate{Lane: "fal", Revision: row.revision, Pause: on}); got != row.news {
			t.Errorf("revision %d is news: %v", row.revision, got)
		}
	}
}
