package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"reelay/events"
	"reelay/internal/terminal"
)

// The terminal's screen beside the one that the shell has, and its cursor.
const (
	openScreen  = "\x1b[?1049h\x1b[?25l"
	closeScreen = "\x1b[?25h\x1b[?1049l"
	home        = "\x1b[H"
	clearBelow  = "\x1b[J"
	ctrlC       = 3 // as a terminal in raw mode sends it
)

// topCmd shows lanes and tasks as they move.
type topCmd struct {
	connection `embed:""`

	Project string        `help:"Show one project only (default: all)." env:"REELAY_PROJECT"`
	Every   time.Duration `help:"Time between two refreshes, 250ms to 1m." default:"1s" placeholder:"DURATION"`
	JSON    bool          `name:"json" help:"Print what there is now as JSON, once."`
}

// Run fills the screen until q or ctrl-c is pressed. Where standard output is no terminal it prints once.
func (c *topCmd) Run(ctx context.Context, e *env) error {
	if err := checkProject(c.Project); err != nil {
		return err
	}
	if c.Every < 250*time.Millisecond || c.Every > time.Minute {
		return usagef("--every: %v is not between 250ms and 1m", c.Every)
	}
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	now, err := c.overview(ctx, a)
	if err != nil {
		return err
	}
	terminalColumns, _ := e.screen()
	switch {
	case c.JSON:
		return printJSON(e.stdout, now)
	case terminalColumns == 0:
		for _, line := range now.lines(terminal.Style{}, maxColumns, len(now.Tasks)+len(now.Queue.Lanes)+overviewRows, time.Now()) {
			fmt.Fprintln(e.stdout, strings.TrimRight(line, " "))
		}
		return nil
	}
	quit, restore, err := e.keys(ctx)
	if err != nil {
		return err
	}
	defer restore()
	fmt.Fprint(e.stdout, openScreen)
	defer fmt.Fprint(e.stdout, closeScreen)
	style := terminal.StyleOf(true, e.getenv)
	for note := ""; ; {
		columns, rows := e.screen()
		if columns == 0 {
			return nil // it was closed
		}
		paintScreen(e.stdout, append(now.lines(style, columns, rows-1, time.Now()), terminal.Cut(cmp.Or(note, "q quits"), columns)))
		select {
		case <-ctx.Done():
			return nil
		case <-quit:
			return nil
		case <-time.After(c.Every):
		}
		newer, err := c.overview(ctx, a)
		note = ""
		if err != nil {
			note = clean("cannot see what there is now, still trying: " + err.Error())
			continue
		}
		now = newer
	}
}

// paintScreen writes the lines over those that are there. In raw mode a line feed does not return.
func paintScreen(w io.Writer, lines []string) {
	fmt.Fprint(w, home+strings.Join(lines, clearToEnd+"\r\n")+clearToEnd+clearBelow)
}

// quitKey returns a channel that is closed once q or ctrl-c is read.
func quitKey(from io.Reader) <-chan struct{} {
	quit := make(chan struct{})
	go func() {
		key := make([]byte, 1)
		for {
			if _, err := from.Read(key); err != nil {
				return
			}
			if key[0] == 'q' || key[0] == 'Q' || key[0] == ctrlC {
				close(quit)
				return
			}
		}
	}()
	return quit
}

const (
	// maxColumns is the width of what is printed where there is no terminal.
	maxColumns = 200
	// overviewRows are the lines beside those of lanes and tasks.
	overviewRows = 5
	laneColumns  = 16
	taskColumns  = 28
)

// An overview is what there is to be seen at once.
type overview struct {
	Queue events.QueueReply `json:"queue"`
	// Tasks are the newest that have not ended, at most events.MaxListLimit.
	Tasks []events.Task `json:"tasks"`
}

// overview asks for it.
func (c *topCmd) overview(ctx context.Context, a *api) (overview, error) {
	queue, err := a.Queue(ctx, c.Project)
	if err != nil {
		return overview{}, err
	}
	list, err := a.List(ctx, c.Project, events.ListRequest{
		Status: []events.Status{events.StatusQueued, events.StatusInProgress}, Limit: events.MaxListLimit,
	})
	slices.SortStableFunc(list.Tasks, func(a, b events.Task) int {
		return cmp.Or(-cmp.Compare(urgency(a), urgency(b)), a.CreatedAt.Compare(b.CreatedAt))
	})
	return overview{queue, list.Tasks}, err
}

// urgency orders tasks by how much a person may want to see them: what needs one, what runs, what waits.
func urgency(t events.Task) int {
	switch t.Phase {
	case events.PhaseParked:
		return 4
	case events.PhaseInDoubt:
		return 3
	case events.PhaseWaiting:
		return 0
	case events.PhaseProviderQueued:
		return 1
	}
	return 2
}

// lines returns at most so many rows of at most so many columns: the counts, the lanes, then as many tasks as there is
// room for.
func (o overview) lines(style terminal.Style, columns, rows int, now time.Time) []string {
	head := fmt.Sprintf("%s  %d active of %d kept", now.Format(time.TimeOnly), o.Queue.ActiveCount, o.Queue.Total)
	for _, s := range events.Statuses() {
		head += fmt.Sprintf("  %s %d", s, o.Queue.ByStatus[s])
	}
	all := []string{terminal.Cut(head, columns), ""}
	title := terminal.Pad("LANE", laneColumns) + "  WAITING  IN DOUBT  PARKED  AT PROVIDER  DONE/H  FAILED/H"
	all = append(all, style.Paint(terminal.Faint, terminal.Cut(title, columns)))
	for _, l := range o.Queue.Lanes {
		all = append(all, laneLine(style, l, columns))
	}
	all = append(all, "")
	switch room := rows - len(all) - 1; {
	case room <= 0:
		return all[:max(0, min(rows, len(all)))]
	case len(o.Tasks) == 0:
		return append(all, terminal.Cut("no task is under way; hand one in: reelay submit video --prompt \"a kite\"", columns))
	default:
		shown := o.Tasks[:min(room, len(o.Tasks))]
		for _, t := range shown {
			name := terminal.Pad(terminal.Cut(t.Key().String(), taskColumns), taskColumns) + "  "
			all = append(all, paintTask(style, name, t, now, columns))
		}
		if more := max(len(o.Tasks), o.Queue.ActiveCount) - len(shown); more > 0 {
			all = append(all, terminal.Cut(fmt.Sprintf("and %d more: reelay ls", more), columns))
		}
	}
	return all
}

// laneLine is a lane with its counts, and what keeps it.
func laneLine(style terminal.Style, l events.LaneQueue, columns int) string {
	line := fmt.Sprintf("%s  %7d  %8d  %6d  %11d  %6d  %8d", terminal.Pad(terminal.Cut(l.Lane, laneColumns), laneColumns),
		l.ByPhase[events.PhaseWaiting], l.ByPhase[events.PhaseInDoubt], l.ByPhase[events.PhaseParked], l.AtProvider,
		l.CompletedLastHour, l.FailedLastHour)
	meaning := terminal.Plain
	for _, b := range l.Blocked {
		if !b.Reason.Normal() {
			meaning = terminal.Doubtful
		}
		line += "  " + clean(b.Message)
	}
	return style.Paint(meaning, terminal.Cut(line, columns))
}
