package journal

import (
	"slices"

	"reelay/events"
)

// Known is all that a journal remembers, by task.
type Known map[events.Key][]Entry

// Known returns all that is remembered, that which is done as well.
func (j *Journal) Known() Known {
	j.mu.Lock()
	defer j.mu.Unlock()
	all := Known{}
	for _, e := range j.entries {
		all[e.Key()] = append(all[e.Key()], *e)
	}
	return all
}

// AcceptedSince returns an accepted attempt of a task with that number or a later one; false where there is none.
func (k Known) AcceptedSince(key events.Key, attempt int) (Entry, bool) {
	i := slices.IndexFunc(k[key], func(e Entry) bool { return e.Attempt >= attempt && e.accepted() })
	if i < 0 {
		return Entry{}, false
	}
	return k[key][i], true
}

// Missing returns the entries that are done and whose outcome t does not have: it is as it was in a copy of its store.
func (k Known) Missing(t events.Task) (missing []Entry) {
	last := t.Attempt()
	switch t.Phase {
	case events.PhaseWaiting, events.PhaseSubmitting, events.PhaseInDoubt, events.PhaseParked:
		for _, e := range k[t.Key()] {
			open := last != nil && last.Owner == e.Owner && e.Answer != nil
			if e.Done && (open || e.accepted() && (last == nil || e.Attempt > last.N)) {
				missing = append(missing, e)
			}
		}
	}
	return missing
}

func (e Entry) accepted() bool { return e.Answer != nil && len(e.Answer.Ref) > 0 }
