package poller

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"reelay/events"
	"reelay/internal/inputs"
	"reelay/internal/provider"
	"reelay/internal/task"
)

// How a submit in doubt is found again
//
// The provider's list is read, then every record. What the list shows is matched with the attempts that may own it,
// each id to one attempt and each attempt to one id, and never by a guess:
//
//   - An id that some record has already, or that another attempt has claimed, is taken.
//   - Requests of the same input are interchangeable: an attempt takes any free one, once no owner may still report a
//     reply that names it. The id is claimed first, so that two attempts cannot take one.
//   - Where the list shows no input, an id is taken only if it is the only free one of that shape, was made in the
//     very seconds of the submit, and no other attempt of the lane may own it. Else a person decides, with the ids in
//     the record.
//
// The list comes first because it then shows no request whose intent the records do not show.
//
// Limits: a request that another program made with the same account cannot be told apart. One of the same input is as
// good as ours; one of the same shape, within the same seconds, while ours was not accepted, would be taken for ours.

const (
	// A provider's clock may be clockBehind behind ours, and a request may reach it clockAhead after its intent (a
	// minute for the request, the rest for the clock).
	clockBehind = time.Minute
	clockAhead  = 3 * time.Minute
	// clockTolerance is how exactly the clocks must agree for a match by time alone.
	clockTolerance = 10 * time.Second
	// journalGrace is the time after its intent in which an attempt without a report may still be settled by its
	// owner's journal.
	journalGrace = 10 * time.Minute

	// maxListWait bounds one reading of a list.
	maxListWait = 2 * time.Minute
	// maxCandidates bounds the ids considered for one attempt; with more, a person decides.
	maxCandidates = 100
	// maxNamed bounds the ids that a note names.
	maxNamed = 10
)

// The results of a search, as the metric has them.
const (
	adopted   = "adopted"
	ambiguous = "ambiguous"
	notListed = "not_listed"
	failed    = "error"
)

// A searchResult is what one search has shown.
type searchResult struct {
	result string
	// id is the request to adopt, ref its handle.
	id  string
	ref json.RawMessage
	// complete says that the list was whole and nothing in it can be ours.
	complete bool
	note     string
}

// resolve searches for the attempt in doubt of t, if it is time to, and records the result, so that the schedule
// moves on in any case. It returns the record as it then is.
func (s *Service) resolve(ctx context.Context, t events.Task) (events.Task, error) {
	l := s.lanes[t.Lane]
	if l == nil || !l.Driver.Features(t.Model).List || !task.SearchDue(t, time.Now()) {
		return t, nil
	}
	f, err := s.search(ctx, l, t)
	if ctx.Err() != nil {
		return t, ctx.Err() // the service is stopping: the search says nothing
	}
	if err != nil {
		f = searchResult{result: failed, note: err.Error()}
	}
	attempt := t.Attempt().N
	var tr task.Trigger = task.Searched{
		Meta: s.meta(), Attempt: attempt, Complete: f.complete, Listings: listings, Note: f.note,
	}
	if f.result == adopted {
		tr = task.Accepted{Meta: s.meta(), Attempt: attempt, Ref: f.ref, ID: f.id, Source: events.SourceList, Note: f.note}
	}
	s.metrics.resolutions.WithLabelValues(l.Name, f.result).Inc()
	s.log.InfoContext(ctx, "searched for a submit in doubt", "task", t.Key(), "attempt", attempt, "result", f.result, "complete",
		f.complete, "note", f.note)
	c, err := s.store.Apply(ctx, t.Key(), tr)
	return c.Task, err
}

// search reads the provider's list and the records, and claims what is ours.
func (s *Service) search(ctx context.Context, l *lane, t events.Task) (searchResult, error) {
	input := t.Input
	if t.InputRef != "" {
		var err error
		if input, err = s.o.Bus.GetObject(ctx, t.InputRef); err != nil {
			return searchResult{}, fmt.Errorf("input could not be read: %w", err)
		}
	}
	mine := attempt{key: t.Key(), digest: t.InputDigest, Attempt: *t.Attempt()}
	from, to := mine.window()
	found, complete, err := list(ctx, l, t, input, from)
	if err != nil {
		return searchResult{}, fmt.Errorf("list could not be read: %w", err)
	}
	found = slices.DeleteFunc(found, func(f provider.Found) bool { return f.CreatedAt.After(to) })
	r, err := s.readRecords(ctx, l, t, mine)
	if err != nil {
		return searchResult{}, fmt.Errorf("records could not be read: %w", err)
	}
	free := slices.DeleteFunc(slices.Clone(found), func(f provider.Found) bool { return r.taken[f.ID] })
	if len(free) > maxCandidates {
		return searchResult{result: ambiguous, note: named("too many candidates", free)}, nil
	}
	seen := fmt.Sprintf("%d candidates in the list, %d of them free", len(found), len(free))
	if free, err = s.unclaimed(ctx, l, mine, free); err != nil {
		return searchResult{}, err
	}
	seen += fmt.Sprintf(", %d unclaimed", len(free))
	pool, why := r.choose(mine, free, complete)
	for _, f := range pool {
		ref, err := l.Driver.Ref(t.Model, f.ID)
		if err != nil {
			return searchResult{}, err
		}
		holder, err := s.o.Bus.Claim(ctx, l.Name, f.ID, mine.String())
		if err != nil {
			return searchResult{}, err
		}
		if holder == mine.String() {
			return searchResult{
				result: adopted, id: f.ID, ref: ref,
				note: "found in the provider's list as " + f.ID + ": " + why,
			}, nil
		}
	}
	switch {
	case len(pool) > 0:
		return searchResult{result: notListed, complete: complete, note: seen + ", and others have claimed those just now"},
			nil
	case len(free) > 0:
		return searchResult{result: ambiguous, note: named(seen+"; "+why, free)}, nil
	case !complete:
		seen += "; the list does not tell everything yet"
	}
	return searchResult{result: notListed, complete: complete, note: "not in the provider's list: " + seen}, nil
}

