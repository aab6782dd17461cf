package archiver

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"reelay/events"
	"reelay/internal/api"
	"reelay/internal/artifact"
	"reelay/internal/bus"
	"reelay/internal/test/broker"
)

// shelf has objects by their URLs. It counts how often one is read.
type shelf struct {
	objects map[string]object
	opened  atomic.Int64
}

type object struct {
	content, etag string
	size          int64 // 0 for that of the content
	err           error
}

func (s *shelf) Stat(_ context.Context, url string) (artifact.Object, error) {
	o, ok := s.objects[url]
	if !ok {
		return artifact.Object{}, artifact.ErrNotAllowed
	}
	if o.size == 0 {
		o.size = int64(len(o.content))
	}
	return artifact.Object{Size: o.size, ETag: o.etag, ContentType: "image/png"}, o.err
}

func (s *shelf) Open(_ context.Context, url string) (io.ReadCloser, error) {
	s.opened.Add(1)
	return io.NopCloser(strings.NewReader(s.objects[url].content)), nil
}

// TestCopies: an object of an allowed bucket is copied once, and again when its bytes are others. Whatever cannot be copied
// leaves nothing, and says whether asking again helps.
func TestCopies(t *testing.T) {
	b := broker.Start(t)
	objects := &shelf{objects: map[string]object{
		"s3://box/a.png":     {content: "a kite", etag: "1"},
		"s3://box/empty.png": {etag: "1"},
		"s3://box/large.png": {etag: "1", size: events.MaxInputBytes + 1},
		"s3://box/short.png": {content: "a kite", etag: "1", size: 7},
		"s3://box/more.png":  {content: "a kite", etag: "1", size: 5},
		"s3://box/gone.png":  {err: artifact.ErrNotFound},
		"s3://box/shut.png":  {err: artifact.ErrRefused},
		"s3://box/down.png":  {err: errors.New("no route to host")},
	}}
	s := &Service{log: b.Logger, copying: copying{of: map[string]int{}}, o: Options{Bus: b.Open(bus.Options{}), Inputs: objects}}
	askFor := func(project, url string) (events.Input, *api.Error) {
		body, err := events.Marshal(events.CopyRequest{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		reply, err := s.copyObject(t.Context(), api.Call{Key: events.Key{Project: project}, Data: body, Stop: t.Context()})
		var refused *api.Error
		if err != nil && !errors.As(err, &refused) {
			t.Fatalf("%s: %v", url, err)
		}
		file, _ := reply.(events.Input)
		return file, refused
	}
	ask := func(url string) (events.Input, *api.Error) { return askFor("demo", url) }
	for _, etag := range []string{"1", "1", "2"} {
		objects.objects["s3://box/a.png"] = object{content: "a kite " + etag, etag: etag}
		file, refused := ask("s3://box/a.png")
		stored, err := s.o.Bus.Input(t.Context(), "demo", events.CopyName("s3://box/a.png", etag))
		file.StoredAt = stored.StoredAt // by another clock
		if refused != nil || err != nil || file != stored || file.Size != 8 || file.ContentType != "image/png" {
			t.Errorf("%+v, %v; stored is %+v, %v", file, refused, stored, err)
		}
	}
	if n := objects.opened.Load(); n != 2 {
		t.Errorf("it was read %d times, want 2", n)
	}
	for _, row := range []struct {
		url, code string
		again     bool
	}{
		{"s3://box/empty.png", events.CodeUnsuitableFile, false},
		{"s3://box/large.png", events.CodeUnsuitableFile, false},
		{"s3://box/short.png", events.CodeUnavailable, true},
		{"s3://box/more.png", events.CodeUnavailable, true},
		{"s3://box/gone.png", events.CodeUnknownFile, false},
		{"s3://box/shut.png", events.CodeUnknownFile, false},
		{"s3://box/down.png", events.CodeUnavailable, true},
		{"s3://other/a.png", events.CodeUnknownFile, false},
	} {
		_, refused := ask(row.url)
		if refused == nil || refused.Body.Code != row.code || refused.Body.Retryable != row.again {
			t.Errorf("%s: %+v, want %s", row.url, refused, row.code)
		}
		if _, err := s.o.Bus.Input(t.Context(), "demo", events.CopyName(row.url, "1")); !errors.Is(err, bus.ErrNoInput) {
			t.Errorf("%s: a copy is there, %v", row.url, err)
		}
	}
	objects.objects["s3://box/b.png"] = object{content: "b", etag: "1"}
	for range maxProjectCopies {
		s.copying.begin("demo")
	}
	if _, refused := ask("s3://box/b.png"); refused == nil || !refused.Body.Retryable {
		t.Errorf("one too many of a project at once: %+v", refused)
	}
	for range maxCopies - maxProjectCopies - 1 {
		s.copying.begin("more")
	}
	if file, refused := askFor("other", "s3://box/b.png"); refused != nil || file.Size != 1 {
		t.Errorf("one of another project: %+v, %v", file, refused)
	}
	s.copying.begin("more")
	if _, refused := askFor("third", "s3://box/b.png"); refused == nil || !refused.Body.Retryable {
		t.Errorf("one too many of all at once: %+v", refused)
	}
}
