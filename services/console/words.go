package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"net/url"
	"strconv"
	"strings"
	"time"

	"reelay/events"
	"reelay/events/operator"
	"reelay/internal/describe"
)

// functions are what templates can call.
func functions() template.FuncMap {
	return template.FuncMap{
		"ago": ago, "at": at, "until": until, "span": span, "seconds": seconds, "usd": usd, "bytes": size,
		"phase": phaseWords, "tone": tone, "describe": sentence, "step": stepWords, "stepTone": stepTone,
		"event": eventWords, "outcome": outcomeWords, "charge": describe.Charge, "source": sourceWords, "percent": percent,
		"json": indented, "taskPath": taskPath, "position": position, "wayOut": wayOut, "short": short,
		"statuses": events.Statuses, "phases": events.Phases, "types": events.TaskTypes, "word": word,
		"batchPath": batchPath, "text": storedText, "again": again,
		"duration": func(v any) string { return span(asDuration(v)) },
		"share":    func(s float64) string { return percent(100 * s) }, "charged": events.Task.SpentUSD,
		"waiting": func(l events.LaneQueue) int { return l.ByPhase[events.PhaseWaiting] },
	}
}

// A moment is a time as a page has it: the script writes it in the reader's zone, and relative to now where Relative
// says so.
type moment struct {
	Stamp, Text, Relative string
}

func newMoment(t time.Time, relative string) moment {
	t = t.UTC()
	return moment{t.Format("2006-01-02T15:04:05.000Z"), t.Format("2006-01-02 15:04:05 UTC"), relative}
}

// asTime accepts a time, or nil for none.
func asTime(v any) (time.Time, bool) {
	switch t := v.(type) {
	case time.Time:
		return t, !t.IsZero()
	case *time.Time:
		if t != nil && !t.IsZero() {
			return *t, true
		}
	}
	return time.Time{}, false
}

func at(v any) *moment    { return momentOf(v, "") }
func ago(v any) *moment   { return momentOf(v, "ago") }
func until(v any) *moment { return momentOf(v, "in") }

func momentOf(v any, relative string) *moment {
	t, ok := asTime(v)
	if !ok {
		return nil
	}
	m := newMoment(t, relative)
	return &m
}

// span writes a duration as people say it.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < 10*time.Second:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	case d < 2*time.Minute:
		return strconv.Itoa(int(d.Seconds()+0.5)) + " s"
	case d < 2*time.Hour:
		return strconv.Itoa(int(d.Minutes()+0.5)) + " min"
	case d < 48*time.Hour:
		return strconv.FormatFloat(d.Hours(), 'f', 1, 64) + " h"
	}
	return strconv.Itoa(int(d.Hours()/24+0.5)) + " days"
}

func seconds(s float64) string { return span(time.Duration(s * float64(time.Second))) }

// asDuration accepts the duration of the contract too.
func asDuration(v any) time.Duration {
	switch d := v.(type) {
	case events.Duration:
		return time.Duration(d)
	case time.Duration:
		return d
	}
	return 0
}

// usd writes an amount in US dollars; nil is not known.
func usd(v any) string {
	amount, ok := v.(float64)
	if p, isPointer := v.(*float64); isPointer && p != nil {
		amount, ok = *p, true
	}
	switch {
	case !ok:
		return "–"
	case amount != 0 && amount < 0.1 && amount > -0.1:
		return fmt.Sprintf("$%.4f", amount)
	}
	return fmt.Sprintf("$%.2f", amount)
}

// size writes a number of bytes.
func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.0f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d bytes", n)
}

func percent(v any) string {
	switch p := v.(type) {
	case *float64:
		if p != nil {
			return strconv.FormatFloat(*p, 'f', 0, 64) + " %"
		}
	case float64:
		return strconv.FormatFloat(p, 'f', 0, 64) + " %"
	}
	return "–"
}

// indented writes v as JSON for people.
func indented(v any) string {
	text, err := events.Marshal(v)
	if err != nil {
		return err.Error()
	}
	var b bytes.Buffer
	if json.Indent(&b, text, "", "  ") != nil {
		return string(text)
	}
	return b.String()
}

func taskPath(project, id string) string {
	return "/tasks/" + url.PathEscape(project) + "/" + url.PathEscape(id)
}

func batchPath(project, id string) string {
	return "/batches/" + url.PathEscape(project) + "/" + url.PathEscape(id)
}

