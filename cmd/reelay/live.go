package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"reelay/events"
	"reelay/internal/describe"
	"reelay/internal/terminal"
)

// clearToEnd is the terminal's "erase to end of line".
const clearToEnd = "\x1b[K"

// A liveLine shows where a task is: one line that is painted over on a terminal, else one line per change.
type liveLine struct {
	w     io.Writer
	width int // columns of the terminal, 0 for none
	style terminal.Style
	now   func() time.Time
	task  events.Task
	shown string // the state as last printed, without a terminal
}

// set shows a newer state of the task.
func (l *liveLine) set(t events.Task) {
	l.task = t
	l.paint()
}

// paint shows the task as of now.
func (l *liveLine) paint() {
	if l.task.ID == "" {
		return
	}
	state, now := describeState(l.task), l.now()
	if l.width == 0 {
		if state != l.shown {
			fmt.Fprintf(l.w, "%s  %s\n", short(elapsed(l.task, now)), state)
			l.shown = state
		}
		return
	}
	fmt.Fprint(l.w, "\r"+paintTask(l.style, "", l.task, now, l.width-1)+clearToEnd)
}

// say prints a line of its own.
func (l *liveLine) say(text string) {
	if l.width > 0 {
		fmt.Fprint(l.w, "\r"+clearToEnd)
	}
	fmt.Fprintln(l.w, text)
	if l.width > 0 {
		l.paint()
	}
}

// end leaves the line as it is and goes to the next.
func (l *liveLine) end() {
	if l.width > 0 && l.task.ID != "" {
		fmt.Fprintln(l.w)
	}
}

// paintTask returns the line of a task in so many columns, behind its name: a bar where the provider tells how far it is,
// where it is, and how long it takes.
func paintTask(style terminal.Style, name string, t events.Task, now time.Time, columns int) string {
	state, times := describeState(t), describeTimes(t, now)
	if t.ProgressPercentage != nil && !t.Status.Terminal() {
		bar := terminal.Bar(*t.ProgressPercentage / 100)
		if terminal.Width(name+bar+"  "+state+"  "+times) <= columns { // else the words matter more
			name += bar + "  "
		}
	}
	name = terminal.Cut(name, columns)
	state = terminal.Cut(state, columns-terminal.Width(name))
	times = terminal.Cut("  "+times, columns-terminal.Width(name+state))
	return name + style.Paint(meaningOf(t), state) + style.Paint(terminal.Faint, times)
}

// meaningOf says how well a task does.
func meaningOf(t events.Task) terminal.Meaning {
	switch {
	case t.Status == events.StatusCompleted:
		return terminal.Good
	case t.Status == events.StatusFailed:
		return terminal.Bad
	case t.Phase == events.PhaseInDoubt, t.Phase == events.PhaseParked, isSlow(t),
		t.Trouble != nil && !t.Status.Terminal():
		return terminal.Doubtful
	case t.Phase == events.PhaseRunning, t.Phase == events.PhaseFetching, t.Phase == events.PhaseStoring:
		return terminal.Working
	}
	return terminal.Plain
}

// describeState says where a task is: phase, its queue positions, what keeps it there, percent, trouble.
func describeState(t events.Task) string {
	parts := []string{phaseWords(t)}
	if q := describeQueue(t); q != "" {
		parts = append(parts, q)
	}
	if b := blockedBy(t); b != nil && b.Reason != events.BlockedDependency {
		parts = append(parts, "("+clean(b.Message)+")")
	}
	if t.ProgressPercentage != nil && !t.Status.Terminal() {
		parts = append(parts, fmt.Sprintf("%.0f%%", *t.ProgressPercentage))
	}
	if isSlow(t) {
		parts = append(parts, clean(string(t.Pace)))
	}
	if t.Trouble != nil && !t.Status.Terminal() {
		parts = append(parts, "("+clean(string(t.Trouble.Kind)+": "+t.Trouble.Message)+")")
	}
	return strings.Join(parts, "  ")
}

// phaseWords says the phase of a task as people would.
func phaseWords(t events.Task) string {
	switch t.Phase {
	case events.PhaseWaiting:
		return waitingWords(t)
	case events.PhaseSubmitting:
		return "being submitted to " + t.Provider
	case events.PhaseInDoubt:
		return "in doubt: asking " + t.Provider + " whether it took the request"
	case events.PhaseParked:
		return "parked in doubt: decide with `reelay resolve`"
	case events.PhaseProviderQueued:
		return "queued at " + t.Provider
	case events.PhaseRunning:
		return "running at " + t.Provider
	case events.PhaseCancelling:
		return "being cancelled at " + t.Provider
	case events.PhaseFetching:
		return "finished, fetching the result"
	case events.PhaseStoring:
		return "finished, its outputs are being stored"
	case events.PhaseDone:
		return string(t.Status)
	default:
		return clean(string(t.Phase))
	}
}

