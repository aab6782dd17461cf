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
	shown = slices.Clone(shown)
	for i := range shown {
		shown[i].Message = provider.Clip(shown[i].Message, events.MaxLogBytes)
		if at := shown[i].At; at != nil && !validTime(*at) {
			shown[i].At = nil
		}
	}
	fresh := newLines(s.t.Logs, s.t.LogCount, shown)
	s.t.LogCount += len(fresh)
	s.newLogs = append(s.newLogs, tail(fresh, events.MaxLogs)...)
	s.t.Logs = tail(append(slices.Clip(s.t.Logs), s.newLogs...), events.MaxLogs)
}

// newLines returns the lines of shown that come after known, which are the last of count lines that were seen.
//
// Where shown overlaps the end of known, the rest is new. Where it does not, because a line came out of order, it is
// told by time and text; and where that is no help either, all of it is new.
func newLines(known []events.LogLine, count int, shown []events.LogLine) []events.LogLine {
	if len(known) == 0 {
		return shown
	}
	overlaps := func(end int) bool {
		n := min(end, len(known))
		return slices.EqualFunc(shown[end-n:end], known[len(known)-n:], sameLine)
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
		if l.At == nil || known[0].At == nil || !l.At.Before(*known[0].At) &&
			!slices.ContainsFunc(known, func(k events.LogLine) bool { return sameLine(k, l) }) {
			fresh = append(fresh, l)
		}
	}
	return fresh
}

func sameLine(a, b events.LogLine) bool {
	return a.Message == b.Message && (a.At == nil) == (b.At == nil) && (a.At == nil || a.At.Equal(*b.At))
}

// validTime reports whether a time from outside is one that a record can hold and a person would believe.
func validTime(t time.Time) bool { return t.Year() >= 1970 && t.Year() <= 9999 }