// storedText is the body of a stored message, for people.
func storedText(m operator.StoredMessage) string {
	switch {
	case m.Text == "" && len(m.Data) > 0:
		return fmt.Sprintf("%q", m.Data)
	case json.Valid([]byte(m.Text)):
		return indented(json.RawMessage(m.Text))
	}
	return m.Text
}

// shown is a link that a person may follow; empty for anything but http and https.
func shown(link string) string {
	u, err := url.Parse(link)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return ""
	}
	return link
}

// short leaves of a text its first n runes.
func short(n int, text string) string {
	if r := []rune(text); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return text
}

// word writes a name of the contract as words.
func word(v any) string { return strings.ReplaceAll(fmt.Sprint(v), "_", " ") }

func phaseWords(t events.Task) string {
	switch t.Phase {
	case events.PhaseWaiting:
		if len(t.WaitsFor) > 0 {
			return "waits for other tasks"
		}
		return "waiting here"
	case events.PhaseSubmitting:
		return "being sent"
	case events.PhaseInDoubt:
		return "in doubt"
	case events.PhaseParked:
		return "needs a person"
	case events.PhaseProviderQueued:
		return "in the provider's queue"
	case events.PhaseFetching:
		return "fetching the result"
	case events.PhaseStoring:
		return "storing the result"
	case events.PhaseDone:
		return string(t.Status)
	}
	return word(t.Phase)
}

// tone is the class of a task's badge.
func tone(t events.Task) string {
	switch {
	case t.Status == events.StatusCompleted:
		return "ok"
	case t.Status == events.StatusFailed, t.Phase == events.PhaseParked:
		return "bad"
	case t.Phase == events.PhaseInDoubt, t.Phase == events.PhaseCancelling, t.Pace == events.PaceStuck,
		t.Phase == events.PhaseWaiting && t.Blocked != nil && !t.Blocked.Reason.Normal():
		return "warn"
	case t.Status == events.StatusCancelled:
		return "plain"
	case t.Status == events.StatusInProgress, t.Phase == events.PhaseSubmitting:
		return "run"
	}
	return "plain"
}

// position is the place of a task in the queue that it waits in, "next" or how many are ahead; empty if it is not known.
func position(p *int) string {
	switch {
	case p == nil:
		return "not known"
	case *p == 0:
		return "next"
	}
	return strconv.Itoa(*p) + " ahead"
}

// sentence says where a task is.
func sentence(t events.Task) string {
	switch t.Phase {
	case events.PhaseWaiting:
		switch {
		case len(t.WaitsFor) > 0:
			return "It waits for other tasks to end: " + strings.Join(t.WaitsFor, ", ") + "."
		case t.Blocked != nil:
			return "It is not sent yet: " + t.Blocked.Message + "."
		}
		return "It is in reelay's own queue; nothing was sent or paid yet."
	case events.PhaseSubmitting:
		return "The paid request is being sent to " + t.Provider + "."
	case events.PhaseInDoubt:
		return "The paid request left and no answer came. reelay is finding out whether " + t.Provider +
			" took it; nothing is paid again meanwhile."
	case events.PhaseParked:
		return "Nobody can tell whether " + t.Provider + " took the paid request. A person has to decide."
	case events.PhaseProviderQueued:
		return t.Provider + " has taken it and not begun yet."
	case events.PhaseRunning:
		return t.Provider + " is making it."
	case events.PhaseCancelling:
		return "A cancel is on its way to " + t.Provider + ", which may finish it all the same."
	case events.PhaseFetching:
		return t.Provider + " has finished; the result is being fetched."
	case events.PhaseStoring:
		return "The result is known and is being copied into your store."
	}
	return ended(t)
}

func ended(t events.Task) string {
	switch {
	case t.Status == events.StatusCompleted && t.CompletedAt != nil:
		return "It is done. It took " + span(t.CompletedAt.Sub(t.CreatedAt)) + "."
	case t.Error != nil:
		return t.Error.Message
	}
	return "It has ended: " + string(t.Status) + "."
}

// wayOut says what a person can do about what keeps tasks from being sent; empty where it ends by itself.
func wayOut(r events.BlockedReason) string {
	switch r {
	case events.BlockedNoDispatcher:
		return "Start a submitter, or reelay up."
	case events.BlockedPaused, events.BlockedBreaker:
		return "Have the lane send again under Lanes."
	case events.BlockedAccount:
		return "See to the key or the balance at the provider, then have the lane send again under Lanes."
	case events.BlockedCap:
		return "Raise the cap under Spend, or wait for the next day (UTC)."
	case events.BlockedSpendingStopped:
		return "reelay doctor says what to do."
	}
	return ""
}
