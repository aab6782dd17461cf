package inputs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"image"
	"image/png"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/inputs"
	"reelay/internal/provider"
	"reelay/internal/test/broker"
)

// store is a provider's storage.
type store struct {
	provider.Driver
	rule  provider.FileRule
	life  time.Duration
	err   error
	calls atomic.Int32
}

func (s *store) FileRule(string, string, string) provider.FileRule { return s.rule }

func (s *store) Upload(ctx context.Context, _ string, f provider.File) (provider.Uploaded, error) {
	n := s.calls.Add(1)
	if s.err != nil {
		return provider.Uploaded{}, s.err
	}
	r, err := f.Open(ctx)
	if err != nil {
		return provider.Uploaded{}, err
	}
	defer r.Close()
	content, err := io.ReadAll(r)
	if err != nil || int64(len(content)) != f.Size {
		return provider.Uploaded{}, errors.New("another file came")
	}
	value, err := events.Marshal("https://cdn.test/" + f.Name + "/" + string('0'+rune(n)))
	return provider.Uploaded{Value: value, ExpiresAt: time.Now().Add(s.life)}, err
}

func picture(tb testing.TB, width, height int) string {
	tb.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, width, height))); err != nil {
		tb.Fatal(err)
	}
	return b.String()
}

func fixture(t *testing.T) (*bus.Bus, *inputs.Files, func(name, content string) events.Input) {
	b := broker.Start(t)
	on := b.Open(bus.Options{})
	return on, inputs.New(on, b.Logger), func(name, content string) events.Input {
		t.Helper()
		in, err := on.PutInput(t.Context(), "demo", name, "", strings.NewReader(content))
		b.OK(err)
		return in
	}
}

