package minimax_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"reelay/internal/emulator"
	"reelay/internal/emulator/minimax"
)

// A post is one call to a callback URL.
type post struct {
	at        time.Time
	text      string
	challenge json.RawMessage
}

// A receiver is the network and what listens on it. It gives challenges back.
type receiver struct {
	mu    sync.Mutex
	posts []post
	// reply changes how a challenge is answered; nil is as it should be.
	reply func(challenge string) (int, string, time.Duration)
	// refuse is the status of updates; 0 is 200.
	refuse int
}

func (rc *receiver) RoundTrip(r *http.Request) (*http.Response, error) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var b struct {
		Challenge json.RawMessage `json:"challenge"`
	}
	_ = json.Unmarshal(text, &b) // some are cut off
	rc.mu.Lock()
	rc.posts = append(rc.posts, post{time.Now(), string(text), b.Challenge})
	status, answer, wait := http.StatusOK, `{"status":"success"}`, time.Duration(0)
	switch {
	case b.Challenge != nil && rc.reply != nil:
		status, answer, wait = rc.reply(string(b.Challenge))
	case b.Challenge != nil:
		answer = string(text)
	case rc.refuse != 0:
		status = rc.refuse
	}
	rc.mu.Unlock()
	select {
	case <-time.After(wait):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(answer)), Request: r}, nil
}

// updates are the posts without the challenges.
func (rc *receiver) updates() []post {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(rc.posts), func(p post) bool { return p.challenge != nil })
}

func (rc *receiver) challenges() []post {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(rc.posts), func(p post) bool { return p.challenge == nil })
}

func serving(t testing.TB, o minimax.Options) (*minimax.Server, func()) {
	t.Helper()
	s := minimax.New(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	synctest.Wait() // it has begun, and whatever comes has to wake it
	stop := func() { cancel(); <-done }
	t.Cleanup(stop)
	return s, stop
}

const callback = `"callback_url":"https://callbacks.example.test/cb"`

// states are the states that a job's updates tell, in the order in which they arrived, each with when it did.
func states(t testing.TB, s *minimax.Server, id string, posts []post) string {
	t.Helper()
	j, ok := s.Ledger().Job(id)
	if !ok {
		t.Fatalf("no job %s", id)
	}
	var all []string
	for _, p := range posts {
		var b struct {
			TaskID string `json:"task_id"`
			Status string
			Task   struct{ ID, Status string }
		}
		if err := json.Unmarshal([]byte(p.text), &b); err != nil {
			all = append(all, "?")
			continue
		}
		word := b.Status + b.Task.Status
		if b.TaskID+b.Task.ID != id {
			word = "(" + word + ")"
		}
		all = append(all, word+" "+p.at.Sub(j.At).String())
	}
	return strings.Join(all, ", ")
}

func TestUpdates(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, emulate string
		cancelAfter   time.Duration
		v1, v2        string
	}{
		{"success", `{}`, 0, "processing 8s, success 28s", "queued 0s, running 8s, succeeded 28s"},
		{"failure", `{"fail":"1027"}`, 0, "processing 8s, failed 28s", "queued 0s, running 8s, failed 28s"},
		{"stalled", `{"stall":"running"}`, 0, "processing 8s", "queued 0s, running 8s"},
		{"stalled in the queue", `{"stall":"queued"}`, 0, "", "queued 0s"},
		{"no time in the queue", `{"queue_ms":0}`, 0, "processing 0s, success 20s", "running 0s, succeeded 20s"},
		{"cancelled", `{}`, 3 * time.Second, "", "queued 0s, cancelled 3s"},
		{"deleted by a race", `{"cancel":"deleted"}`, 3 * time.Second, "", "queued 0s, succeeded 3s"},
		{"drop", `{"webhook":"drop"}`, 0, "", ""},
		{
			"duplicate", `{"webhook":"duplicate"}`, 0, "processing 8s, processing 8s, success 28s, success 28s",
			"queued 0s, queued 0s, running 8s, running 8s, succeeded 28s, succeeded 28s",
		},
		{
			"delay", `{"webhook":"delay","webhook_delay_ms":5000}`, 0, "processing 13s, success 33s",
			"queued 5s, running 13s, succeeded 33s",
		},
		{"truncated", `{"webhook":"truncated"}`, 0, "?, ?", "?, ?, ?"},
		{
			"forged", `{"webhook":"forged"}`, 0, "(processing) 8s, processing 8s, (success) 28s, success 28s",
			"(queued) 0s, queued 0s, (running) 8s, running 8s, (succeeded) 28s, succeeded 28s",
		},
		{
			"signatures are not known", `{"webhook":"bad_signature,old_timestamp"}`, 0, "processing 8s, success 28s",
			"queued 0s, running 8s, succeeded 28s",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				for _, api := range []struct {
					want   string
					create func() (*minimax.Server, *receiver, string)
				}{
					{row.v1, func() (*minimax.Server, *receiver, string) {
						rc := &receiver{}
						o := paced()
						o.Transport = rc
						s, _ := serving(t, o)
						return s, rc, createV1(t, s, with(callback+`,"emulate":`+row.emulate, goodV1))
					}},
					{row.v2, func() (*minimax.Server, *receiver, string) {
						rc := &receiver{}
						o := paced()
						o.Transport = rc
						s, _ := serving(t, o)
						return s, rc, createV2(t, s, with(callback+`,"emulate":`+row.emulate, goodV2))
					}},
				} {
					s, rc, id := api.create()
					if row.cancelAfter > 0 {
						time.Sleep(row.cancelAfter)
						call(t, s, "k", http.MethodDelete, "/v2/video_generation/"+id, "")
						if j, _ := s.Ledger().Job(id); j.Extra["api"] == "v1" {
							continue // V1 has no cancel
						}
					}
					time.Sleep(time.Hour)
					if got := states(t, s, id, rc.updates()); got != api.want {
						t.Errorf("updates %s, want %s", got, api.want)
					}
				}
			})
		})
	}
}

