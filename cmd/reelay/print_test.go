package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"reelay/events"
)

// golden compares text line by line, so that a difference is easy to find.
func golden(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestPrintTasks(t *testing.T) {
	var b bytes.Buffer
	running := with(aTask(), func(t *events.Task) {
		t.ID, t.Status, t.Phase, t.ProgressPercentage, t.SceneID = "a-long-task-id", events.StatusInProgress,
			events.PhaseRunning, ptr(42.4), "s1\ttab"
		t.QueuePosition, t.Pace = &events.QueuePosition{Provider: ptr(0)}, events.PaceSlow
		t.ETA, t.ETAEarliest, t.ETALatest = ptr(start.Add(3*time.Minute)), ptr(start.Add(2*time.Minute)),
			ptr(start.Add(5*time.Minute))
	})
	paused := with(aTask(), func(t *events.Task) {
		t.Blocked, t.QueuePosition = &events.Blocked{Reason: events.BlockedPaused, Message: "paused by heron"},
			&events.QueuePosition{Ours: ptr(2)}
	})
	limited := with(aTask(), func(t *events.Task) {
		t.Blocked, t.EstimatedWaitS = &events.Blocked{Reason: events.BlockedRequests, Message: "20 requests in a minute"},
			ptr(40.0)
	})
	if err := printTasks(&b, []events.Task{aTask(), paused, limited, running, completed(aTask())},
		start.Add(90*time.Second)); err != nil {
		t.Fatal(err)
	}
	golden(t, b.String(), `TASK                 TYPE   STATE             QUEUE      DONE  AGE    LEFT          PACE  PROVIDER  MODEL       SCENE
demo.t1              video  waiting           -          -     1m30s  -             -     fal       fal-ai/wan  -
demo.t1              video  waiting (paused)  #3 here    -     1m30s  -             -     fal       fal-ai/wan  -
demo.t1              video  waiting           -          -     1m30s  40s           -     fal       fal-ai/wan  -
demo.a-long-task-id  video  running           #1 at fal  42%   1m30s  30s to 3m30s  slow  fal       fal-ai/wan  s1 tab
demo.t1              video  completed         -          -     1m30s  -             -     fal       fal-ai/wan  -
`)
}

func TestPrintTask(t *testing.T) {
	var b bytes.Buffer
	task := with(failed(aTask()), func(t *events.Task) {
		t.Metadata = map[string]string{"b": "2", "a": "1"}
		t.ProviderID, t.ProviderWord = "p-1", "COMPLETED"
		t.Cost = &events.Cost{EstimatedUSD: ptr(0.28), Units: ptr(6.0), Unit: "seconds"}
		t.Cancel = &events.CancelState{AskedAt: start, By: "client", Reason: "enough", Outcome: "too_late"}
		t.Result = &events.Result{Outputs: []events.Output{{URL: "https://m/x.mp4", ExpiresAt: ptr(start.Add(time.Hour))}}}
		t.Logs = []events.LogLine{{Message: "step 1"}}
	})
	if err := printTask(&b, task, start.Add(2*time.Hour), time.UTC); err != nil {
		t.Fatal(err)
	}
	golden(t, b.String(), `task           demo.t1
makes          video
status         failed
state          failed
time           1m05s
provider       fal
model          fal-ai/wan
provider id    p-1
provider says  COMPLETED
created        2026-01-31 12:00:00
ended          2026-01-31 12:01:05
cancel         asked for by client at 2026-01-31 12:00:00, reason: enough, outcome: too_late
error          input new_sensitive (1026)
kind           moderation
charge         none
cost           estimated $0.2800, billed 6 seconds
metadata       a=1
metadata       b=2
output         https://m/x.mp4
               expires 2026-01-31 13:00:00
log            step 1
`)
}

// TestPrintTaskInDoubt shows what a person decides by: the answer, and what the polls say now.
func TestPrintTaskInDoubt(t *testing.T) {
	var b bytes.Buffer
	task := with(aTask(), func(t *events.Task) {
		t.Status, t.Phase = events.StatusInProgress, events.PhaseInDoubt
		t.Trouble = &events.Trouble{Kind: events.KindInternal, Message: "wrong_task", Since: start}
		t.Attempts = []events.Attempt{{
			N: 1, Outcome: events.AttemptInDoubt, Error: &events.Error{Code: "unreadable", Message: "no id in the answer"},
			Evidence: []events.Evidence{{At: start, Source: "reply", Note: "HTTP 502", Answer: "<html>\nbad gateway"}},
		}}
	})
	if err := printTask(&b, task, start.Add(time.Minute), time.UTC); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"in doubt: asking fal whether it took the request\n",
		"polls say  internal: wrong_task (since 2026-01-31 12:00:00)\n",
		"in doubt   reply: HTTP 502\n", "  answer   <html> bad gateway\n",
		"  error    no id in the answer (unreadable)\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing from\n%s", want, &b)
		}
	}
}

