package inputs

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"time"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/bus"
	"reelay/internal/provider"
)

const (
	// uploadWait bounds the hand-over of one file.
	uploadWait = 15 * time.Minute
	// maxInline bounds a file that is sent as a data: URL where the provider says nothing else.
	maxInline = 10 << 20
)

// Resolved is an input with what its provider takes in place of the files.
type Resolved struct {
	Input json.RawMessage
	// Files is what took their place, by path, but for data: URLs.
	Files map[string]json.RawMessage
}

// Resolve gives the provider of a lane the files of a task's input that it does not have yet. Its error is an *events.Error
// where that is of no use, else it may be tried again.
func (f *Files) Resolve(ctx context.Context, l provider.Lane, t events.Task, input json.RawMessage) (Resolved, error) {
	r := Resolved{Files: map[string]json.RawMessage{}}
	var err error
	r.Input, err = events.ReplaceFiles("input", input, func(ref events.FileReference) (json.RawMessage, error) {
		u, ok := l.Driver.(Uploader)
		if !ok {
			return nil, refused(events.CodeUnsupported, ref, "provider %s takes no files", l.Provider)
		}
		value, inline, err := f.value(ctx, l.Name, u, t, ref)
		if err == nil && !inline {
			r.Files[ref.Path] = value
		}
		return value, err
	})
	return r, err
}

// value returns what stands for one file in the request, and whether that is the file itself.
func (f *Files) value(ctx context.Context, lane string, u Uploader, t events.Task,
	ref events.FileReference,
) (value json.RawMessage, inline bool, err error) {
	file, err := f.bus.Input(ctx, t.Project, ref.Name)
	switch {
	case errors.Is(err, bus.ErrNoInput):
		// The provider may have it although it is gone here.
		if up, ok := f.remembered(ctx, bucket.UploadKey(lane, u.FileRule(t.Model, ref.Path, "").Purpose, ref.SHA256), t); ok {
			return up.Value, false, nil
		}
		return nil, false, refused(events.CodeUnknownFile, ref, "file %q is gone; files are kept for %v", ref.Name, events.InputAge)
	case err != nil:
		return nil, false, err
	case file.SHA256 != ref.SHA256:
		return nil, false, changed(ref, file.SHA256)
	}
	head, err := f.head(ctx, t.Project, ref.Name)
	if err != nil {
		return nil, false, err
	}
	one := provider.File{
		Name: file.Name, ContentType: contentType(file, head), Size: file.Size, SHA256: file.SHA256,
		Open: func(ctx context.Context) (io.ReadCloser, error) { return f.bus.OpenInput(ctx, t.Project, ref.Name) },
	}
	rule := u.FileRule(t.Model, ref.Path, one.ContentType)
	if rule.Purpose == "" {
		value, err = dataURL(ctx, one, rule, ref)
		return value, true, err
	}
	up, err := f.upload(ctx, u, bucket.UploadKey(lane, rule.Purpose, file.SHA256), rule.Purpose, one, t)
	var bad *provider.Error
	if errors.As(err, &bad) && (bad.Kind == events.KindInvalid || bad.Kind == events.KindModeration) {
		err = refused(events.CodeUnsuitableFile, ref, "the provider refuses file %q: %s", ref.Name, bad.Message)
	}
	return up.Value, false, err
}

// remembered returns what a provider calls a file, if it has it until the task has to have ended.
func (f *Files) remembered(ctx context.Context, key string, t events.Task) (up provider.Uploaded, ok bool) {
	e, err := f.uploads.Get(ctx, key)
	if err != nil || !e.Present || json.Unmarshal(e.Value, &up) != nil {
		return up, false // one more upload is free
	}
	return up, up.ExpiresAt.After(t.Deadline) && up.ExpiresAt.After(time.Now())
}

// upload gives the provider a file that it does not have yet. The same file goes up once at a time.
func (f *Files) upload(ctx context.Context, u Uploader, key, purpose string, one provider.File, t events.Task) (
	provider.Uploaded, error,
) {
	done, err, _ := f.underWay.Do(key, func() (any, error) {
		if up, ok := f.remembered(ctx, key, t); ok {
			return up, nil
		}
		ctx, cancel := context.WithTimeout(ctx, uploadWait)
		defer cancel()
		up, err := u.Upload(ctx, purpose, one)
		if err != nil {
			return up, err
		}
		f.log.InfoContext(ctx, "a file of a request was handed to the provider", "task", t.Key(), "lane", t.Lane, "name", one.Name, "bytes",
			one.Size)
		raw, err := events.Marshal(up)
		if err == nil {
			err = f.uploads.Put(ctx, key, raw)
		}
		if err != nil {
			f.log.InfoContext(ctx, "what a provider calls a file could not be kept; it is handed over again where it is needed", "error", err)
		}
		return up, nil
	})
	if err != nil {
		return provider.Uploaded{}, err
	}
	return done.(provider.Uploaded), nil
}

// dataURL returns a file as a data: URL (RFC 2397).
func dataURL(ctx context.Context, one provider.File, rule provider.FileRule, ref events.FileReference) (
	json.RawMessage, error,
) {
	limit := rule.MaxBytes
	if limit == 0 {
		limit = maxInline
	}
	if one.Size > limit {
		return nil, refused(events.CodeUnsuitableFile, ref, "file %q has %d bytes, over the limit of %d", one.Name, one.Size,
			limit)
	}
	r, err := one.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	content, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	kind := one.ContentType
	if kind == "" {
		kind = "application/octet-stream"
	}
	return events.Marshal("data:" + kind + ";base64," + base64.StdEncoding.EncodeToString(content))
}
