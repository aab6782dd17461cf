//go:build unix

package chaos

import (
	"fmt"
	"slices"
	"strings"

	"reelay/events"
	"reelay/internal/emulator"
)

// WebhookFigures are what became of the webhooks of a run, by the ledgers and the records.
type WebhookFigures struct {
	// Posted counts the tries, Accepted those that were answered with 2xx, the handed-over handshakes not among them.
	Posted, Accepted int
	// Ended counts how the webhooks have ended; those that are still tried are not among them.
	Ended map[string]int
	// Forged counts the forgeries that were posted, ForgedAccepted those that were accepted although no signature covered
	// them.
	Forged, ForgedAccepted int
	// Met counts the tasks, or for what comes at random the webhooks, that have met a fault.
	Met map[emulator.Fault]int
	// FoundByCallback counts the tasks whose provider id a callback has given, BeforeReply those among them that never
	// were in doubt: the callback was there before the reply.
	FoundByCallback, BeforeReply int
	// ResolvedBy counts by source the tasks that were in doubt and whose provider id was found: callback, list, reply,
	// person.
	ResolvedBy map[events.EvidenceSource]int
	// ChallengeFailed counts the tasks that MiniMax refused because their callback URL did not answer its challenge.
	ChallengeFailed int
}

// String returns the figures in two lines.
func (r WebhookFigures) String() string {
	return fmt.Sprintf("webhooks posted %d, accepted %d, ended %v; forgeries %d, accepted %d; met %v\n"+
		"ids found by callback %d, of these before any doubt %d; in doubt and found by %v; refused because the webhook "+
		"service did not answer %d",
		r.Posted, r.Accepted, r.Ended, r.Forged, r.ForgedAccepted, r.Met, r.FoundByCallback, r.BeforeReply, r.ResolvedBy,
		r.ChallengeFailed)
}

// WebhookFigures counts.
func (e Evidence) WebhookFigures() WebhookFigures {
	r := WebhookFigures{
		Ended: map[string]int{}, Met: map[emulator.Fault]int{},
		ResolvedBy: map[events.EvidenceSource]int{},
	}
	paid := e.paid()
	for _, j := range e.Jobs {
		for _, d := range j.Deliveries {
			r.Posted += d.Tries
			r.Accepted += d.Accepted
			r.Forged += d.Forged
			r.ForgedAccepted += d.Fooled
			if d.Ended != "" {
				r.Ended[d.Ended]++
			}
			if d.Ended == emulator.Dropped {
				r.Met[emulator.Drop]++
			}
			if d.Accepted > 1 {
				r.Met[emulator.Duplicate]++
			}
		}
	}
	for _, a := range e.Asks {
		tried := func(j emulator.Job) bool {
			return slices.ContainsFunc(j.Deliveries, func(d emulator.Delivery) bool { return d.Tries > 0 })
		}
		if a.CallbackFault != "" && slices.ContainsFunc(paid[a.Key.ID], tried) {
			r.Met[a.CallbackFault]++
		}
		t := e.Records[a.Key]
		if t.Error != nil && strings.Contains(t.Error.Message, "callback_url") {
			r.ChallengeFailed++
		}
		doubted := slices.ContainsFunc(e.Stories[a.Key], func(ev events.Event) bool { return ev.Type == events.EventInDoubt })
		source := foundBy(t)
		switch {
		case doubted && source != "":
			r.ResolvedBy[source]++
		case source == events.SourceCallback:
			r.BeforeReply++
		}
		if source == events.SourceCallback {
			r.FoundByCallback++
		}
	}
	return r
}

// foundBy returns the source of the evidence that gave a task its provider id; empty if it has none.
func foundBy(t events.Task) events.EvidenceSource {
	for _, a := range t.Attempts {
		if a.Outcome != events.AttemptAccepted || a.ProviderID != t.ProviderID || a.OutcomeAt == nil {
			continue
		}
		for _, ev := range a.Evidence {
			if ev.At.Equal(*a.OutcomeAt) {
				return ev.Source
			}
		}
	}
	return ""
}

// missed returns the faults of webhooks that no task has met.
func (r WebhookFigures) missed() []string {
	var missing []string
	want := append(append(falFaults(), minimaxFaults()...), emulator.Drop, emulator.Duplicate)
	slices.Sort(want)
	for _, f := range slices.Compact(want) {
		if r.Met[f] == 0 {
			missing = append(missing, "void: no webhook met "+string(f))
		}
	}
	if r.FoundByCallback == 0 {
		missing = append(missing, "void: no callback has given an id")
	}
	return missing
}

// macs returns the secrets of all callback URLs that the providers know.
func (e Evidence) macs() map[string]bool {
	all := map[string]bool{}
	for _, j := range e.Jobs {
		if j.Correlation != "" {
			all[j.Correlation[strings.LastIndexByte(j.Correlation, '/')+1:]] = true
		}
	}
	return all
}