// The last update is the first to arrive.
func TestUpdatesReordered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rc := &receiver{}
		o := paced()
		o.Transport = rc
		s, _ := serving(t, o)
		id := createV2(t, s, with(callback+`,"emulate":{"webhook":"reorder","webhook_delay_ms":1}`, goodV2))
		time.Sleep(time.Hour)
		got := states(t, s, id, rc.updates())
		if !strings.HasPrefix(got, "succeeded 28.") || !strings.Contains(got, "queued 29s") ||
			!strings.Contains(got, "running 29s") {
			t.Errorf("updates %s, want queued and running after succeeded", got)
		}
	})
}

func TestUpdateBodies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rc := &receiver{}
		s, _ := serving(t, minimax.Options{Transport: rc})
		v1 := createV1(t, s, with(callback, goodV1))
		synctest.Wait()
		v1Failed := createV1(t, s, with(callback+`,"emulate":{"fail":"1027"}`, goodV1))
		synctest.Wait()
		v2 := createV2(t, s, with(callback, goodV2))
		synctest.Wait()
		v2Null := createV2(t, s, with(callback+`,"emulate":{"webhook":"null_payload"}`, goodV2))
		synctest.Wait()
		posts := rc.updates()
		if len(posts) != 4 {
			t.Fatalf("%d updates, want 4", len(posts))
		}
		file := queryV1(t, s, v1).FileID
		for i, want := range []string{
			`{"task_id":"` + v1 + `","status":"success","file_id":"` + file +
				`","video_width":1366,"video_height":768,"base_resp":{"status_code":0,"status_msg":"success"}}`,
			`{"task_id":"` + v1Failed +
				`","status":"failed","file_id":"","video_width":0,"video_height":0,"base_resp":{"status_code":1027,` +
				`"status_msg":"output new_sensitive"}}`,
		} {
			if posts[i].text != want {
				t.Errorf("update %s\nwant %s", posts[i].text, want)
			}
		}
		query := strings.TrimSpace(queryV2(t, s, v2).Body)
		if strings.ReplaceAll(posts[2].text, `\u0026`, "&") != strings.ReplaceAll(query, `\u0026`, "&") {
			t.Errorf("update %s\nwant the answer to a query: %s", posts[2].text, query)
		}
		if !strings.Contains(posts[3].text, v2Null) || strings.Contains(posts[3].text, `"content"`) ||
			!strings.Contains(posts[3].text, "succeeded") {
			t.Errorf("update without a payload %s", posts[3].text)
		}
	})
}