// failure is how an error begins, with its code; "" for none.
func failure(err error) string {
	var e *events.Error
	if errors.As(err, &e) {
		return e.Code + " " + e.Message
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// TestPin: the bytes of a file are part of what the request is. One that has been taken in before stays that request when
// the file is gone.
func TestPin(t *testing.T) {
	on, files, put := fixture(t)
	first := put("a.png", "one")
	digest := func(project, body string) (string, error) {
		r, err := events.DecodeRequest([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		if r, err = files.Pin(t.Context(), events.Key{Project: project, ID: "t"}, r); err != nil {
			return "", err
		}
		return r.Digest(events.Video)
	}
	const named = `{"provider":"fal","model":"m","input":{},"input_files":{"image_url":"a.png"}}`
	before, err := digest("demo", named)
	if err != nil {
		t.Fatal(err)
	}
	for body, same := range map[string]bool{
		named: true,
		`{"provider":"fal","model":"m","input":{"image_url":{"$file":"a.png"}}}`:                                 true,
		`{"provider":"fal","model":"m","input":{"image_url":{"$file":"a.png","sha256":"` + first.SHA256 + `"}}}`: true,
		`{"provider":"fal","model":"m","input":{"end_image_url":{"$file":"a.png"}}}`:                             false,
		`{"want":{"image":"a.png"}}`: false,
	} {
		if got, err := digest("demo", body); err != nil || (got == before) != same {
			t.Errorf("%s: %s, %v; the first is %s", body, got, err, before)
		}
	}
	const unknown = `unknown_file input.image_url: project film has no file "a.png"`
	if _, err := digest("film", named); !strings.HasPrefix(failure(err), unknown) {
		t.Errorf("another project: %v", err)
	}
	objects, err := on.JetStream().ObjectStore(t.Context(), events.InputBucket)
	if err != nil {
		t.Fatal(err)
	}
	info, err := objects.GetInfo(t.Context(), events.InputObject("demo", "a.png"))
	if err == nil {
		_, err = objects.AddLink(t.Context(), events.InputObject("film", "a.png"), info)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := digest("film", named); !strings.HasPrefix(failure(err), unknown) {
		t.Errorf("a link to another project's file: %v", err)
	}
	other := put("a.png", "two")
	if got, err := digest("demo", named); err != nil || got == before {
		t.Errorf("other bytes: %s, %v", got, err)
	}
	pinned := strings.Replace(named, `{"image_url":"a.png"}`, `{}`, 1)
	pinned = strings.Replace(pinned, `"input":{}`, `"input":{"image_url":{"$file":"a.png","sha256":"`+first.SHA256+`"}}`, 1)
	if _, err := digest("demo", pinned); !strings.HasPrefix(failure(err), "unsuitable_file input.image_url: file \"a.png\" has SHA-256 "+other.SHA256) {
		t.Errorf("a sum of other bytes: %v", err)
	}
	task := events.Task{
		Schema: events.TaskSchema, ID: "t", Project: "demo", Input: json.RawMessage(`{"image_url":{"$file":"b.png","sha256":"` + first.SHA256 + `"}}`),
	}
	if _, err := on.Put(t.Context(), bus.Put{Task: task}); err != nil {
		t.Fatal(err)
	}
	if got, err := digest("demo", strings.Replace(named, "a.png", "b.png", 1)); err != nil || got == before {
		t.Errorf("gone: %s, %v", got, err)
	}
}

// TestCheck: what the model does not take is said with the place and the limit.
func TestCheck(t *testing.T) {
	_, files, put := fixture(t)
	put("wide.png", picture(t, 900, 300))
	put("small.png", picture(t, 100, 100))
	put("text.png", "<html>not found</html>")
	pictures := []string{"image/png"}
	for _, row := range []struct {
		file  string
		rule  provider.FileRule
		fails string
	}{
		{"wide.png", provider.FileRule{}, ""},
		{"wide.png", provider.FileRule{Types: pictures, MinSide: 300, MaxSide: 900, MinRatio: 3, MaxRatio: 3, MaxBytes: 1 << 20}, ""},
		{"wide.png", provider.FileRule{MaxSide: 899}, "is 900 by 300 pixels, and no side may be over 899"},
		{"wide.png", provider.FileRule{MaxRatio: 2.5}, "width to height must be between 0 and 2.5"},
		{"small.png", provider.FileRule{MinSide: 256}, "is 100 by 100 pixels, and no side may be under 256"},
		{"small.png", provider.FileRule{MaxBytes: 10}, "over the limit of 10"},
		{"text.png", provider.FileRule{Types: pictures}, "is text/html, not one of image/png"},
	} {
		lane := provider.Lane{Name: "fal", Provider: "fal", Driver: &store{rule: row.rule}}
		input := json.RawMessage(`{"frames":[{"$file":"` + row.file + `"}]}`)
		got := failure(files.Check(t.Context(), lane, "demo", "m", input))
		if row.fails == "" && got != "" || row.fails != "" &&
			(!strings.HasPrefix(got, "unsuitable_file input.frames[0]: file ") || !strings.Contains(got, row.fails)) {
			t.Errorf("%s by %+v: %q, want %q", row.file, row.rule, got, row.fails)
		}
	}
	type plain struct{ provider.Driver }
	lane := provider.Lane{Provider: "other", Driver: plain{}}
	if got := failure(files.Check(t.Context(), lane, "demo", "m", []byte(`{"a":{"$file":"x"}}`))); !strings.HasPrefix(got, "unsupported ") {
		t.Errorf("a provider without uploads: %q", got)
	}
}

// TestResolve: the same bytes go up once for an account and a purpose, as long as the provider has them; what was sent can
// be told from the input and what stood in place of the files.
func TestResolve(t *testing.T) {
	on, files, put := fixture(t)
	file := put("a.png", "one")
	fal := &store{rule: provider.FileRule{Purpose: "cdn"}, life: time.Hour}
	task := events.Task{Project: "demo", ID: "t", Lane: "fal", Deadline: time.Now().Add(30 * time.Minute)}
	input := json.RawMessage(`{"seed":12345678901234567890, "image_url":{"$file":"a.png","sha256":"` + file.SHA256 + `"}}`)
	resolve := func(f *inputs.Files, lane string, task events.Task) (inputs.Resolved, error) {
		return f.Resolve(t.Context(), provider.Lane{Name: lane, Driver: fal}, task, input)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			r, err := resolve(files, "fal", task)
			if want := `{"seed":12345678901234567890, "image_url":"https://cdn.test/a.png/1"}`; err != nil || string(r.Input) != want {
				t.Errorf("%s, %v", r.Input, err)
			}
		})
	}
	all.Wait()
	fresh := inputs.New(on, broker.Start(t).Logger) // another process
	r, err := resolve(fresh, "fal", task)
	if err != nil || fal.calls.Load() != 1 {
		t.Fatalf("%v after %d uploads", err, fal.calls.Load())
	}
	if sent, err := inputs.Restore(input, r.Files); err != nil || !bytes.Equal(sent, r.Input) {
		t.Errorf("restored %s, %v, sent was %s", sent, err, r.Input)
	}
	if _, err := resolve(fresh, "fal-team2", task); err != nil || fal.calls.Load() != 2 {
		t.Errorf("another account: %v after %d uploads", err, fal.calls.Load())
	}
	late := task
	late.Deadline = time.Now().Add(90 * time.Minute)
	if _, err := resolve(fresh, "fal", late); err != nil || fal.calls.Load() != 3 {
		t.Errorf("a task that may outlive it: %v after %d uploads", err, fal.calls.Load())
	}

	fal.err = &provider.Error{Kind: events.KindRetry, Message: "503"}
	if _, err := resolve(fresh, "fal-team3", task); err == nil || strings.HasPrefix(failure(err), "unsuitable") {
		t.Errorf("a provider that is down: %v, want an error that is tried again", err)
	}
	fal.err = &provider.Error{Kind: events.KindInvalid, Message: "no picture"}
	if _, err := resolve(fresh, "fal-team3", task); failure(err) != `unsuitable_file input.image_url: the provider refuses file "a.png": no picture` {
		t.Errorf("a provider that refuses it: %v", err)
	}
	fal.rule = provider.FileRule{MaxBytes: 3}
	if r, err := resolve(fresh, "fal", task); err != nil || !strings.Contains(string(r.Input), `"image_url":"data:text/plain;base64,b25l"`) || len(r.Files) != 0 {
		t.Errorf("inline: %s, %v, %v", r.Input, r.Files, err)
	}
	put("a.png", "two")
	if _, err := resolve(fresh, "fal", task); !strings.HasPrefix(failure(err), `unsuitable_file input.image_url: file "a.png" has SHA-256`) {
		t.Errorf("other bytes: %v", err)
	}
}
