package minimax_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"reelay/events"
	"reelay/internal/provider"
)

// unconfirmed are ends that MiniMax did not tell of in a word it is known for: none may be a verdict at the first poll, or
// say that nothing was charged, and the answer is kept.
var unconfirmed = []struct {
	name, model, query string
	file               string // the answer to files/retrieve; "" where it must not be asked
	kind               events.Kind
	code, words        string
	charge             events.Charge
}{
	{
		"v1 without a file_id", modelV1, v1Answer("Success", `,"file_id":""`+fine), "", events.KindInternal, "no_output",
		"MiniMax finished it and names no file", events.ChargePossible,
	},
	{
		"v1 with an odd file_id", modelV1, v1Answer("Success", `,"file_id":"../x"`+fine), "", events.KindInternal,
		"no_output", `file_id "../x"`, events.ChargePossible,
	},
	{
		"v1 without a link", modelV1, v1Answer("Success", `,"file_id":"17"`+fine),
		`{"file":{"file_id":17,"download_url":""}}`,
		events.KindInternal, "no_output", `file_id "17"`, events.ChargePossible,
	},
	{
		"v1 with a bad link", modelV1, v1Answer("Success", `,"file_id":"17"`+fine),
		`{"file":{"download_url":"javascript:alert(1)"}}`, events.KindInternal, "bad_result_url", "javascript",
		events.ChargePossible,
	},
	// The file is missing, not the task.
	{
		"v1 without the file", modelV1, v1Answer("Success", `,"file_id":"17"`+fine), v1Body(2013, "file not found"),
		events.KindInvalid, "2013", "file not found", events.ChargePossible,
	},
	{
		"v1 with a file of the filter", modelV1, v1Answer("Success", `,"file_id":"17"`+fine), v1Body(1027, "new_sensitive"),
		events.KindModeration, "1027", "new_sensitive", events.ChargePossible,
	},
	{
		"v2 without content", modelV2, v2Answer("succeeded", `,"content":{},"usage":{"total_seconds":5}`), "",
		events.KindInternal, "no_output", "MiniMax finished it and names no file", events.ChargeConfirmed,
	},
	{
		"v2 without content and usage", modelV2, v2Answer("succeeded", `,"usage":{"total_seconds":0}`), "",
		events.KindInternal, "no_output", "names no file", events.ChargePossible,
	},
	{
		"v2 with a bad link", modelV2, v2Answer("succeeded", `,"content":{"url":"file:///etc/passwd"}`), "",
		events.KindInternal, "bad_result_url", "file:///etc/passwd", events.ChargePossible,
	},
	{
		"v2 with a long link", modelV2,
		v2Answer("succeeded", `,"content":{"url":"https://h/`+strings.Repeat("x", 9000)+`"}`), "",
		events.KindInternal, "bad_result_url", "https://h/", events.ChargePossible,
	},
	{
		"v2 with a new word", modelV2, v2Answer("timeout", `,"error":{"code":"1026","message":"flagged"}`), "",
		events.KindModeration, "1026", `MiniMax says "timeout": flagged`, events.ChargePossible,
	},
	{
		"v2 with a new word and words", modelV2, v2Answer("rejected", `,"error":"no such thing"`), "",
		events.KindInternal, "rejected", "no such thing", events.ChargePossible,
	},
	{
		"v1 with a new word", modelV1, v1Answer("error", moder), "", events.KindModeration, "1027", "new_sensitive",
		events.ChargePossible,
	},
}

