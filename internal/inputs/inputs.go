// Package inputs turns the files that requests name (events.FileReference) into what providers take.
//
// When a request is taken in, Pin says which bytes each name stands for, so that they are part of what the request is; of an
// object in a bucket elsewhere it has the archiver make a copy, which is a file as any other from then on. And
// Check compares them with what the model takes, before anything is paid. Before each paid request Resolve gives the
// provider the files that it does not have yet. That costs nothing and may be repeated, so a crash anywhere in it is
// harmless; what the provider calls the files is written into the record with the intent to send, so that a request whose
// answer was lost can be found again by what was sent (Restore).
package inputs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"golang.org/x/sync/singleflight"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/events/client"
	"reelay/internal/bus"
	"reelay/internal/provider"
)

// placeholder stands for a file where an input is checked and priced. No server has the name (RFC 2606).
const placeholder = `"https://file.invalid/"`

// An Uploader is a driver whose provider takes files.
type Uploader interface {
	// FileRule tells what the provider takes at a place in the input of a model, of a file of that media type; "" is one that
	// nobody knows. The path is as in events.FileReference. It does no I/O.
	FileRule(model, path, contentType string) provider.FileRule
	// Upload gives the provider a file for the purpose of a rule. It is free. Its errors are *provider.Error.
	Upload(ctx context.Context, purpose string, f provider.File) (provider.Uploaded, error)
}

// Files reads, checks and hands over the files of requests. It is safe for concurrent use.
type Files struct {
	bus     *bus.Bus
	client  *client.Client
	uploads bus.Bucket
	log     *slog.Logger
	// underWay has the bytes of a file go up once, however many requests name it.
	underWay singleflight.Group
}

// New returns the files of a bus.
func New(b *bus.Bus, log *slog.Logger) *Files {
	return &Files{bus: b, client: client.New(b.Conn()), uploads: b.Bucket(bucket.Uploads, "upload"), log: log}
}

// Sample returns an input with a link in place of each file, as far as it can be checked and priced. Its error is a
// FieldError.
func Sample(input json.RawMessage) (json.RawMessage, error) {
	return events.ReplaceFiles("input", input,
		func(events.FileReference) (json.RawMessage, error) { return json.RawMessage(placeholder), nil })
}

// Restore returns an input as an attempt has sent it: with what the attempt's Files say in place of the file references.
func Restore(input json.RawMessage, files map[string]json.RawMessage) (json.RawMessage, error) {
	if len(files) == 0 {
		return input, nil
	}
	return events.ReplaceFiles("input", input, func(f events.FileReference) (json.RawMessage, error) {
		if v, ok := files[f.Path]; ok {
			return v, nil
		}
		return events.Marshal(f)
	})
}

// Pin returns a request for a task whose files stand in its input or its want with the SHA-256 of what they now are, and
// copies in place of objects of buckets. Of files that are gone it is that of the task, if the request has become one
// before. Its error is an *events.Error, a FieldError, a *NotCopied or one of the broker.
func (f *Files) Pin(ctx context.Context, k events.Key, r events.Request) (events.Request, error) {
	r, err := r.PlaceFiles()
	if err != nil {
		return r, err
	}
	pin := func(ref events.FileReference) (json.RawMessage, error) {
		file, err := f.file(ctx, k, ref)
		if err != nil {
			return nil, err
		}
		return events.Marshal(file)
	}
	if r.Want == nil {
		r.Input, err = events.ReplaceFiles("input", r.Input, pin)
		return r, err
	}
	raw, err := events.Marshal(r.Want)
	if err != nil {
		return r, err
	}
	if raw, err = events.ReplaceFiles("want", raw, pin); err != nil {
		return r, err
	}
	r.Want = &events.Want{}
	return r, json.Unmarshal(raw, r.Want)
}

// file returns a reference with the SHA-256 of what it stands for.
func (f *Files) file(ctx context.Context, k events.Key, ref events.FileReference) (events.FileReference, error) {
	if _, _, _, object := events.ParseObjectURL(ref.Name); object {
		return f.copied(ctx, k, ref)
	}
	sum, err := f.sum(ctx, k, ref)
	return events.FileReference{Name: ref.Name, SHA256: sum}, err
}

// sum returns the SHA-256 of what a reference to a name stands for.
func (f *Files) sum(ctx context.Context, k events.Key, ref events.FileReference) (string, error) {
	file, err := f.bus.Input(ctx, k.Project, ref.Name)
	switch {
	case errors.Is(err, bus.ErrNoInput):
		known, err := f.pinned(ctx, k)
		if err != nil {
			return "", err
		}
		if file.SHA256 = known[ref.Name]; file.SHA256 == "" {
			return "", refused(events.CodeUnknownFile, ref, "project %s has no file %q: hand it in first, by the upload verb, "+
				"`reelay upload`, or as object %s of %s", k.Project, ref.Name, events.InputObject(k.Project, ref.Name),
				events.InputBucket)
		}
	case err != nil:
		return "", err
	}
	if ref.SHA256 != "" && ref.SHA256 != file.SHA256 {
		return "", changed(ref, file.SHA256)
	}
	return file.SHA256, nil
}

// pinned returns the SHA-256 of the files that the record of a task names; none where there is no record.
func (f *Files) pinned(ctx context.Context, k events.Key) (map[string]string, error) {
	t, _, err := f.bus.Get(ctx, k)
	if errors.Is(err, bus.ErrNotFound) {
		return nil, nil
	}
	input := t.Input
	if err == nil && t.InputRef != "" {
		input, err = f.bus.GetObject(ctx, t.InputRef)
	}
	if err != nil {
		return nil, err
	}
	refs, err := events.Files("input", input)
	known := map[string]string{}
	for _, ref := range refs {
		known[ref.Name] = ref.SHA256
	}
	return known, err
}

func changed(ref events.FileReference, sum string) *events.Error {
	return refused(events.CodeUnsuitableFile, ref, "file %q has SHA-256 %s by now, not %s", ref.Name, sum, ref.SHA256)
}

// refused says why a file cannot be used.
func refused(code string, ref events.FileReference, format string, args ...any) *events.Error {
	fe := events.NewFieldError(ref.Path, "%s", fmt.Sprintf(format, args...)) // it bounds the text
	return &events.Error{Code: code, Kind: events.KindInvalid, Message: fe.Error(), Field: fe.Field, Charge: events.ChargeNone}
}