func TestPrintTaskResult(t *testing.T) {
	for name, row := range map[string]struct {
		result events.Result
		want   string
	}{
		"files": {
			events.Result{
				Outputs: []events.Output{
					{Object: "output-1", Size: 5 << 20},
					{URL: "data:image/png;base64,iVBORw0KGgoAAAANSUhEUg=="},
					{URL: "https://m/x.mp4"},
				},
				Raw: []byte(`{"a":1}`), Notes: []string{"it was flagged"},
			},
			`output    stored as output-1 (5242880 bytes)
          to get it: nats object get reelay_objects output-1
output    data: image/png, 16 bytes, in the record (--output DIR saves it)
output    https://m/x.mp4
note      it was flagged
`,
		},
		"a voice": {
			events.Result{Values: map[string]string{events.ValueVoiceID: "narrator-7"}, Raw: []byte(`{"demo_audio":""}`)},
			`value     voice_id=narrator-7
`,
		},
		"words": {
			events.Result{Raw: []byte(`{"text":"a kite"}`)}, `output    no file; the provider's own result is below

{
  "text": "a kite"
}
`,
		},
		"many words": {
			events.Result{Raw: []byte(`"` + strings.Repeat("k", maxRawBytes) + `"`)},
			"output    no file; the provider's own result is below\n\n\"" + strings.Repeat("k", maxRawBytes-1) +
				"\n... all of it: reelay get demo.t1 --json\n",
		},
		"too many for the record": {
			events.Result{RawRef: "result-1"}, `output    no file; the provider's own result is stored as result-1
          to get it: nats object get reelay_objects result-1
`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			task := with(completed(aTask()), func(t *events.Task) { t.Result = &row.result })
			if err := printTask(&b, task, start, time.UTC); err != nil {
				t.Fatal(err)
			}
			_, got, _ := strings.Cut(b.String(), " 2026-01-31 12:01:05\n")
			golden(t, got, row.want)
		})
	}
}

func TestPrintTimeline(t *testing.T) {
	var b bytes.Buffer
	at := func(d time.Duration) time.Time { return start.Add(d) }
	r := events.TimelineReply{
		TaskID: "t1",
		Transitions: []events.Transition{
			{At: at(0), Name: "accept", To: events.PhaseWaiting, By: "submitter", Note: "request accepted"},
			{
				At: at(40 * time.Millisecond), Name: "intend", From: events.PhaseWaiting, To: events.PhaseSubmitting,
				By: "submitter", Attempt: 1, Note: "its turn",
			},
			{
				At: at(30*time.Second + 40*time.Millisecond), Name: "doubt", From: events.PhaseSubmitting, To: events.PhaseInDoubt,
				By: "submitter", Attempt: 1, Note: "connection reset",
			},
			{
				At: at(3 * time.Minute), Name: "park", From: events.PhaseInDoubt, To: events.PhaseParked, By: "poller",
				Note: "nobody knows",
			},
		},
		Attempts: []events.Attempt{{
			N: 1, IntentAt: at(40 * time.Millisecond), Outcome: events.AttemptInDoubt, Charge: events.ChargePossible,
			BodySHA256: "abcd", Evidence: []events.Evidence{
				{At: at(30 * time.Second), Source: "reply", Note: "connection reset after the last byte"},
			},
			Error: &events.Error{Code: "network", Message: "connection reset"},
		}},
	}
	if err := printTimeline(&b, aTask().Key(), r, time.UTC); err != nil {
		t.Fatal(err)
	}
	golden(t, b.String(), `task demo.t1

TIME                     AFTER   WHO        STEP    PHASE                  WHY
2026-01-31 12:00:00.000          submitter  accept  waiting                request accepted
2026-01-31 12:00:00.040  +40ms   submitter  intend  waiting > submitting   [attempt 1] its turn
2026-01-31 12:00:30.040  +30s    submitter  doubt   submitting > in_doubt  [attempt 1] connection reset
2026-01-31 12:03:00.000  +2m30s  poller     park    in_doubt > parked      nobody knows

paid attempt 1, begun 12:00:00: in doubt, it may have been charged
  sent      body with SHA-256 abcd
  12:00:30  reply: connection reset after the last byte
  error     connection reset (network)

Nobody knows whether the provider took the last request. Search the provider's own dashboard for it, then:
  reelay resolve demo.t1 --adopt ID    it is there, under this id
  reelay resolve demo.t1 --resubmit    it is not there: ask again, which pays again if it was there after all
  reelay resolve demo.t1 --write-off   end the task as failed
`)
}

