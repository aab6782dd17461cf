package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"reelay/events"
	"reelay/internal/terminal"
)

// lineUp is the terminal's "up by so many lines".
const lineUp = "\x1b[%dA"

// liveLines show where several tasks are, the first above those that it is made of: lines that are painted over on a
// terminal, else one line per change. They may be used from any goroutine.
type liveLines struct {
	w     io.Writer
	width int // columns of the terminal, 0 for none
	style terminal.Style
	now   func() time.Time

	mu      sync.Mutex
	tasks   []events.Task
	names   []string
	shown   []string // the states as last printed, without a terminal
	painted bool
}

func newLiveLines(e *env, tasks []events.Task) *liveLines {
	l := &liveLines{w: e.stderr, width: e.width(), style: e.style(), now: time.Now, tasks: append([]events.Task(nil), tasks...)}
	longest := 0
	for i, t := range tasks {
		name := t.ID
		switch {
		case i > 0 && i == len(tasks)-1:
			name = "└─ " + name
		case i > 0:
			name = "├─ " + name
		}
		l.names = append(l.names, name)
		longest = max(longest, terminal.Width(name))
	}
	for i, name := range l.names {
		l.names[i] = terminal.Pad(name, longest)
	}
	l.shown = make([]string, len(tasks))
	l.tick()
	return l
}

// set shows a newer state of a task.
func (l *liveLines) set(t events.Task) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.tasks {
		if l.tasks[i].ID == t.ID {
			l.tasks[i] = t
		}
	}
	l.paint()
}

// tick shows the tasks as of now.
func (l *liveLines) tick() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.paint()
}

func (l *liveLines) paint() {
	if l.painted {
		fmt.Fprintf(l.w, lineUp, len(l.tasks))
	}
	l.painted = l.width > 0
	now := l.now()
	for i, t := range l.tasks {
		state := describeState(t)
		if l.width == 0 {
			if state != l.shown[i] {
				fmt.Fprintf(l.w, "%s  %s  %s\n", short(elapsed(t, now)), l.names[i], state)
				l.shown[i] = state
			}
			continue
		}
		fmt.Fprint(l.w, "\r"+paintTask(l.style, l.names[i]+"  ", t, now, l.width-1)+clearToEnd+"\n")
	}
}

// say prints lines of their own above the others.
func (l *liveLines) say(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.painted {
		fmt.Fprintf(l.w, lineUp, len(l.tasks))
		text = strings.ReplaceAll(text, "\n", clearToEnd+"\n") + clearToEnd
		l.painted = false
	}
	fmt.Fprintln(l.w, text)
	l.paint()
}
