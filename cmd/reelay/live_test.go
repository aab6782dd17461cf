package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/terminal"
)

func TestDescribe(t *testing.T) {
	base := aTask()
	now := start.Add(65 * time.Second)
	for _, row := range []struct {
		name, state, times string
		task               events.Task
	}{
		{"accepted", "waiting for its turn", "1m05s", base},
		{"in our queue", "waiting for its turn  #3 here", "1m05s  about 2m00s left", with(base, func(t *events.Task) {
			t.QueuePosition, t.EstimatedWaitS = &events.QueuePosition{Ours: ptr(2)}, ptr(120.0)
		})},
		{"in both queues", "queued at fal  #1 here, #6 at fal", "1m05s  about 30s left", with(base, func(t *events.Task) {
			t.Phase, t.ETA = events.PhaseProviderQueued, ptr(now.Add(30*time.Second))
			t.QueuePosition = &events.QueuePosition{Ours: ptr(0), Provider: ptr(5)}
		})},
		{
			"sum of both queues", "queued at fal  #2 here, #6 at fal, #7 in all", "1m05s  1m00s to 5m00s left",
			with(base, func(t *events.Task) {
				t.Phase, t.ETA = events.PhaseProviderQueued, ptr(now.Add(2*time.Minute))
				t.ETAEarliest, t.ETALatest = ptr(now.Add(time.Minute)), ptr(now.Add(5*time.Minute))
				t.QueuePosition = &events.QueuePosition{Ours: ptr(1), Provider: ptr(5), Total: ptr(6)}
			}),
		},
		{"a narrow range", "running at fal", "1m05s  about 2m00s left", with(base, func(t *events.Task) {
			t.Phase, t.Pace, t.ETA = events.PhaseRunning, events.PaceNormal, ptr(now.Add(2*time.Minute))
			t.ETAEarliest, t.ETALatest = ptr(now.Add(110*time.Second)), ptr(now.Add(130*time.Second))
		})},
		{"later than thought, and slow", "running at fal  slow", "1m05s  0s to 40s left", with(base, func(t *events.Task) {
			t.Phase, t.Pace, t.ETA = events.PhaseRunning, events.PaceSlow, ptr(now.Add(-time.Second))
			t.ETAEarliest, t.ETALatest = ptr(now.Add(-time.Minute)), ptr(now.Add(40*time.Second))
		})},
		{"later than all", "running at fal  stuck", "1m05s  due now", with(base, func(t *events.Task) {
			t.Phase, t.Pace, t.ETA = events.PhaseRunning, events.PaceStuck, ptr(now.Add(-time.Hour))
			t.ETAEarliest, t.ETALatest = ptr(now.Add(-time.Hour)), ptr(now.Add(-time.Minute))
		})},
		{"estimated, then cancelled", "being cancelled at fal", "1m05s", with(base, func(t *events.Task) {
			t.Phase, t.ETA = events.PhaseCancelling, ptr(now.Add(time.Minute))
		})},
		{"blocked", "waiting for its turn  #3 here  (paused by heron)", "1m05s", with(base, func(t *events.Task) {
			t.Blocked, t.QueuePosition = &events.Blocked{Reason: events.BlockedPaused, Message: "paused by\x1bheron"},
				&events.QueuePosition{Ours: ptr(2)}
		})},
		{"depends on others", "waits for a (running)", "1m05s", with(base, func(t *events.Task) {
			t.WaitsFor = []string{"a"}
			t.Blocked = &events.Blocked{Reason: events.BlockedDependency, Message: "waits for a (running)"}
		})},
		{"depends on many, as its event says", "waits for a, b, c, d, e and 2 more", "1m05s", with(base, func(t *events.Task) {
			t.WaitsFor = []string{"a", "b", "c", "d", "e", "f", "g"}
		})},
		{"blocked by a limit at work", "waiting for its turn", "1m05s", with(base, func(t *events.Task) {
			t.Blocked = &events.Blocked{Reason: events.BlockedInFlight, Message: "2 of 2 are at the provider"}
		})},
		{"blocked until it was sent", "running at fal", "1m05s", with(base, func(t *events.Task) {
			t.Blocked, t.Phase = &events.Blocked{Reason: events.BlockedPaused, Message: "paused"}, events.PhaseRunning
		})},
		{
			"submitting", "being submitted to fal", "1m05s",
			with(base, func(t *events.Task) { t.Phase = events.PhaseSubmitting }),
		},
		{"running", "running at fal  42%", "1m05s  due now", with(base, func(t *events.Task) {
			t.Phase, t.Status, t.ProgressPercentage, t.ETA = events.PhaseRunning, events.StatusInProgress, ptr(41.7),
				ptr(now.Add(-time.Second))
		})},
		{"in trouble", "running at fal  (retry: HTTP 502 now)", "1m05s", with(base, func(t *events.Task) {
			t.Phase, t.Trouble = events.PhaseRunning, &events.Trouble{Kind: events.KindRetry, Message: "HTTP 502\x1bnow"}
		})},
		{
			"in doubt", "in doubt: asking fal whether it took the request", "1m05s",
			with(base, func(t *events.Task) { t.Phase = events.PhaseInDoubt }),
		},
		{
			"parked", "parked in doubt: decide with `reelay resolve`", "1m05s",
			with(base, func(t *events.Task) { t.Phase = events.PhaseParked }),
		},
		{
			"cancelling", "being cancelled at fal", "1m05s",
			with(base, func(t *events.Task) { t.Phase = events.PhaseCancelling }),
		},
		{
			"fetching", "finished, fetching the result", "1m05s",
			with(base, func(t *events.Task) { t.Phase = events.PhaseFetching }),
		},
		{"ended long ago", "completed", "1m05s", with(completed(base), func(t *events.Task) {
			t.QueuePosition, t.ProgressPercentage = &events.QueuePosition{Ours: ptr(1)}, ptr(100.0)
		})},
		{"clock behind", "waiting for its turn", "0s", with(base, func(t *events.Task) { t.CreatedAt = now.Add(time.Hour) })},
	} {
		if state, times := describeState(row.task), describeTimes(row.task, now); state != row.state || times != row.times {
			t.Errorf("%s:\ngot  %q, %q\nwant %q, %q", row.name, state, times, row.state, row.times)
		}
	}
}

