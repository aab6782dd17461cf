package submitter

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"reelay/events"
	"reelay/internal/journal"
	"reelay/internal/paid"
	"reelay/internal/provider"
)

const (
	macOfTest = "0123456789abcdef0123456789abcdef"
	urlOfTest = "https://hooks.example.test/cb/fal/k1/demo.a.1/" + macOfTest
)

type fixedURL struct{}

func (fixedURL) CallbackURL(lane string, k events.Key, attempt int) string {
	return fmt.Sprintf("https://h/%s/%s/%d", lane, k, attempt)
}

// TestCallbackURL: the URL names the very attempt; a lane can go without.
func TestCallbackURL(t *testing.T) {
	e := journal.Entry{Project: "demo", TaskID: "a", Attempt: 3}
	refused := func(callback bool, kind events.Kind) events.Task {
		return events.Task{Attempts: []events.Attempt{{Outcome: events.AttemptRefused, Callback: callback, Error: &events.Error{Kind: kind}}}}
	}
	const url = "https://h/fal/demo.a/3"
	for i, row := range []struct {
		o    Options
		lane Lane
		task events.Task
		want string
	}{
		{Options{}, Lane{Name: "fal"}, events.Task{}, ""},
		{Options{Callback: fixedURL{}}, Lane{Name: "fal"}, events.Task{}, url},
		{Options{Callback: fixedURL{}}, Lane{Name: "fal", NoCallback: true}, events.Task{}, ""},
		{Options{Callback: fixedURL{}}, Lane{Name: "fal", Handshake: true}, refused(true, events.KindInvalid), ""},
		{Options{Callback: fixedURL{}}, Lane{Name: "fal", Handshake: true}, refused(true, events.KindRateLimited), url},
		{Options{Callback: fixedURL{}}, Lane{Name: "fal", Handshake: true}, refused(false, events.KindInvalid), url},
		{Options{Callback: fixedURL{}}, Lane{Name: "fal"}, refused(true, events.KindInvalid), url},
	} {
		s := Service{o: row.o}
		if got := s.callbackURL(&lane{Lane: row.lane}, row.task, e); got != row.want {
			t.Errorf("%d: %q, want %q", i, got, row.want)
		}
	}
}

// TestWithoutURL: whatever a provider repeats of the URL, its secret goes no further; what kind of answer it was stays.
func TestWithoutURL(t *testing.T) {
	r := provider.Reply{
		Status: 422, Header: http.Header{"X-Why": {"no " + urlOfTest}, "Retry-After": {"5"}},
		Body: []byte(`{"detail":"` + strings.ReplaceAll(urlOfTest, "/", `\/`) + ` and https%3A%2F%2Fh%2F` + macOfTest + `"}`),
	}
	unsent := fmt.Errorf("%w: parse %q: bad", paid.ErrNotSent, urlOfTest)
	for _, err := range []error{nil, errors.New("reset"), errors.New("read " + urlOfTest), unsent} {
		got, gotErr := withoutURL(r, err, urlOfTest)
		if text := fmt.Sprintf("%s %v %v", got.Body, got.Header, gotErr); strings.Contains(text, macOfTest) {
			t.Errorf("the secret shows in %s", text)
		}
		if got.Status != 422 || got.Header.Get("Retry-After") != "5" || (gotErr == nil) != (err == nil) ||
			errors.Is(gotErr, paid.ErrNotSent) != errors.Is(err, paid.ErrNotSent) {
			t.Errorf("%v became %v, %v", err, got, gotErr)
		}
	}
	if !strings.Contains(string(r.Body), macOfTest) {
		t.Error("the reply that was given has changed")
	}
	if got, _ := withoutURL(r, nil, ""); string(got.Body) != string(r.Body) {
		t.Error("without a URL the reply is another")
	}
	if got := hidden([]byte("a word"), "https://h/word"); string(got) != "a word" {
		t.Errorf("a segment that may be any word was taken for a secret: %s", got)
	}
}
