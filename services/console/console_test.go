package console_test

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"reelay/events"
)

// Whatever the texts of a task are, pages show them as texts, with what a person wants to know beside them.
func TestPages(t *testing.T) {
	run(t, false, func(e *fixture) {
		if text := e.page("/"); !strings.Contains(text, "nats pub -J") {
			e.Error("an empty console does not say what to do first")
		}
		e.submit("kite-1", `{}`)
		e.submit("failed-1", `{"fail":"422"}`)
		time.Sleep(2 * time.Second)
		for text, path := range map[string]string{
			"demo.kite-1":  "/",
			"Likely done":  "/tasks/demo/kite-1",
			"demo.kite-1<": "/tasks?project=demo&status=queued",
			"3 ahead":      "/tasks/demo/kite-1",
		} {
			if page := e.page(path); !strings.Contains(page, text) {
				e.Errorf("%s does not tell %q", path, text)
			}
		}
		if _, err := e.client.Wait(e.Context(), events.Key{Project: "demo", ID: "kite-1"}); err != nil {
			e.Fatal(err)
		}
		time.Sleep(10 * time.Second) // stored
		page := e.page("/tasks/demo/kite-1")
		for _, text := range []string{
			"The provider took it", "Outputs stored", "$0.", "<video controls", "charged",
			"&lt;script&gt;alert(", "the provider&#39;s answer",
		} {
			if !strings.Contains(page, text) {
				e.Errorf("the page of a completed task does not tell %q", text)
			}
		}
		if page := e.page("/tasks/demo/failed-1"); !strings.Contains(page, "nothing was charged") && !strings.Contains(page, "charged") {
			e.Error("the page of a failed task does not tell its charge")
		}
		if page := e.page("/"); !strings.Contains(page, `class="bar-ok"`) || !strings.Contains(page, "completed") {
			e.Error("the first page plots no end")
		}
		if page := e.page("/tasks?status=failed"); strings.Contains(page, "kite-1") || !strings.Contains(page, "failed-1") {
			e.Error("the failed tasks are others")
		}
		if page := e.page("/tasks?" + url.Values{"scene_id": {hostile}}.Encode()); !strings.Contains(page, "kite-1") {
			e.Error("a task is not among those of its scene")
		}
		for path, want := range map[string]int{
			"/tasks/demo/nothing": 404, "/nothing": 404, "/tasks?status=odd": 400, "/tasks?since=soon": 400,
			"/tasks?project=a.b": 400, "/find?task=a+b": 400, "/find?task=demo.kite-1": 303, "/find?task=demo": 303,
			"/tasks/demo/kite-1/outputs/7": 404, "/tasks/demo/kite-1/outputs/x": 404,
		} {
			res, text := e.do(http.MethodGet, path, nil, nil)
			if res.StatusCode != want {
				e.Errorf("%s: %s, want %d", path, res.Status, want)
			}
			e.safe(path, text)
		}
	})
}

// A stored file is played from the console's own address, also in parts, and can do nothing there.
func TestOutput(t *testing.T) {
	run(t, false, func(e *fixture) {
		e.submit("kite-1", `{}`)
		e.submit("text-1", `{"link":"html"}`)
		for _, id := range []string{"kite-1", "text-1"} {
			if _, err := e.client.Wait(e.Context(), events.Key{Project: "demo", ID: id}); err != nil {
				e.Fatal(err)
			}
		}
		time.Sleep(10 * time.Second)
		res, whole := e.do(http.MethodGet, "/tasks/demo/kite-1/outputs/0", nil, nil)
		if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "video/mp4" || len(whole) < 1000 ||
			!strings.Contains(res.Header.Get("Content-Security-Policy"), "sandbox") {
			e.Errorf("the file: %s %v, %d bytes", res.Status, res.Header, len(whole))
		}
		res, part := e.do(http.MethodGet, "/tasks/demo/kite-1/outputs/0", nil, map[string]string{"Range": "bytes=10-19"})
		if res.StatusCode != http.StatusPartialContent || part != whole[10:20] {
			e.Errorf("a part: %s, %q", res.Status, part)
		}
		res, _ = e.do(http.MethodGet, "/tasks/demo/kite-1/outputs/0?save=1", nil, nil)
		if got := res.Header.Get("Content-Disposition"); got != "attachment; filename=kite-1.mp4" {
			e.Errorf("to save: %s", got)
		}
		res, text := e.do(http.MethodGet, "/tasks/demo/text-1/outputs/0", nil, nil)
		if res.StatusCode == http.StatusOK && res.Header.Get("Content-Type") == "text/html" {
			e.Errorf("a page among the outputs is shown: %s", text)
		}
	})
}