func TestUnconfirmed(t *testing.T) {
	t.Parallel()
	for _, row := range unconfirmed {
		d := serving(t, func(w http.ResponseWriter, r *http.Request) {
			answer := row.query
			if strings.HasPrefix(r.URL.Path, "/v1/files/") {
				answer = row.file
			}
			_, _ = io.WriteString(w, answer)
		})
		snap, err := d.Poll(t.Context(), refOf(t, d, row.model, taskID))
		if err != nil || snap.State != provider.Failed || !snap.Unconfirmed || snap.Err == nil || snap.ResultPending {
			t.Errorf("%s: %+v, %v, want an end that is not confirmed", row.name, snap, err)
			continue
		}
		if e := snap.Err; e.Kind != row.kind || e.Code != row.code || e.Charge != row.charge ||
			!strings.Contains(e.Message, row.words) {
			t.Errorf("%s: %+v, want %s %s %s with %q", row.name, e, row.kind, row.code, row.charge, row.words)
		}
		if !json.Valid(snap.Raw) || !strings.Contains(string(snap.Raw), taskID) ||
			row.file != "" && !strings.Contains(string(snap.Raw), row.file) {
			t.Errorf("%s: raw %s", row.name, snap.Raw)
		}
	}
}

// TestReasons reads the reason of a failure from wherever it stands.
func TestReasons(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		model, body string
		kind        events.Kind
		words       string
	}{
		{modelV2, v2Answer("failed", `,"error":"no GPU"`), events.KindInternal, "no GPU"},
		{modelV2, v2Answer("failed", `,"error":{"message":{"detail":"no GPU"}}`), events.KindInternal, "no GPU"},
		{modelV2, v2Answer("failed", `,"error":{},"message":"no GPU"`), events.KindInternal, "no GPU"},
		{modelV2, v2Answer("failed", `,"fail_reason":"our safety filter"`), events.KindModeration, "safety filter"},
		{modelV2, v2Answer("failed", `,"error":{"message":"flagged (1026)"}`), events.KindModeration, "flagged"},
		{modelV2, v2Answer("failed", `,"error":[{"msg":"no GPU"}]`), events.KindInternal, "no GPU"},
		{modelV1, v1Answer("Fail", `,"error":{"message":"no GPU"}`), events.KindInternal, "no GPU"},
		{modelV1, v1Answer("Fail", `,"fail_reason":"no GPU"`+fine), events.KindInternal, "no GPU"},
		{modelV1, v1Answer("Fail", `,"error":{"code":"1026","message":"flagged"}`+fine), events.KindModeration, "flagged"},
	} {
		d := answering(t, 200, row.body)
		snap, err := d.Poll(t.Context(), refOf(t, d, row.model, taskID))
		if err != nil || snap.State != provider.Failed || snap.Unconfirmed || snap.Err == nil || snap.Err.Kind != row.kind ||
			!strings.Contains(snap.Err.Message, row.words) {
			t.Errorf("%s: %+v %+v, %v, want failed, %s with %q", row.body, snap, snap.Err, err, row.kind, row.words)
		}
	}
	d := answering(t, 200, v2Answer("canceled", `,"error":{"code":"1026","message":"flagged"}`))
	snap, err := d.Poll(t.Context(), refOf(t, d, modelV2, taskID))
	if err != nil || snap.State != provider.Cancelled || snap.Err == nil || snap.Err.Message != "flagged" {
		t.Errorf("%+v, %v, want cancelled with its reason", snap, err)
	}
	for body, words := range map[string]string{
		`{"error":{"message":"maintenance"}}`: "maintenance", `{"message":"maintenance"}`: "maintenance",
		`maintenance until noon`:                                  "maintenance until noon",
		`<html><head><title>x</title></head><h1>maintenance</h1>`: "maintenance",
	} {
		for _, model := range []string{modelV1, modelV2} {
			for _, status := range []int{200, 404, 500} {
				d := answering(t, status, body)
				_, err := d.Poll(t.Context(), refOf(t, d, model, taskID))
				if e := provider.AsError(orNone(err)); !strings.HasSuffix(e.Message, ": "+words) {
					t.Errorf("%s %d %s: %+v lacks the words", model, status, body, e)
				}
			}
		}
	}
}

