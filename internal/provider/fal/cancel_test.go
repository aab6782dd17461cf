package fal

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"reelay/events"
	"reelay/internal/provider"
)

func TestReadCancel(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		status int
		body   string
		want   provider.CancelOutcome
		kind   events.Kind
	}{
		{202, `{"status":"CANCELLATION_REQUESTED"}`, provider.CancelRequested, ""},
		{200, `{"status":"CANCELLATION_REQUESTED"}`, provider.CancelRequested, ""},
		{200, `{"status":"OK"}`, provider.CancelDone, ""},
		{200, `{"success":true}`, provider.CancelDone, ""},
		{200, `{"success":false}`, provider.CancelTooLate, ""},
		{400, `{"status":"ALREADY_COMPLETED"}`, provider.CancelTooLate, ""},
		{200, `{"status":"ALREADY_COMPLETED"}`, provider.CancelTooLate, ""},
		{404, `{"status":"NOT_FOUND"}`, provider.CancelNotFound, ""},
		{404, `{"detail":"Application \"x\" not found"}`, provider.CancelNotFound, ""},
		{404, htmlPage, "", events.KindRetry},
		{400, `{"detail":"bad"}`, "", events.KindRetry},
		{200, `{}`, "", events.KindRetry},
		{202, ``, "", events.KindRetry},
		{200, `{"status":"WHAT"}`, "", events.KindRetry},
		{302, `{"status":"OK"}`, "", events.KindRetry},
		{500, `{"status":"OK"}`, "", events.KindRetry},
		{500, `{"status":"ALREADY_COMPLETED"}`, "", events.KindRetry},
		{401, `{"detail":"invalid key credentials"}`, "", events.KindAuth},
		{429, ``, "", events.KindRateLimited},
	} {
		got, err := readCancel(provider.Reply{Status: row.status, Body: []byte(row.body)})
		if got != row.want || kindOf(asError(err)) != row.kind {
			t.Errorf("%d %s: %q, %v, want %q, kind %q", row.status, row.body, got, err, row.want, row.kind)
		}
	}
}

func TestCancelCall(t *testing.T) {
	t.Parallel()
	var method, path string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		method, path = r.Method, r.URL.Path
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write([]byte(`{"status":"CANCELLATION_REQUESTED"}`))
	}))
	t.Cleanup(server.Close)
	got, err := newDriver(t, server.URL).Cancel(t.Context(), sampleRef())
	if err != nil || got != provider.CancelRequested || method != http.MethodPut ||
		path != "/fal-ai/flux/requests/"+sampleID+"/cancel" {
		t.Errorf("%s %s: %q, %v", method, path, got, err)
	}
}
