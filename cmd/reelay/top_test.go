package main

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/terminal"
)

func anOverview() overview {
	running := with(aTask(), func(t *events.Task) {
		t.ID, t.Phase, t.Status, t.ProgressPercentage = "run", events.PhaseRunning, events.StatusInProgress, ptr(50.0)
	})
	return overview{
		Queue: events.QueueReply{
			Total: 9, ActiveCount: 3, ByStatus: map[events.Status]int{events.StatusQueued: 2, events.StatusInProgress: 1},
			Lanes: []events.LaneQueue{{
				Lane: "fal", ByPhase: map[events.Phase]int{events.PhaseWaiting: 2}, AtProvider: 1,
				Blocked: []events.Blocked{{Reason: events.BlockedPaused, Message: "暂停暂停暂停暂停暂停暂停暂停暂停暂停暂停暂停暂停"}},
			}},
		},
		Tasks: []events.Task{running, aTask()},
	}
}

// TestTopLines: whatever the size of the screen, nothing is wider or longer.
func TestTopLines(t *testing.T) {
	o := anOverview()
	for columns := range 120 {
		for rows := range 12 {
			all := o.lines(terminal.Style{}, columns, rows, start)
			if len(all) > rows {
				t.Fatalf("%d x %d: %q", columns, rows, all)
			}
			for _, line := range all {
				if terminal.Width(line) > columns {
					t.Fatalf("%d columns: %q", columns, line)
				}
			}
		}
	}
	text := strings.Join(o.lines(terminal.Style{}, 120, 12, start), "\n")
	for _, want := range []string{
		"3 active of 9 kept  queued 2  in_progress 1", "\nfal                     2         0       0            1",
		"\ndemo.run                      [##########----------]  running at fal  50%  0s\n",
		"\ndemo.t1                       waiting for its turn  0s\n", "\nand 1 more: reelay ls",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if empty := (overview{}).lines(terminal.Style{}, 80, 9, start); !strings.Contains(empty[len(empty)-1], "reelay submit") {
		t.Errorf("%q", empty)
	}
}

// TestTop: it fills the screen anew until q is pressed, and leaves it as it was; without a terminal it prints once.
func TestTop(t *testing.T) {
	b := newBench(t)
	o := anOverview()
	b.answer(events.VerbQueue, func(string, []byte) any { return o.Queue })
	b.answer(events.VerbList, func(string, []byte) any { return events.ListReply{Tasks: o.Tasks} })
	b.reelay("top").check(t, 0, "demo.run", "")
	b.reelay("top", "--json").check(t, 0, `"active_count": 3`, "")
	b.reelay("top", "--every", "1ms").check(t, 2, "", "--every")

	keys, press := io.Pipe()
	e, stdout, stderr := testEnv()
	e.screen = func() (int, int) { return 80, 20 }
	restored := false
	e.keys = func(context.Context) (<-chan struct{}, func(), error) {
		return quitKey(keys), func() { restored = true }, nil
	}
	done := make(chan int)
	go func() { done <- execute(t.Context(), e, []string{"top", "--every", "250ms", "--server", b.url}) }()
	until(t, stdout, "q quits")
	if _, err := press.Write([]byte("xq")); err != nil {
		t.Fatal(err)
	}
	select {
	case code := <-done:
		out := stdout.String()
		if code != 0 || !restored || !strings.HasPrefix(out, openScreen+home) || !strings.HasSuffix(out, closeScreen) {
			t.Errorf("%d, %v, %s\n%q", code, restored, stderr, out)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("q does not quit")
	}
}