// A page moves with its task within a second, and a browser that was away has everything with its first update.
func TestLive(t *testing.T) {
	run(t, false, func(e *fixture) {
		e.submit("kite-1", `{}`)
		page := e.page("/tasks/demo/kite-1")
		_, sequence, _ := strings.Cut(page, `data-live="`)
		sequence, _, _ = strings.Cut(sequence, `"`)
		stream, err := e.client.Subscribe(e.Context(), events.EventSubject(events.Key{Project: "demo", ID: "kite-1"}, "*"))
		if err != nil {
			e.Fatal(err)
		}
		next := func(p events.Phase, kind events.EventType) {
			for event := range stream {
				if event.Phase == p && event.Type == kind {
					return
				}
			}
		}
		ctx, away := context.WithCancel(e.Context())
		updates := e.follow(ctx, "/tasks/demo/kite-1?live="+sequence, "")
		now := e.follow(ctx, "/?live="+sequence, "")
		e.await(updates, "provider&#39;s queue", time.Second)
		next(events.PhaseRunning, events.EventProgress)
		last := e.await(updates, "The provider has begun", time.Second)
		e.await(now, "demo.kite-1", time.Second)
		away()
		next(events.PhaseDone, events.EventStored)
		time.Sleep(time.Second)
		ctx, away = context.WithCancel(e.Context())
		defer away()
		back := e.follow(ctx, "/tasks/demo/kite-1?live="+sequence, last.id)
		u := e.await(back, "Outputs stored", time.Second)
		before, _ := strconv.Atoi(last.id)
		if after, _ := strconv.Atoi(u.id); after <= before {
			e.Errorf("the update after %q has id %q", last.id, u.id)
		}
	})
}

// Where people sign in, nobody sees anything before; where nobody does, strangers' pages cannot lead there.
func TestSignIn(t *testing.T) {
	run(t, true, func(e *fixture) {
		for path, want := range map[string]int{"/": 303, "/tasks/demo/x": 303, "/?live=1": 401, "/static/console.css": 200, "/login": 200} {
			if res, text := e.do(http.MethodGet, path, nil, nil); res.StatusCode != want {
				e.Errorf("%s before signing in: %s %s", path, res.Status, text)
			}
		}
		in := func(token, to string, header map[string]string) *http.Response {
			res, text := e.do(http.MethodPost, "/login", url.Values{"token": {token}, "to": {to}}, header)
			e.safe("/login", text)
			return res
		}
		if res := in("no-token-of-anybody", "/", nil); res.StatusCode != 401 || len(res.Cookies()) != 0 {
			e.Errorf("a wrong token: %s", res.Status)
		}
		if res := in(actorToken, "/", map[string]string{"Sec-Fetch-Site": "cross-site"}); res.StatusCode != 403 {
			e.Errorf("a stranger's page signs somebody in: %s", res.Status)
		}
		for to, want := range map[string]string{
			"/tasks?project=demo": "/tasks?project=demo", "https://evil.example/": "/", "//evil.example": "/", `/\evil.example`: "/",
			"javascript:alert(1)": "/", "": "/",
		} {
			if res := in(actorToken, to, nil); res.StatusCode != 303 || res.Header.Get("Location") != want {
				e.Errorf("signing in leads from %q to %q: %s", to, res.Header.Get("Location"), res.Status)
			}
		}
		if page := e.page("/"); !strings.Contains(page, "heron") {
			e.Error("the page does not tell who has signed in")
		}
	})
}

func TestNames(t *testing.T) {
	run(t, false, func(e *fixture) {
		for host, want := range map[string]int{
			"localhost:8080": 200, "127.0.0.1": 200, "[::1]:8080": 200, "evil.example:8080": 403, "127.0.0.1.evil.example": 403,
		} {
			if res, _ := e.do(http.MethodGet, "/", nil, map[string]string{"Host": host}); res.StatusCode != want {
				e.Errorf("as %s: %s, want %d", host, res.Status, want)
			}
		}
	})
}

