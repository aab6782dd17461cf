package submitter

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/journal"
	"reelay/internal/paid"
	"reelay/internal/provider"
	"reelay/internal/task"
)

const (
	macOfTest = "0123456789abcdef0123456789abcdef"
	urlOfTest = "https://callbacks.example.test/cb/fal/k1/demo.a.1/" + macOfTest
)

type fixedURL struct{}

func (fixedURL) CallbackURL(lane string, k events.Key, attempt int, _ time.Time) string {
	return fmt.Sprintf("https://h/%s/%s/%d", lane, k, attempt)
}

// caller calls back about every model but song.
type caller struct{ provider.Driver }

func (caller) Features(model string) provider.Features {
	return provider.Features{Webhook: model != "song"}
}

// TestCallbackURL: the URL names the very attempt; a lane can go without, and so does a model that is not called back
// about.
func TestCallbackURL(t *testing.T) {
	e := journal.Entry{Project: "demo", TaskID: "a", Attempt: 3}
	refused := func(callback bool, kind events.Kind) events.Task {
		return events.Task{Attempts: []events.Attempt{
			{Outcome: events.AttemptRefused, Callback: callback, Error: &events.Error{Kind: kind}},
		}}
	}
	const url = "https://h/fal/demo.a/3"
	for i, row := range []struct {
		o    Options
		lane provider.Lane
		task events.Task
		want string
	}{
		{Options{}, provider.Lane{Name: "fal"}, events.Task{}, ""},
		{Options{Callback: fixedURL{}}, provider.Lane{Name: "fal"}, events.Task{}, url},
		{Options{Callback: fixedURL{}}, provider.Lane{Name: "fal", NoCallback: true}, events.Task{}, ""},
		{Options{Callback: fixedURL{}}, provider.Lane{Name: "fal"}, events.Task{Model: "song"}, ""},
		{Options{Callback: fixedURL{}}, provider.Lane{Name: "fal", Handshake: true}, refused(true, events.KindInvalid), ""},
		{
			Options{Callback: fixedURL{}},
			provider.Lane{Name: "fal", Handshake: true},
			refused(true, events.KindRateLimited),
			url,
		},
		{Options{Callback: fixedURL{}}, provider.Lane{Name: "fal", Handshake: true}, refused(false, events.KindInvalid), url},
		{Options{Callback: fixedURL{}}, provider.Lane{Name: "fal"}, refused(true, events.KindInvalid), url},
	} {
		s := Service{o: row.o}
		row.lane.Driver = caller{}
		if got := s.callbackURLFor(&lane{Lane: row.lane}, row.task, e); got != row.want {
			t.Errorf("%d: %q, want %q", i, got, row.want)
		}
	}
}

// TestDisabledCallbacks: a provider that accepts a task without our URL, and did not with it, is not given the URL for
// a while; another reason for the refusal proves nothing of the URL.
func TestDisabledCallbacks(t *testing.T) {
	attempt := func(callback bool, outcome events.AttemptOutcome, kind events.Kind) events.Attempt {
		a := events.Attempt{Callback: callback, Outcome: outcome}
		if kind != "" {
			a.Error = &events.Error{Kind: kind}
		}
		return a
	}
	with, without := attempt(true, events.AttemptOpen, ""), attempt(false, events.AttemptOpen, "")
	for i, row := range []struct {
		attempts []events.Attempt
		want     bool
	}{
		{nil, false},
		{[]events.Attempt{without}, false},
		{[]events.Attempt{attempt(true, events.AttemptRefused, events.KindInvalid), without}, true},
		{[]events.Attempt{attempt(true, events.AttemptRefused, events.KindInvalid), with}, false},
		{[]events.Attempt{attempt(true, events.AttemptRefused, events.KindRateLimited), without}, false},
		{[]events.Attempt{attempt(false, events.AttemptRefused, events.KindInvalid), without}, false},
		{[]events.Attempt{attempt(true, events.AttemptInDoubt, ""), without}, false},
		{[]events.Attempt{attempt(true, events.AttemptRefused, events.KindInvalid), without, without}, false},
	} {
		if got := task.ProvesURL(events.Task{Attempts: row.attempts}); got != row.want {
			t.Errorf("%d: %v, want %v", i, got, row.want)
		}
	}
	now := time.Now()
	s, l := Service{o: Options{Callback: fixedURL{}}}, &lane{Lane: provider.Lane{Driver: caller{}, Name: "fal", Handshake: true}}
	for i, row := range []struct {
		after time.Duration
		tells bool
		named bool
	}{{0, true, false}, {callbacksDisabledFor - 1, false, false}, {callbacksDisabledFor, true, false}} {
		at := now.Add(row.after)
		if got := l.disableCallbacks(at); got != row.tells {
			t.Errorf("%d: disabled %v, want %v", i, got, row.tells)
		}
		if got := s.callbackURLFor(l, events.Task{}, journal.Entry{At: at}) != ""; got != row.named {
			t.Errorf("%d: names a URL is %v, want %v", i, got, row.named)
		}
	}
	if s.callbackURLFor(l, events.Task{}, journal.Entry{At: now.Add(2 * callbacksDisabledFor)}) == "" {
		t.Error("no URL is named though the time is over")
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
		got, gotErr := paid.Redact(r, err, urlOfTest)
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
	if got, _ := paid.Redact(r, nil, ""); string(got.Body) != string(r.Body) {
		t.Error("without a URL the reply is another")
	}
	if got := paid.Hide([]byte("a word"), "https://h/word"); string(got) != "a word" {
		t.Errorf("a segment that may be any word was taken for a secret: %s", got)
	}
}