// maxNamed bounds the tasks that a line names.
const maxNamed = 5

// waitingWords says what a task waits for before it is sent.
func waitingWords(t events.Task) string {
	n := len(t.WaitsFor)
	switch {
	case t.Blocked != nil && t.Blocked.Reason == events.BlockedDependency:
		return clean(t.Blocked.Message)
	case n > maxNamed:
		return fmt.Sprintf("waits for %s and %d more", strings.Join(t.WaitsFor[:maxNamed], ", "), n-maxNamed)
	case n > 0:
		return "waits for " + strings.Join(t.WaitsFor, ", ")
	}
	return "waiting for its turn"
}

// describeQueue says the queue positions, 1 being next; empty if none is known.
func describeQueue(t events.Task) string {
	q := t.QueuePosition
	if q == nil || t.Status.Terminal() {
		return ""
	}
	var positions []string
	if q.Ours != nil {
		positions = append(positions, fmt.Sprintf("#%d here", *q.Ours+1))
	}
	if q.Provider != nil {
		positions = append(positions, fmt.Sprintf("#%d at %s", *q.Provider+1, t.Provider))
	}
	if q.Ours != nil && q.Provider != nil && q.Total != nil {
		positions = append(positions, fmt.Sprintf("#%d in all", *q.Total+1))
	}
	return strings.Join(positions, ", ")
}

// describeTimes says how long the task has taken and how long it may take.
func describeTimes(t events.Task, now time.Time) string {
	text := short(elapsed(t, now))
	if left := describeLeft(t, now); left != "" {
		text += "  " + left
	}
	return text
}

// describeLeft says how long the task may still take; empty if that is not known.
func describeLeft(t events.Task, now time.Time) string {
	switch left := timeLeft(t, now); {
	case left == "" || left == dueNow:
		return left
	case strings.Contains(left, rangeMark):
		return left + " left"
	default:
		return "about " + left + " left"
	}
}

const (
	dueNow    = "due now"
	rangeMark = " to "
	// wideRange is from how many times the earliest the latest end makes a range worth showing.
	wideRange = 1.5
)

// timeLeft is the time that the task may still take, a range where that is wide; empty if it is not known.
func timeLeft(t events.Task, now time.Time) string {
	if t.Status.Terminal() || t.Phase == events.PhaseCancelling {
		return ""
	}
	if t.ETAEarliest != nil && t.ETALatest != nil && t.ETALatest.After(now) {
		earliest, latest := max(0, t.ETAEarliest.Sub(now)), t.ETALatest.Sub(now)
		if float64(latest) > wideRange*float64(earliest) {
			return short(earliest) + rangeMark + short(latest)
		}
	}
	switch {
	case t.ETA != nil && t.ETA.After(now):
		return short(t.ETA.Sub(now))
	case t.ETA != nil:
		return dueNow
	case t.EstimatedWaitS != nil:
		return short(time.Duration(*t.EstimatedWaitS * float64(time.Second)))
	}
	return ""
}

// isSlow reports whether a task gets on worse than usual.
func isSlow(t events.Task) bool {
	return t.Pace != "" && t.Pace != events.PaceNormal && !t.Status.Terminal()
}

// elapsed is the time since the task was accepted, until its end if it has one.
func elapsed(t events.Task, now time.Time) time.Duration {
	if t.CompletedAt != nil {
		now = *t.CompletedAt
	}
	return max(0, now.Sub(t.CreatedAt)) // the clocks of two machines may differ
}

// short writes a duration to the second, as 5s, 1m05s, 2h03m or 3d04h.
func short(d time.Duration) string {
	s := int64(d.Round(time.Second) / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	case s < 48*3600:
		return fmt.Sprintf("%dh%02dm", s/3600, s%3600/60)
	default:
		return fmt.Sprintf("%dd%02dh", s/86400, s%86400/3600)
	}
}

// cleanLines is clean for each line of a text.
func cleanLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = clean(lines[i])
	}
	return strings.Join(lines, "\n")
}

// clean makes a stranger's text safe for a terminal.
func clean(s string) string { return describe.Clean(s) }
