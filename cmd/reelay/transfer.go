package main

import (
	"fmt"
	"io"
	"time"

	"github.com/dustin/go-humanize"

	"reelay/internal/terminal"
)

// transferPaint is how often the line of a transfer is painted at most.
const transferPaint = 200 * time.Millisecond

// A transfer shows how far a file is on its way, on a line that is painted over; nothing without a terminal. What is
// written to it counts, and is kept nowhere.
type transfer struct {
	w     io.Writer
	width int // columns of the terminal, 0 for none
	style terminal.Style
	now   func() time.Time
	name  string

	began, painted time.Time
	have, total    int64
}

func newTransfer(e *env, name string, total int64) *transfer {
	return &transfer{w: e.stderr, width: e.width(), style: e.style(), now: time.Now, name: clean(name), total: total}
}

// Write counts bytes that were handed on.
func (t *transfer) Write(p []byte) (int, error) {
	t.set(t.have+int64(len(p)), t.total)
	return len(p), nil
}

// set says how many bytes there are, of how many; 0 for a total that is not known.
func (t *transfer) set(have, total int64) {
	now := t.now()
	if t.began.IsZero() {
		t.began, t.painted = now, now // what takes no time shows no line
	}
	t.have, t.total = have, total
	if t.width > 0 && now.Sub(t.painted) >= transferPaint {
		t.painted = now
		fmt.Fprint(t.w, "\r"+t.style.Paint(terminal.Working, terminal.Cut(t.line(now), t.width-1))+clearToEnd)
	}
}

// line says how far it is, and how long it takes at the rate until now.
func (t *transfer) line(now time.Time) string {
	have := humanize.Bytes(uint64(max(0, t.have)))
	if t.total <= 0 {
		return t.name + "  " + have
	}
	share := min(1, float64(t.have)/float64(t.total))
	line := fmt.Sprintf("%s  %.0f%%  %s of %s  %s", terminal.Bar(share), 100*share, have, humanize.Bytes(uint64(t.total)), t.name)
	if took := now.Sub(t.began); share > 0 && took > 0 {
		line += fmt.Sprintf("  about %s left", short(time.Duration(float64(took)*(1-share)/share)))
	}
	return line
}

// end takes the line away.
func (t *transfer) end() {
	if t.width > 0 && t.painted.After(t.began) {
		fmt.Fprint(t.w, "\r"+clearToEnd)
	}
}
