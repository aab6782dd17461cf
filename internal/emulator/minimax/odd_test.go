package minimax_test

import (
	"net/http"
	"strings"
	"testing"

	"reelay/internal/emulator/minimax"
)

// Scripts that both generations know, each by its own answer.
func TestOddScripts(t *testing.T) {
	s := minimax.New(minimax.Options{})
	v1 := func(script string) string { return createV1(t, s, with(`"emulate":`+script, goodV1)) }
	v2 := func(script string) string { return createV2(t, s, with(`"emulate":`+script, goodV2)) }
	if a := queryV1(t, s, v1(`{"result":"no_file"}`)); a.Word != "Success" || a.FileID != "" {
		t.Errorf("V1 without a file: %s", a.Body)
	}
	if a := queryV2(t, s, v2(`{"result":"no_file"}`)); a.Task.Status != "succeeded" || a.Task.Content.URL != "" {
		t.Errorf("V2 without a file: %s", a.Body)
	}
	for _, a := range []answer{queryV1(t, s, v1(`{"polls":"gzip"}`)), queryV2(t, s, v2(`{"polls":"gzip"}`))} {
		if a.Status != http.StatusOK || a.Header.Get("Content-Encoding") != "gzip" {
			t.Errorf("gzip: %d %v", a.Status, a.Header)
		}
	}
	for _, a := range []answer{queryV1(t, s, v1(`{"polls":"redirect"}`)), queryV2(t, s, v2(`{"polls":"redirect"}`))} {
		if a.Status != http.StatusTemporaryRedirect || !strings.Contains(a.Header.Get("Location"), "redirected=1") {
			t.Errorf("redirect: %d %v", a.Status, a.Header)
		}
	}
	id := v2(`{"result":"503_html","result_faults":1}`)
	if a := queryV2(t, s, id); a.Status != http.StatusServiceUnavailable {
		t.Errorf("the first read: %d %s", a.Status, a.Body)
	}
	if a := queryV2(t, s, id); a.Task.Content.URL == "" {
		t.Errorf("the second read: %d %s", a.Status, a.Body)
	}
	jobs := len(s.Ledger().Jobs())
	for script, want := range map[string]int{"429_html": 429, "404_html": 404, "308": 308, "529": 529, "2064": 529} {
		a := call(t, s, "k", http.MethodPost, "/v2/video_generation", with(`"emulate":{"submit":"refuse_`+script+`"}`, goodV2))
		if a.Status != want {
			t.Errorf("refuse_%s: %d, want %d", script, a.Status, want)
		}
	}
	if n := len(s.Ledger().Jobs()); n != jobs {
		t.Errorf("%d refused jobs were accepted", n-jobs)
	}
}