func TestPrintQueue(t *testing.T) {
	var b bytes.Buffer
	r := events.QueueReply{
		Total: 9, ActiveCount: 4,
		ByStatus: map[events.Status]int{events.StatusQueued: 3, events.StatusInProgress: 1, events.StatusCompleted: 5},
		Lanes: []events.LaneQueue{{
			Lane: "fal-team2", Provider: "fal", ByPhase: map[events.Phase]int{events.PhaseWaiting: 2, events.PhaseParked: 1},
			Active: 4, AtProvider: 1, CompletedLastHour: 5, OldestWaitingS: 61, SentPerMinute: 4,
			Callbacks: &events.CallbackHealth{MissRate: 0.024, LagS: 0.31, Seen: 50},
			Typical: map[events.TaskType]events.Typical{
				events.Video: {Samples: 120, WaitS: 20, RunS: 160, WholeS: 182, LateS: 250},
				events.Image: {Samples: 2, WholeS: 9, LateS: 14},
			},
			Blocked: []events.Blocked{
				{Reason: events.BlockedBreaker, Message: "3 outcomes in a row are\x1bunknown", Until: ptr(start.Add(time.Minute))},
				{Reason: events.BlockedInFlight, Model: "fal-ai/wan", Message: "2 of 2 are at the provider"},
				{
					Reason: events.BlockedCap, Model: "fal-ai/kling", Project: "demo", Message: "the cap of today is used up",
					Until: ptr(start.Add(12 * time.Hour)),
				},
			},
		}},
	}
	if err := printQueue(&b, r, time.UTC); err != nil {
		t.Fatal(err)
	}
	golden(t, b.String(), `4 active of 9 kept:  queued 3  in_progress 1  completed 5  failed 0  cancelled 0

LANE       PROVIDER  WAITING  IN DOUBT  PARKED  AT PROVIDER  ACTIVE  DONE/H  FAILED/H  OLDEST WAIT
fal-team2  fal       2        0         1       1            4       5       0         1m01s
fal-team2 blocked (breaker): 3 outcomes in a row are unknown, until 2026-01-31 12:01:00
fal-team2 models fal-ai/wan blocked (in_flight): 2 of 2 are at the provider, no end known
fal-team2 models fal-ai/kling project demo blocked (cap): the cap of today is used up, until 2026-02-01 00:00:00
fal-team2 sent 4 in the last minute
fal-team2 image takes 9s, nine of ten under 14s (learned from 2)
fal-team2 video takes 3m02s, nine of ten under 4m10s; it waits 20s and runs 2m40s (learned from 120)
fal-team2 callbacks: 2% missed, 0.3s behind (50 ends seen)
`)
}

// TestPrintEstimate: get shows when a task that has not ended is thought to end.
func TestPrintEstimate(t *testing.T) {
	var b bytes.Buffer
	task := with(aTask(), func(t *events.Task) {
		t.Phase, t.Status, t.Pace = events.PhaseRunning, events.StatusInProgress, events.PaceCongested
		t.ETA, t.ETAEarliest, t.ETALatest = ptr(start.Add(3*time.Minute)), ptr(start.Add(2*time.Minute)),
			ptr(start.Add(5*time.Minute))
	})
	if err := printTask(&b, task, start.Add(time.Minute), time.UTC); err != nil {
		t.Fatal(err)
	}
	golden(t, b.String(), `task        demo.t1
makes       video
status      in_progress
state       running at fal  congested
time        1m00s  1m00s to 4m00s left
ends about  2026-01-31 12:03:00, likely between 12:02:00 and 12:05:00
pace        congested
provider    fal
model       fal-ai/wan
created     2026-01-31 12:00:00
deadline    2026-01-31 12:30:00
`)
	b.Reset()
	e := event(task, events.EventProgress)
	e.Time = start.Add(time.Minute)
	printEvent(&b, e, time.UTC)
	golden(t, b.String(), "12:01:00  demo.t1  progress  running at fal  congested  1m00s to 4m00s left\n")
}