// TestLinks finds the result under whatever name, and writes its link as a browser would.
func TestLinks(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		more string
		want []string
	}{
		{`"content":{"video_url":"https://c.test/a.mp4"}`, []string{"https://c.test/a.mp4"}},
		{`"video_url":"https://c.test/a"`, []string{"https://c.test/a"}},
		{`"content":{"url":""},"download_url":"https://c.test/a"`, []string{"https://c.test/a"}},
		{
			`"videos":[{"url":"https://c.test/a"},{"url":"https://c.test/b"},{"url":"https://c.test/a"}]`,
			[]string{"https://c.test/a", "https://c.test/b"},
		},
		{
			`"cover_url":"https://c.test/c.jpg","url":"https://c.test/a.mp4"`,
			[]string{"https://c.test/a.mp4", "https://c.test/c.jpg"},
		},
		{`"content":{"url":null},"x":"data:video/mp4;base64,AAAA"`, []string{"data:video/mp4;base64,AAAA"}},
		{
			`"callback_url":"https://us.test/","input":{"image_url":"https://us.test/i.png"},"url":"https://c.test/a"`,
			[]string{"https://c.test/a"},
		},
		{`"content":{"url":"file:///x"},"backup_download_url":"https://c.test/a"`, []string{"https://c.test/a"}},
		{
			`"content":{"url":" https://c.test/a b/ü%.mp4?x=é y&z=%2F "}`,
			[]string{"https://c.test/a%20b/%C3%BC%25.mp4?x=%C3%A9%20y&z=%2F"},
		},
		{`"content":{"url":"HTTPS://c.test/a.mp4?S=%2F|"}`, []string{"HTTPS://c.test/a.mp4?S=%2F%7C"}},
		{`"content":{"url":"https://c.test"}`, []string{"https://c.test"}},
	} {
		for model, body := range map[string]string{
			modelV2: v2Answer("succeeded", ","+row.more), modelV1: v1Answer("Success", ","+row.more+fine),
		} {
			if model == modelV1 && strings.Contains(row.more, `"file:///x"`) {
				continue
			}
			d := answering(t, 200, body)
			snap, err := d.Poll(t.Context(), refOf(t, d, model, taskID))
			var got []string
			for _, o := range snap.Outputs {
				got = append(got, o.URL)
			}
			if err != nil || snap.State != provider.Succeeded || !slices.Equal(got, row.want) || len(snap.Raw) == 0 {
				t.Errorf("%s: %q, %+v, %v, want %q", body, got, snap.Err, err, row.want)
			}
		}
	}
}

// TestManyLinks: the links over the limit are told of, whatever holds them.
func TestManyLinks(t *testing.T) {
	t.Parallel()
	var links []string
	for i := range 80 {
		links = append(links, fmt.Sprintf(`"https://c.test/%d.mp4"`, i))
	}
	videos := `,"videos":[` + strings.Join(links, ",") + `]`
	for model, body := range map[string]string{
		modelV2: `{"data":` + v2Answer("succeeded", videos) + `}`, modelV1: v1Answer("Success", videos+fine),
	} {
		d := answering(t, 200, body)
		snap, err := d.Poll(t.Context(), refOf(t, d, model, taskID))
		if err != nil || len(snap.Outputs) != 64 || !slices.Equal(snap.Notes, []string{"16 more in the raw result"}) {
			t.Errorf("%s: %d outputs, %q, %v", model, len(snap.Outputs), snap.Notes, err)
		}
	}
}

// TestOddIDs asks for a task whose id has characters that a path may hold.
func TestOddIDs(t *testing.T) {
	t.Parallel()
	const id = "mm:a;b.c~d+e"
	for model, path := range map[string]string{
		modelV1: "/v1/query/video_generation", modelV2: "/v2/query/video_generation/" + id,
	} {
		d := serving(t, func(w http.ResponseWriter, r *http.Request) {
			if asked := r.URL.Query().Get("task_id"); r.URL.Path != path || model == modelV1 && asked != id {
				t.Errorf("%s: asked for %s", model, r.URL)
			}
			_, _ = io.WriteString(w, `{"task_id":"`+id+`","status":"Processing","task":{"id":"`+id+`","status":"running"}}`)
		})
		if snap, err := d.Poll(t.Context(), refOf(t, d, model, id)); err != nil || snap.State != provider.Running {
			t.Errorf("%s: %+v, %v", model, snap, err)
		}
	}
}