func list(ctx context.Context, l *lane, t events.Task, input json.RawMessage,
	since time.Time,
) ([]provider.Found, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, maxListWait)
	defer cancel()
	// The provider shows what it was sent.
	sent, err := inputs.Restore(input, t.Attempt().Files)
	if err == nil && len(t.Attempt().Files) > 0 {
		t.InputDigest, err = events.Digest(sent)
	}
	if err != nil {
		return nil, false, fmt.Errorf("input of the attempt: %w", err)
	}
	return l.Driver.List(ctx, t, sent, since)
}

// unclaimed leaves out what other attempts have claimed. If mine has claimed one of free before, but its record was
// not written, it returns that alone.
func (s *Service) unclaimed(ctx context.Context, l *lane, mine attempt,
	free []provider.Found,
) ([]provider.Found, error) {
	var rest []provider.Found
	for _, f := range free {
		holder, err := s.o.Bus.Claimant(ctx, l.Name, f.ID)
		if err != nil {
			return nil, err
		}
		switch holder {
		case mine.String():
			return []provider.Found{f}, nil
		case "":
			rest = append(rest, f)
		}
	}
	return rest, nil
}

// An attempt is one that may own an id of the list.
type attempt struct {
	key    events.Key
	digest string
	events.Attempt
}

// String names the attempt in claims.
func (a attempt) String() string { return events.ClaimHolder(a.key, a.N) }

// window returns the times between which the provider's clock may have stood when the request was made.
func (a attempt) window() (from, to time.Time) {
	from = a.IntentAt
	if a.SentAfter != nil {
		from = *a.SentAfter
	}
	return from.Add(-clockBehind), a.IntentAt.Add(clockAhead)
}

// mayAnswer reports whether the owner of a may still report a reply: the request is under way, or its owner has died
// and left a journal that is settled at the next start.
func (a attempt) mayAnswer(now time.Time) bool {
	if a.Outcome == events.AttemptOpen {
		return true
	}
	reported := slices.ContainsFunc(a.Evidence, func(e events.Evidence) bool { return e.Source == events.SourceReply })
	return !reported && now.Sub(a.IntentAt) < journalGrace
}

// records are all stored records as they bear on one attempt.
type records struct {
	// taken holds the provider ids that some record has.
	taken map[string]bool
	// rivals are the other attempts of the lane, of the same model and about the same time, whose outcome is unknown.
	rivals []attempt
}

// readRecords reads every record once. That is dear, but submits in doubt are rare: where they are not, they stop their
// lane.
func (s *Service) readRecords(ctx context.Context, l *lane, t events.Task, mine attempt) (records, error) {
	r := records{taken: map[string]bool{}}
	err := s.o.Bus.ReadTasks(ctx, func(other events.Task) {
		if other.Provider == t.Provider {
			r.add(other, l.Name, t.Model, mine)
		}
	})
	return r, err
}

func (r *records) add(t events.Task, lane, model string, mine attempt) {
	r.taken[t.ProviderID] = true
	for _, a := range t.Attempts {
		r.taken[a.ProviderID] = true
		other := attempt{key: t.Key(), digest: t.InputDigest, Attempt: a}
		unknown := a.Outcome == events.AttemptOpen || a.Outcome == events.AttemptInDoubt
		near := a.IntentAt.Sub(mine.IntentAt).Abs() <= clockBehind+clockAhead
		if unknown && near && t.Lane == lane && t.Model == model && other.String() != mine.String() {
			r.rivals = append(r.rivals, other)
		}
	}
}

// choose returns the free requests that mine may adopt, in order, or none, and the reason.
func (r records) choose(mine attempt, free []provider.Found, complete bool) (pool []provider.Found, why string) {
	now := time.Now()
	exact := slices.DeleteFunc(slices.Clone(free), func(f provider.Found) bool { return !f.Exact })
	if len(exact) > 0 {
		for _, a := range r.rivals {
			if a.digest == mine.digest && a.mayAnswer(now) {
				return nil, "it waits for " + a.String() + ", which has the same input and may still be answered"
			}
		}
		slices.SortFunc(exact, func(a, b provider.Found) int { return a.CreatedAt.Compare(b.CreatedAt) })
		return exact, "the same input, about the same time"
	}
	switch {
	case len(free) == 0:
		return nil, ""
	case len(free) > 1:
		return nil, "several may be ours"
	case len(r.rivals) > 0:
		return nil, "it may as well be of " + r.rivals[0].String()
	case !complete:
		return nil, "the list does not tell everything yet"
	case !mine.inFlightAt(free[0].CreatedAt):
		return nil, "its time does not agree to the second"
	}
	return free, "the only one of that model and shape in the seconds of the submit"
}

// inFlightAt reports whether the request was under way at a time.
func (a attempt) inFlightAt(at time.Time) bool {
	return a.OutcomeAt != nil && !at.Before(a.IntentAt.Add(-clockTolerance)) && !at.After(a.OutcomeAt.Add(clockTolerance))
}

// named lists candidates for a person to read.
func named(what string, all []provider.Found) string {
	ids := make([]string, 0, maxNamed+1)
	for i, f := range all {
		if i == maxNamed {
			ids = append(ids, "...")
			break
		}
		ids = append(ids, f.ID)
	}
	return what + "; candidates: " + strings.Join(ids, ", ")
}
