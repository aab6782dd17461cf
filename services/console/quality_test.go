package console_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"reelay/events"
)

// What was told is compared with what came, and who brought the news is counted.
func TestQuality(t *testing.T) {
	run(t, false, func(e *fixture) {
		if page := e.page("/quality"); !strings.Contains(page, "No task has ended yet") {
			e.Error("an empty page does not say so")
		}
		e.submit("kite-1", `{}`)
		e.submit("failed-1", `{"fail":"422"}`)
		for _, id := range []string{"kite-1", "failed-1"} {
			if _, err := e.client.Wait(e.Context(), events.Key{Project: "demo", ID: id}); err != nil {
				e.Fatal(err)
			}
		}
		time.Sleep(time.Minute) // the poller reports
		page := e.page("/quality")
		for _, text := range []string{"Of the last 2 tasks", "<dd>50 %</dd>", "kling-video/v3/pro", "of 1</span>", `aria-label="`} {
			if !strings.Contains(page, text) {
				e.Errorf("the page does not tell %q", text)
			}
		}
		_, lanes, _ := strings.Cut(page, "How soon ends are known")
		if _, row, _ := strings.Cut(lanes, `<th scope="row">fal</th>`); !strings.Contains(row, `<td class="n">2</td>`) {
			e.Errorf("the lane does not tell of two ends: %s", row)
		}
	})
}

// A batch, and what a task is made of, are trees in which a task stands below what waits for it, with what was made.
func TestTree(t *testing.T) {
	run(t, false, func(e *fixture) {
		e.submit("kite-1", `{}`)
		e.submit("kite-2", `{}`)
		for id, input := range map[string]string{
			"both-1":  `{"videos":[{"$from":"kite-1"},{"$from":"kite-2"}]}`,
			"later-1": `{"videos":[{"$from":"both-1"},{"$from":"kite-1"}]}`,
		} {
			_, err := e.client.Submit(e.Context(), "demo", events.Video, events.Request{
				ID: id, Provider: "local", Model: "ffmpeg/concat", Input: json.RawMessage(input), BatchID: "b-1", After: []string{"nobody-1"},
			})
			if err != nil {
				e.Fatal(err)
			}
		}
		order := func(path string, want ...string) {
			e.Helper()
			_, tree, _ := strings.Cut(e.page(path), `<ul class="tree">`)
			for _, text := range want {
				var ok bool
				if _, tree, ok = strings.Cut(tree, text); !ok {
					e.Errorf("%s: no %q where it belongs", path, text)
				}
			}
		}
		const sub = `<ul class="tree">`
		whole := []string{"demo.later-1<", sub, "demo.both-1<", sub, "demo.kite-1<", "shown above"}
		order("/tasks/demo/later-1/parts", whole...)
		order("/batches/demo/b-1", "demo.later-1<", sub, "demo.both-1<", "not asked for yet")
		order("/tasks/demo/kite-1/parts", "demo.kite-1<")
		if res, _ := e.do(http.MethodGet, "/tasks/demo/nobody-1/parts", nil, nil); res.StatusCode != http.StatusNotFound {
			e.Errorf("the parts of nothing: %s", res.Status)
		}
		if _, err := e.client.Wait(e.Context(), events.Key{Project: "demo", ID: "kite-1"}); err != nil {
			e.Fatal(err)
		}
		time.Sleep(10 * time.Second) // stored
		if page := e.page("/batches/demo/b-1"); !strings.Contains(page, `src="/tasks/demo/kite-1/outputs/0"`) {
			e.Error("what a part has made is not played")
		}
	})
}