// TestEveryPhaseHasWords fails when the contract gains a phase that this command would print raw.
func TestEveryPhaseHasWords(t *testing.T) {
	for _, p := range events.Phases() {
		task := with(aTask(), func(t *events.Task) { t.Phase, t.Status = p, "" })
		if words := phaseWords(task); words == string(p) {
			t.Errorf("%s has no words", p)
		}
	}
}

func TestLiveLine(t *testing.T) {
	task := aTask()
	running := with(task, func(t *events.Task) { t.Phase, t.ProgressPercentage = events.PhaseRunning, ptr(10.0) })
	story := func(l *liveLine) {
		now := start
		l.now = func() time.Time { return now }
		l.paint() // nothing is known yet
		l.set(task)
		now = now.Add(time.Second)
		l.paint()
		l.set(running)
		l.set(running)
		l.say("note")
		l.end()
	}
	for _, row := range []struct {
		name  string
		width int
		want  string
	}{
		{"terminal", 40, "\rwaiting for its turn  0s\x1b[K" + "\rwaiting for its turn  1s\x1b[K" +
			"\rrunning at fal  10%  1s\x1b[K" +
			"\rrunning at fal  10%  1s\x1b[K" + "\r\x1b[Knote\n" + "\rrunning at fal  10%  1s\x1b[K" + "\n"},
		{"narrow terminal", 8, "\rwaiting\x1b[K\rwaiting\x1b[K\rrunning\x1b[K\rrunning\x1b[K\r\x1b[Knote\n\rrunning\x1b[K\n"},
		{
			"room for a bar", 60, "\rwaiting for its turn  0s\x1b[K" + "\rwaiting for its turn  1s\x1b[K" +
				"\r[##------------------]  running at fal  10%  1s\x1b[K" +
				"\r[##------------------]  running at fal  10%  1s\x1b[K" + "\r\x1b[Knote\n" +
				"\r[##------------------]  running at fal  10%  1s\x1b[K" + "\n",
		},
		{"no terminal", 0, "0s  waiting for its turn\n1s  running at fal  10%\nnote\n"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var b bytes.Buffer
			story(&liveLine{w: &b, width: row.width})
			if b.String() != row.want {
				t.Errorf("got  %q\nwant %q", b.String(), row.want)
			}
		})
	}
}

// TestLiveLineWide: what is painted over never wraps, as text of wide characters would if runes were counted.
func TestLiveLineWide(t *testing.T) {
	task := with(aTask(), func(t *events.Task) {
		t.Phase, t.ProgressPercentage = events.PhaseRunning, ptr(10.0)
		t.Trouble = &events.Trouble{Kind: "x", Message: strings.Repeat("视频生成中", 20)}
	})
	var one, many bytes.Buffer
	now := func() time.Time { return start }
	(&liveLine{w: &one, width: 60, now: now}).set(task)
	(&liveLines{w: &many, width: 60, now: now, tasks: []events.Task{task}, names: []string{"└─ 风筝"}}).tick()
	for _, painted := range []string{one.String(), strings.TrimSuffix(many.String(), "\n")} {
		line := strings.TrimSuffix(strings.TrimPrefix(painted, "\r"), clearToEnd)
		if n := terminal.Width(line); n > 59 || n < 50 {
			t.Errorf("%d columns: %q", n, line)
		}
	}
}

func TestMeaning(t *testing.T) {
	style := terminal.Style{Colour: true}
	for want, task := range map[string]events.Task{
		"\x1b[32mcompleted\x1b[0m\x1b[2m  1m05s\x1b[0m":         completed(aTask()),
		"\x1b[31mfailed\x1b[0m\x1b[2m  1m05s\x1b[0m":            failed(aTask()),
		"waiting for its turn\x1b[2m  0s\x1b[0m":                aTask(),
		"\x1b[36mrunning at fal\x1b[0m\x1b[2m  0s\x1b[0m":       with(aTask(), func(t *events.Task) { t.Phase = events.PhaseRunning }),
		"\x1b[33mrunning at fal  slow\x1b[0m\x1b[2m  0s\x1b[0m": with(aTask(), func(t *events.Task) { t.Phase, t.Pace = events.PhaseRunning, events.PaceSlow }),
	} {
		if got := paintTask(style, "", task, start, 60); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 59*time.Second + 400*time.Millisecond: "59s", 59*time.Second + 500*time.Millisecond: "1m00s",
		time.Hour + 62*time.Second: "1h01m", 47 * time.Hour: "47h00m", 76 * time.Hour: "3d04h",
	} {
		if got := short(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}