// TestPrintBlocked: get shows what keeps a waiting task, a limit at work as well, and of no other task.
func TestPrintBlocked(t *testing.T) {
	blocked := with(aTask(), func(t *events.Task) {
		t.QueuePosition = &events.QueuePosition{Ours: ptr(2)}
		t.Blocked = &events.Blocked{Reason: events.BlockedPaused, Message: "paused by heron: the\x1bbill"}
	})
	var b bytes.Buffer
	if err := printTask(&b, blocked, start.Add(time.Minute), time.UTC); err != nil {
		t.Fatal(err)
	}
	golden(t, b.String(), `task      demo.t1
makes     video
status    queued
state     waiting for its turn  #3 here
blocked   paused by heron: the bill, no end known
time      1m00s
provider  fal
model     fal-ai/wan
created   2026-01-31 12:00:00
deadline  2026-01-31 12:30:00
`)
	for _, row := range []struct {
		name, want string
		change     func(*events.Task)
	}{
		{
			"until", "blocked   paused, until 2026-01-31 13:05:00\n",
			func(t *events.Task) { t.Blocked.Message, t.Blocked.Until = "paused", ptr(start.Add(5*time.Minute)) },
		},
		{
			"a limit", "blocked   20 in a minute, no end known\n",
			func(t *events.Task) { t.Blocked.Reason, t.Blocked.Message = events.BlockedRequests, "20 in a minute" },
		},
		{"no hold", "", func(t *events.Task) { t.Blocked = nil }},
		{"sent since", "", func(t *events.Task) { t.Phase = events.PhaseSubmitting }},
	} {
		task := with(blocked, func(t *events.Task) { t.Blocked = ptr(*blocked.Blocked); row.change(t) })
		var b bytes.Buffer
		if err := printTask(&b, task, start, time.FixedZone("", 3600)); err != nil {
			t.Fatal(err)
		}
		got := ""
		for line := range strings.Lines(b.String()) {
			if strings.HasPrefix(line, "blocked") {
				got += line
			}
		}
		if got != row.want {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
}

// TestPrintETA: an end that is known to the second is no range, and one after the deadline is marked.
func TestPrintETA(t *testing.T) {
	task := with(aTask(), func(t *events.Task) {
		t.ETA, t.ETAEarliest, t.ETALatest = ptr(start.Add(time.Hour)), ptr(start.Add(time.Hour)), ptr(start.Add(time.Hour))
	})
	if got := describeETA(task, time.UTC); got != "2026-01-31 13:00:00; its deadline is before that" {
		t.Errorf("%q", got)
	}
	task.Deadline = start.Add(time.Hour)
	if got := describeETA(task, time.UTC); got != "2026-01-31 13:00:00" {
		t.Errorf("%q", got)
	}
}

// TestPrintReason: what an event says is said once, with field and code.
func TestPrintReason(t *testing.T) {
	for _, row := range []struct {
		message string
		err     *events.Error
		want    string
	}{
		{
			"input: is missing", &events.Error{Field: "input", Code: "invalid_request", Message: "input: is missing"},
			"input: is missing (invalid_request)",
		},
		{
			"too long", &events.Error{Field: "id", Code: "invalid_request", Message: "too long"},
			"id: too long (invalid_request)",
		},
		{"refused twice", &events.Error{Code: "1026", Message: "unsafe"}, "refused twice  unsafe (1026)"},
		{"the lane sends again", nil, "the lane sends again"},
	} {
		var b bytes.Buffer
		printEvent(&b, events.Event{
			Type: events.EventRejected, Project: "demo", TaskID: "t1", Time: start,
			Message: row.message, Error: row.err,
		}, time.UTC)
		golden(t, b.String(), "12:00:00  demo.t1  rejected  "+row.want+"\n")
	}
}
