package minimax_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"reelay/internal/provider"
)

// TestKeyIsNeverRepeated has MiniMax, or whoever sits before it, repeat the key wherever a text could be.
func TestKeyIsNeverRepeated(t *testing.T) {
	t.Parallel()
	escaped := strings.Replace(testKey, "s", `\u0073`, 1)
	for _, key := range []string{testKey, escaped, strings.Repeat("x", 1015) + testKey} {
		bodies := []string{
			key, "<html>" + key,
			`{"task_id":"` + key + `","base_resp":{"status_code":0,"status_msg":"` + key + `"}}`,
			`{"task_id":"","base_resp":{"status_code":"` + key + `","status_msg":"` + key + `"}}`,
			`{"task_id":"../` + key + `"}`,
			v1Answer(key, fine), v1Answer("Fail", `,"base_resp":{"status_code":1027,"status_msg":"`+key+`"}`),
			`{"task_id":"` + key + `","status":"Success","file_id":"1"}`,
			v1Answer("Success", `,"file_id":"1","file":{"download_url":"https://h/`+key+`"}`),
			v1Answer("Success", `,"file_id":"1","file":{"download_url":"`+key+`"}`),
			v2Answer(key, ""), v2Answer("failed", `,"error":{"code":"`+key+`","message":"`+key+`"}`),
			v2Answer("succeeded", `,"content":{"url":"https://h/`+key+`.mp4"}`),
			`{"action":"` + key + `"}`,
			`{"items":[{"id":"1","status":"` + key + `","model":"` + key + `","ratio":"` + key + `"}],"total":1}`,
		}
		for _, code := range codes {
			bodies = append(bodies, strings.Replace(v1Body(code.code, "KEY"), "KEY", key, 1),
				strings.Replace(v2Body(code.code, "KEY"), "KEY", key, 1))
		}
		for _, status := range []int{200, 400, 404, 429, 500} {
			for _, body := range bodies {
				d := inProcess(t, func(*http.Request) (int, string) { return status, body })
				hides(t, d)
				for _, model := range []string{modelV1, modelV2} {
					a := d.Classify(model, nil,
						provider.Reply{Status: status, Header: http.Header{"Trace-Id": {testKey}}, Body: []byte(body)})
					if a.Outcome != provider.Accepted { // an id may look like anything; it is the provider's
						hides(t, a)
						hides(t, error(a.Err))
					}
					snap, err := d.Poll(t.Context(), refOf(t, d, model, taskID))
					hides(t, err)
					if snap.Err != nil {
						hides(t, error(snap.Err))
					}
					hides(t, snap)
					if bytes.Contains(snap.Raw, []byte(key)) {
						t.Errorf("the raw result has the key as %s", key)
					}
					_, err = d.Cancel(t.Context(), refOf(t, d, model, taskID))
					hides(t, err)
					found, _, err := d.List(t.Context(), asking(model), json.RawMessage(inputV2), time.Time{})
					hides(t, err)
					hides(t, found)
				}
			}
		}
	}
}

// TestTransportErrorHidesKey has the key in an answer that is no HTTP at all, which the transport's error quotes.
func TestTransportErrorHidesKey(t *testing.T) {
	t.Parallel()
	d := serving(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = conn.Write([]byte("HTTP/1.1 " + testKey + " x\r\n\r\n"))
		_ = conn.Close()
	})
	_, err := d.Poll(t.Context(), refOf(t, d, modelV1, taskID))
	if err == nil || !strings.Contains(err.Error(), "[redacted]") {
		t.Errorf("%v does not quote the answer: the test proves nothing", err)
	}
	hides(t, err)
}

// TestRawStaysJSON keeps the raw result readable after the redaction.
func TestRawStaysJSON(t *testing.T) {
	t.Parallel()
	d := answering(t, 200, v2Answer("succeeded", `,"content":{"url":"https://h/`+testKey+`"},"note":"`+testKey+`"`))
	snap, err := d.Poll(t.Context(), refOf(t, d, modelV2, taskID))
	if err != nil || !json.Valid(snap.Raw) || strings.Contains(string(snap.Raw), testKey) {
		t.Errorf("%s, %v", snap.Raw, err)
	}
}
