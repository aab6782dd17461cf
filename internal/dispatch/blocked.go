package dispatch

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"reelay/events"
)

// maxBlocked bounds the reasons that a lane reports.
const maxBlocked = 50

// Stopped says what keeps the whole lane from sending; nil if nothing does.
func (l *Lane) Stopped(now time.Time, outside Outside) *events.Blocked {
	l.mu.Lock()
	defer l.mu.Unlock()
	return admitted(now).and(l.checks(now, outside)...).blocked()
}

// Blocked are the reasons that keep waiting tasks from being sent: that of the whole lane first, then those of limit
// groups, of their projects, and the caps on spending.
func (l *Lane) Blocked(now time.Time, outside Outside) []events.Blocked {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []events.Blocked
	add := func(checks ...check) {
		if b := admitted(now).and(checks...).blocked(); b != nil && len(all) < maxBlocked {
			all = append(all, *b)
		}
	}
	add(l.checks(now, outside)...)
	for _, name := range slices.Sorted(maps.Keys(l.groups)) {
		g := l.groups[name]
		if g.queue.Len() > 0 || g.later.Len() > 0 {
			add(g.checks(now)...)
		}
		for _, project := range slices.Sorted(maps.Keys(g.shares)) {
			if g.queue.Busy(project) > 0 {
				add(g.projectChecks(project, now)...)
			}
		}
		for _, by := range slices.SortedFunc(maps.Keys(g.capped), spendCap.compare) {
			if tasks := g.capped[by]; !g.lifted(by, tasks.last, now) {
				add(check{reason: events.BlockedCap, report: by.blocked(tasks.count)})
			}
		}
	}
	return all
}

// A spendCap is a cap on spending that blocks tasks of a project.
type spendCap struct {
	project, message string
	until            time.Time
}

func (c spendCap) compare(d spendCap) int {
	return cmp.Or(strings.Compare(c.project, d.project), strings.Compare(c.message, d.message), c.until.Compare(d.until))
}

// blocked is what is reported of all tasks together that a cap blocks.
func (c spendCap) blocked(tasks int) *events.Blocked {
	wait := "1 task waits"
	if tasks != 1 {
		wait = fmt.Sprintf("%d tasks wait", tasks)
	}
	return &events.Blocked{
		Reason: events.BlockedCap, Project: c.project, Message: wait + ": " + c.message,
		Until: &c.until,
	}
}

// cappedTasks counts the tasks that a cap blocks; last is when one was blocked by it last.
type cappedTasks struct {
	count int
	last  time.Time
}

// lifted reports whether a cap that has blocked a task since a time does so no more as far as is known: its day is
// over, or money was there for others of the project since.
func (g *group) lifted(by spendCap, since, now time.Time) bool {
	return !by.until.After(now) || g.projects[by.project].lastSent.After(since)
}
