package sim_test

import (
	"maps"
	"slices"
	"strings"

	"reelay/events"
	"reelay/internal/allinone"
)

// deaths names the failpoints of the archiver and the media service, which the seeds do not have, and those at which the
// submitter hands work to the latter. A killer has the service die at each, in this order.
func deaths() map[string][]string {
	return map[string][]string{
		allinone.Archiver: {"put/done", "file-lease", "publish/stored", "handle/archiver", "answer/archiver", "put/storing"},
		allinone.Media: {
			"put/running", "publish/progress", "object", "put/done", "publish/completed", "artifact", "handle/media", "answer/media",
		},
		allinone.Submitter: {"work", "put/submitting", "put/provider_queued"},
	}
}

// unlisted returns those of some failpoints that neither table has.
func unlisted(reached map[string]bool) []string {
	listed := slices.Concat(append(slices.Collect(maps.Values(deaths())), points())...)
	return slices.DeleteFunc(slices.Sorted(maps.Keys(reached)), func(p string) bool { return slices.Contains(listed, p) })
}

// points names every failpoint of the services that the seeds have, each of which a run of many seeds has to crash at.
func points() []string {
	all := []string{
		"send", "object", "claim", "watch", "artifact", "epoch", "lease", "memory", "forecast", "schema", "upload", "health", "remove/" + events.StreamPolls,
		"journal.begin", "journal.gate", "journal.answer", "journal.done",
	}
	for _, p := range []events.Phase{
		events.PhaseWaiting, events.PhaseSubmitting, events.PhaseInDoubt, events.PhaseParked, events.PhaseProviderQueued,
		events.PhaseRunning, events.PhaseCancelling, events.PhaseFetching, events.PhaseDone,
	} {
		all = append(all, "put/"+string(p))
	}
	for _, e := range []events.EventType{
		events.EventQueued, events.EventSubmitted, events.EventProgress, events.EventInDoubt, events.EventCompleted,
		events.EventFailed, events.EventCancelled, events.EventLateResult, events.EventRejected, events.EventPaused,
		events.EventResumed,
	} {
		all = append(all, "publish/"+string(e))
	}
	for _, c := range []string{
		events.ConsumerIntake, events.ConsumerHeartbeat, events.ConsumerDeadRequests, events.ConsumerAdvisories,
		events.ConsumerCallbacks, "poller-fal", "poller-minimax",
	} {
		all = append(all, "handle/"+c, "answer/"+c)
	}
	for _, c := range []string{
		events.ConsumerHeartbeat, events.ConsumerDeadRequests, events.ConsumerAdvisories, events.ConsumerCallbacks,
		"poller-fal", "poller-minimax", "y",
	} {
		all = append(all, "dead/"+c)
	}
	return all
}

// missing returns the points at which no service has died, and those that were reached and are not in the table.
func missing(hits map[string]int) (alive, unknown []string) {
	for _, p := range points() {
		if hits["died at "+p] == 0 {
			alive = append(alive, p)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(hits)) {
		if p, ok := strings.CutPrefix(name, "reached "); ok && !slices.Contains(points(), p) {
			unknown = append(unknown, p)
		}
	}
	return alive, unknown
}