// Whoever may act does so by forms of the console alone, with its name; whoever may only read does not.
func TestActions(t *testing.T) {
	run(t, true, func(e *fixture) {
		post := func(path string, form url.Values, want int) string {
			e.Helper()
			res, text := e.do(http.MethodPost, path, form, nil)
			if res.StatusCode != want {
				e.Errorf("%s %v: %s: %s", path, form, res.Status, text)
			}
			return res.Header.Get("Location")
		}
		post("/login", url.Values{"token": {readerToken}}, 303)
		pause := url.Values{"reason": {hostile}, "revision": {"0"}}
		post("/lanes/fal/pause", pause, 403)
		if page := e.page("/lanes"); strings.Contains(page, "/lanes/fal/pause") {
			e.Error("who may only read is offered to pause a lane")
		}
		post("/login", url.Values{"token": {actorToken}}, 303)
		if res, _ := e.do(http.MethodPost, "/lanes/fal/pause", pause, map[string]string{"Origin": "https://evil.example"}); res.StatusCode != 403 {
			e.Errorf("a stranger's page pauses a lane: %s", res.Status)
		}
		if to := post("/lanes/fal/pause", pause, 303); to != "/lanes?done=paused" {
			e.Errorf("pausing leads to %s", to)
		}
		post("/lanes/fal/pause", pause, 409) // somebody else, with the page of before
		if page := e.page("/lanes?done=paused"); !strings.Contains(page, "Paused by heron") || !strings.Contains(page, "Nothing is sent") {
			e.Error("the page of the lanes does not tell who has paused one")
		}
		e.submit("kite-1", `{}`)
		time.Sleep(2 * time.Second)
		if page := e.page("/"); !strings.Contains(page, "sends nothing") || !strings.Contains(page, "It is not sent yet") {
			e.Error("the first page does not tell why a task waits")
		}
		post("/lanes/fal/limits", url.Values{"revision": {"0"}, "limits": {`{"models":{"*":{"in_flight":2}}}`}}, 303)
		post("/lanes/fal/limits", url.Values{"revision": {"0"}, "limits": {`{"models":{"*":{"in_flght":2}}}`}}, 400)
		post("/tasks/demo/kite-1/cancel", url.Values{"reason": {"no"}}, 303)
		if k, err := e.client.Wait(e.Context(), events.Key{Project: "demo", ID: "kite-1"}); err != nil ||
			k.Cancel == nil || k.Cancel.Reason != "no (heron, in the console)" {
			e.Errorf("cancelled: %+v, %v", k.Cancel, err)
		}
		post("/lanes/fal/resume", url.Values{}, 303)
		e.submit("lost-1", `{"submit":"accept_then_hang"}`)
		time.Sleep(4 * time.Minute)
		post("/tasks/demo/kite-1/resolve", url.Values{"action": {"write_off"}}, 409)
		post("/tasks/demo/kite-1/resolve", url.Values{"action": {"eat"}}, 400)
		post("/spend/caps", url.Values{"scope": {"project.demo"}, "daily_usd": {"20"}}, 303)
		post("/spend/caps", url.Values{"scope": {"project.demo"}, "daily_usd": {"much"}}, 400)
		for path, text := range map[string]string{
			"/spend": "of $20.00 a day", "/batches/demo/b-1": "cancelled", "/dead": "There is none", "/callbacks": "Callbacks",
			"/spend?by=project": "demo", "/tasks/demo/lost-1": "the provider",
		} {
			if page := e.page(path); !strings.Contains(page, text) {
				e.Errorf("%s does not tell %q", path, text)
			}
		}
		post("/dead/7/replay", url.Values{}, 404)
		post("/callbacks/x/replay", url.Values{}, 400)
	})
}

// What is wished is quoted before it is made, and a form that is sent twice makes one task.
func TestTry(t *testing.T) {
	run(t, false, func(e *fixture) {
		const model = "fal-ai/kling-video/v3/pro/text-to-video"
		wish := url.Values{"project": {"demo"}, "model": {model}, "prompt": {hostile}, "duration": {"5"}, "ask": {"1"}}
		if page := e.page("/try"); !strings.Contains(page, "kling-video/v3/pro") {
			e.Error("the models are not listed")
		}
		if page := e.page("/try?" + wish.Encode()); !strings.Contains(page, "<dd>$0.") || !strings.Contains(page, "&lt;script&gt;") {
			e.Errorf("there is no quote:\n%s", page)
		}
		wish.Set("duration", "99")
		if page := e.page("/try?" + wish.Encode()); !strings.Contains(page, "It would be refused: ") {
			e.Error("what the model cannot do is not told")
		}
		wish.Set("duration", "5")
		wish.Set("id", "wish-1")
		wish.Set("task_type", "video")
		for range 2 {
			res, text := e.do(http.MethodPost, "/try/submit", wish, nil)
			if to := res.Header.Get("Location"); to != "/tasks/demo/wish-1?done=submitted" {
				e.Errorf("%s, to %q: %s", res.Status, to, text)
			}
		}
		time.Sleep(time.Minute)
		if n := len(e.stack.Ledger("fal").Jobs()); n != 1 {
			e.Errorf("%d jobs were paid for", n)
		}
		if page := e.page("/tasks/demo/wish-1"); !strings.Contains(page, "/try?") {
			e.Error("the task cannot be made again")
		}
	})
}
