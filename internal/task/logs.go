package task

import (
	"slices"
	"time"

	"reelay/events"
	"reelay/internal/provider"
)

// logs takes over the lines that are new. Providers show all lines each time, or a window of the newest, and may begin
// anew when they requeue a task.
func (s *step) logs(shown []events.LogLine) {
	fresh := newLines(s.t.Logs, s.t.LogCount, shown)
	s.t.LogCount += len(fresh)
	for _, l := range tail(fresh, events.MaxLogs) {
		s.newLogs = append(s.newLogs, kept(l))
	}
	s.t.Logs = tail(append(slices.Clip(s.t.Logs), s.newLogs...), events.MaxLogs)
}

// kept is a line as a record holds it.
func kept(l events.LogLine) events.LogLine {
	l.Message = provider.Clip(l.Message, events.MaxLogBytes)
	if l.At != nil && !validTime(*l.At) {
		l.At = nil
	}
	return l
}

// newLines returns the lines of shown that come after known, which are the last of count lines that were seen, as they
// are kept. It looks at no more of shown than it needs: at most polls there are thousands of lines, and none is new.
//
// Where shown overlaps the end of known, the rest is new. Where it does not, because a line came out of order, it is
// told by time and text; and where that is no help either, all of it is new.
func newLines(known []events.LogLine, count int, shown []events.LogLine) []events.LogLine {
	if len(known) == 0 {
		return shown
	}
	overlaps := func(end int) bool {
		n := min(end, len(known))
		return slices.EqualFunc(shown[end-n:end], known[len(known)-n:], isKept)
	}
	if 0 < count && count <= len(shown) && overlaps(count) {
		return shown[count:]
	}
	for end := len(shown); end > 0; end-- {
		if overlaps(end) {
			return shown[end:]
		}
	}
	var fresh []events.LogLine
	for _, l := range shown {
		at := kept(l).At
		if at == nil || known[0].At == nil || !at.Before(*known[0].At) &&
			!slices.ContainsFunc(known, func(k events.LogLine) bool { return isKept(l, k) }) {
			fresh = append(fresh, l)
		}
	}
	return fresh
}

// isKept reports whether a line that is shown is k, which was kept.
func isKept(shown, k events.LogLine) bool {
	l := kept(shown)
	return l.Message == k.Message && (l.At == nil) == (k.At == nil) && (l.At == nil || l.At.Equal(*k.At))
}

// validTime reports whether a time from outside is one that a record can hold and a person would believe.
func validTime(t time.Time) bool { return t.Year() >= 1970 && t.Year() <= 9999 }