func TestChallenge(t *testing.T) {
	t.Parallel()
	echo := func(c string) string { return `{"challenge":` + c + `}` }
	for _, row := range []struct {
		name     string
		reply    func(c string) (int, string, time.Duration)
		accepted bool
		took     time.Duration
	}{
		{"given back", nil, true, 0},
		{
			"just in time", func(c string) (int, string, time.Duration) { return 200, echo(c), 3*time.Second - 1 }, true,
			3*time.Second - 1,
		},
		{
			"too late", func(c string) (int, string, time.Duration) { return 200, echo(c), 3*time.Second + 1 }, false,
			3 * time.Second,
		},
		{"another one", func(string) (int, string, time.Duration) { return 200, echo(`"x"`), 0 }, false, 0},
		{"nothing", func(string) (int, string, time.Duration) { return 200, ``, 0 }, false, 0},
		{"not found", func(c string) (int, string, time.Duration) { return 404, echo(c), 0 }, false, 0},
		{"a redirect", func(c string) (int, string, time.Duration) { return 307, echo(c), 0 }, false, 0},
	} {
		for _, numeric := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				rc := &receiver{reply: row.reply}
				o := minimax.Options{Transport: rc}
				if numeric {
					o.Faults.Shares = map[emulator.Fault]float64{emulator.NumericChallenge: 1}
				}
				s, _ := serving(t, o)
				begin := time.Now()
				a := call(t, s, "k", http.MethodPost, "/v1/video_generation", with(callback, goodV1))
				if took := time.Since(begin); a.code() == 0 != row.accepted || took != row.took ||
					!row.accepted && a.code() != 2013 {
					t.Errorf("%s: %s after %v, want accepted %v after %v", row.name, a.Body, took, row.accepted, row.took)
				}
				if n := len(s.Ledger().Jobs()); n == 1 != row.accepted {
					t.Errorf("%s: %d jobs are paid for", row.name, n)
				}
				if c := rc.challenges(); len(c) != 1 || c[0].challenge[0] == '"' == numeric {
					t.Errorf("%s: challenges %+v, a number: %v", row.name, c, numeric)
				}
				synctest.Wait()
				if !row.accepted && len(rc.updates()) != 0 {
					t.Errorf("%s: %d updates", row.name, len(rc.updates()))
				}

				o.FailedChallenge = minimax.IgnoreCallback
				s, _ = serving(t, o)
				id := createV2(t, s, with(callback, goodV2))
				before := len(rc.updates())
				synctest.Wait()
				if got := len(rc.updates()) - before; got > 0 && !row.accepted {
					t.Errorf("%s: %d updates to who is deaf", row.name, got)
				}
				if a := queryV2(t, s, id); a.Task.Status != "succeeded" {
					t.Errorf("%s: %s", row.name, a.Body)
				}
			})
		}
	}
}

// There is one try, unless more are asked for.
func TestUpdatesAreNotTriedAgain(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		retries []time.Duration
		tries   int
	}{
		{nil, 1},
		{[]time.Duration{time.Second, time.Minute}, 3},
	} {
		synctest.Test(t, func(t *testing.T) {
			rc := &receiver{refuse: 503}
			s, _ := serving(t, minimax.Options{Transport: rc, WebhookRetries: row.retries})
			id := createV1(t, s, with(callback, goodV1))
			time.Sleep(time.Hour)
			j, _ := s.Ledger().Job(id)
			d := j.Delivery("success")
			if len(rc.updates()) != row.tries || d.Tries != row.tries || d.Ended != emulator.GaveUp || d.Status != 503 {
				t.Errorf("%d updates, %+v, want %d", len(rc.updates()), d, row.tries)
			}
		})
	}
}

func TestUpdatesGoOnAfterARestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "ledger")
		rc := &receiver{}
		start := func() (*minimax.Server, func()) {
			l, err := emulator.OpenLedger(path)
			if err != nil {
				t.Fatal(err)
			}
			o := paced()
			o.Ledger, o.Transport = l, rc
			s, stop := serving(t, o)
			return s, func() {
				stop()
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			}
		}
		s, stop := start()
		id := createV2(t, s, with(callback, goodV2))
		time.Sleep(time.Second)
		stop()
		time.Sleep(14 * time.Second)
		s, stop = start()
		time.Sleep(time.Minute)
		if got := states(t, s, id, rc.updates()); got != "queued 0s, running 15s, succeeded 28s" {
			t.Errorf("updates %s, want running told of after the restart and queued not again", got)
		}
		stop()
	})
}

// An update can be there before the answer to its create.
func TestUpdateBeforeTheReply(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rc := &receiver{}
		s, _ := serving(t, minimax.Options{Transport: rc})
		id := createV1(t, s, with(callback+`,"emulate":{"webhook":"before_reply"}`, goodV1))
		if got := states(t, s, id, rc.updates()); got != "success 0s" {
			t.Errorf("updates %q when the create is answered, want the last one", got)
		}
	})
}

// What a cancelled task has been through before is told as well, if it was not told in time.
func TestNoticesOfACancelledTask(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := minimax.New(paced())
		id := createV2(t, s, with(callback, goodV2))
		time.Sleep(3 * time.Second)
		call(t, s, "k", http.MethodDelete, "/v2/video_generation/"+id, "")
		j, _ := s.Ledger().Job(id)
		want := []emulator.Webhook{{State: "queued", At: j.At}, {State: "cancelled", At: *j.CancelledAt, Last: true}}
		if got := s.Webhooks(j); !slices.Equal(got, want) {
			t.Errorf("notices %+v, want %+v", got, want)
		}
	})
}
