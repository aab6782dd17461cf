package archiver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"reelay/events"
	"reelay/internal/artifact"
	"reelay/internal/media"
	"reelay/internal/provider"
)

var (
	// errUnusable says that an output names no file that could ever be fetched.
	errUnusable = errors.New("the output has no link")
	// errStore says that the store failed, or the spool, and not the provider.
	errStore = errors.New("the store failed")
)

// An otherKindError says that a link leads to a file of another kind than was asked for, and where that file is kept as
// evidence, and how often one has come.
type otherKindError struct {
	text, place string
	times       int
}

func (e *otherKindError) Error() string { return e.text + "; it is kept apart" }

const (
	// askWait bounds a poll of the provider for a fresh link.
	askWait = time.Minute
	// linkMargin is how long before its death a link is not used any more.
	linkMargin = 5 * time.Second
)

// clip bounds a text of a record.
func clip(text string) string { return provider.Clip(text, events.MaxMessageBytes) }

// settle fetches one output and stores it.
func (s *Service) settle(ctx context.Context, t events.Task, i int) (events.Output, error) {
	o := t.Result.Outputs[i]
	w := wanted(t, i)
	switch {
	case media.IsDataURL(o.URL):
		said, content, err := media.DecodeDataURL(o.URL)
		if err != nil {
			return o, fmt.Errorf("%w: %w", errUnusable, err)
		}
		if w.ContentType == "" {
			w.ContentType = said
		}
		return s.storeBytes(ctx, t, o, w, content)
	case o.URL == "" && o.Object != "":
		return s.storeObject(ctx, t, i, w)
	case o.URL == "":
		return o, errUnusable
	}
	return s.fetch(ctx, t, i, w)
}

// wanted is what a provider has said of an output, and what the task should have made.
func wanted(t events.Task, i int) media.Wanted {
	o := t.Result.Outputs[i]
	w := media.Wanted{URL: o.URL, ContentType: o.ContentType, FileName: o.FileName, Size: o.Size, SHA256: o.SHA256}
	if i == 0 { // others may be beside it: a thumbnail, subtitles
		switch t.TaskType {
		case events.Video:
			w.Kind = media.KindVideo
		case events.Image:
			w.Kind = media.KindImage
		case events.Audio, events.Speech, events.Music:
			w.Kind = media.KindUnknown // speech is made, or put into words
		}
	}
	return w
}

// storeBytes stores a file that came in a message.
func (s *Service) storeBytes(ctx context.Context, t events.Task, o events.Output, w media.Wanted,
	content []byte,
) (events.Output, error) {
	got := media.Sniff(content)
	w.URL = ""
	if _, err := w.Check(got, int64(len(content))); err != nil {
		return o, fmt.Errorf("%w: %w", errUnusable, err)
	}
	sum := sha256.Sum256(content)
	n := artifact.Name{Project: t.Project, SHA256: hex.EncodeToString(sum[:]), Ext: w.Ext(got, "")}
	if err := s.put(ctx, t.Key(), n, int64(len(content)), func() error {
		return s.o.Store.Put(ctx, n, int64(len(content)), bytes.NewReader(content))
	}); err != nil {
		return o, err
	}
	return s.storedOutput(o, n, int64(len(content)), got, bytes.NewReader(content)), nil
}

// storeObject stores a file that the object store holds, through the spool. What the work of a task has made is named no
// more once it is stored.
func (s *Service) storeObject(ctx context.Context, t events.Task, i int, w media.Wanted) (events.Output, error) {
	o := t.Result.Outputs[i]
	f, err := s.spool.open(t.Key(), i)
	if err != nil {
		return o, fmt.Errorf("%w: %w", errStore, err)
	}
	defer f.close()
	if done, ok := s.planned(ctx, t.Key(), f); ok {
		return done, nil
	}
	content, err := s.o.Bus.OpenObject(ctx, o.Object)
	if err != nil {
		return o, fmt.Errorf("%w: %w", errStore, err)
	}
	defer content.Close()
	sum, head := sha256.New(), &beginning{}
	err = f.data.Truncate(0)
	if err == nil {
		_, err = io.Copy(io.MultiWriter(f.data, sum, head), content)
	}
	size, _ := f.data.Seek(0, io.SeekCurrent)
	if err == nil {
		err = f.data.Sync()
	}
	if err != nil {
		return o, fmt.Errorf("%w: %w", errStore, err)
	}
	got := media.Fetched{Type: media.Sniff(head.kept), Size: size, SHA256: hex.EncodeToString(sum.Sum(nil))}
	if got.Warning, err = w.Check(got.Type, size); err != nil {
		return o, fmt.Errorf("%w: %w", errUnusable, err)
	}
	got.Ext = w.Ext(got.Type, "")
	if o.Object == events.WorkObject(t.Key()) {
		o.Object = ""
	}
	return s.keep(ctx, t, o, got, f)
}

// beginning keeps the beginning of what is written to it.
type beginning struct{ kept []byte }

// Write implements io.Writer.
func (b *beginning) Write(p []byte) (int, error) {
	b.kept = append(b.kept, p[:min(len(p), media.SniffBytes-len(b.kept))]...)
	return len(p), nil
}

// put has store put a file of a task, unless it is there already or the project may have no more.
func (s *Service) put(ctx context.Context, k events.Key, n artifact.Name, size int64, store func() error) error {
	if there, err := s.inStore(ctx, k, n, size); there || err != nil {
		return inStoreError(err)
	}
	undo, err := s.usage.take(ctx, n.Project, size)
	if errors.Is(err, errProjectFull) {
		return err
	}
	if err == nil {
		if err = store(); err != nil {
			undo()
		}
	}
	return inStoreError(err)
}

func inStoreError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", errStore, err)
}

// planned returns an output that is stored already, by a process that did not live to record it. A file that the store
// has lost since is put again.
func (s *Service) planned(ctx context.Context, k events.Key, f *spooled) (events.Output, bool) {
	if f.state.Planned == nil {
		return events.Output{}, false
	}
	n, err := artifact.ParseName(f.state.Name)
	if err != nil {
		return events.Output{}, false
	}
	size := f.state.Planned.Size
	err = s.put(ctx, k, n, size, func() error {
		content, err := os.Open(f.path)
		if err != nil {
			return err
		}
		defer content.Close()
		return s.o.Store.Put(ctx, n, size, content) // which checks its sum
	})
	return *f.state.Planned, err == nil
}

// storedOutput is an output once its file is stored.
func (s *Service) storedOutput(o events.Output, n artifact.Name, size int64, got media.Type,
	content io.ReaderAt,
) events.Output {
	says := media.Measure(content, size, got)
	o.Width, o.Height, o.DurationS = says.Width, says.Height, says.Duration.Round(time.Millisecond).Seconds()
	o.StoreError = nil
	o.SHA256, o.Size, o.Stored, o.StoredURL = n.SHA256, size, new(true), s.o.Store.URL(n)
	if got.MIME != "" {
		o.ContentType = got.MIME
	}
	return o
}

// fetch downloads an output into the spool and stores it from there. A link that has died, or is refused, is asked for
// again once.
func (s *Service) fetch(ctx context.Context, t events.Task, i int, w media.Wanted) (events.Output, error) {
	o := t.Result.Outputs[i]
	f, err := s.spool.open(t.Key(), i)
	if err != nil {
		return o, fmt.Errorf("%w: %w", errStore, err)
	}
	defer f.close()
	if done, ok := s.planned(ctx, t.Key(), f); ok {
		return done, nil
	}
	undo, err := s.usage.take(ctx, t.Project, max(1, o.Size))
	if err != nil {
		return o, err
	}
	undo() // it was only asked before anything is fetched
	fresh := o.ExpiresAt != nil && time.Until(*o.ExpiresAt) < linkMargin
	if fresh {
		w.URL = s.freshLink(ctx, t, i, w.URL)
	}
	got, err := s.download(ctx, t, w, f)
	if err != nil && isRefusal(err) && !fresh && ctx.Err() == nil {
		if link := s.freshLink(ctx, t, i, w.URL); link != w.URL {
			w.URL = link
			got, err = s.download(ctx, t, w, f)
		}
	}
	if err != nil {
		return o, err
	}
	return s.keep(ctx, t, o, got, f)
}

// keep puts a spooled file into the store. What it will be is noted before: the store may take the very file.
func (s *Service) keep(ctx context.Context, t events.Task, o events.Output, got media.Fetched,
	f *spooled,
) (events.Output, error) {
	n := artifact.Name{Project: t.Project, SHA256: got.SHA256, Ext: got.Ext}
	stored := s.storedOutput(o, n, got.Size, got.Type, f.data)
	if err := f.plan(n.String(), stored); err != nil {
		return o, fmt.Errorf("%w: %w", errStore, err)
	}
	content, err := os.Open(f.path)
	if err != nil {
		return o, fmt.Errorf("%w: %w", errStore, err)
	}
	defer content.Close()
	if err := s.put(ctx, t.Key(), n, got.Size, func() error {
		return s.o.Store.PutSpooled(ctx, n, got.Size, f.path, content)
	}); err != nil {
		return o, err
	}
	if got.Warning != "" {
		s.log.WarnContext(ctx, "an output is not what was announced", "task", t.Key(), "warning", got.Warning)
	}
	return stored, nil
}

// download fetches what is missing of a spooled file.
func (s *Service) download(ctx context.Context, t events.Task, w media.Wanted, f *spooled) (media.Fetched, error) {
	fetcher := s.o.Fetcher
	if l, ok := s.lanes[t.Lane]; ok && l.Emulated {
		fetcher = s.o.Local
	} else if own := s.own[t.Lane]; own != nil && strings.HasPrefix(w.URL, own.Own) {
		fetcher = own
	}
	got, err := fetcher.Resume(ctx, w, &counted{f.data, s.metrics.bytes.WithLabelValues("fetched")}, f.state.Part, f.save)
	switch {
	case err != nil && f.failed != nil:
		return got, fmt.Errorf("%w: %w", errStore, f.failed)
	case err == nil && got.Other:
		return got, s.keepApart(ctx, t, got, f)
	}
	return got, err
}

// keepApart stores a file of another kind than was asked for as evidence, and has it fetched anew. It returns why the
// file does not count.
func (s *Service) keepApart(ctx context.Context, t events.Task, got media.Fetched, f *spooled) error {
	n := artifact.Name{Project: t.Project, SHA256: got.SHA256, Ext: got.Ext}
	content, err := os.Open(f.path)
	if err == nil {
		defer content.Close()
		err = s.put(ctx, t.Key(), n, got.Size, func() error { return s.o.Store.Put(ctx, n, got.Size, content) })
	}
	if err == nil {
		err = f.write(note{Others: f.state.Others + 1})
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errStore, err)
	}
	return &otherKindError{got.Warning, s.o.Store.URL(n), f.state.Others}
}

// freshLink asks the provider for the link of an output anew, by a poll, which is free. It returns the former link if
// there is no other.
func (s *Service) freshLink(ctx context.Context, t events.Task, i int, former string) string {
	l, ok := s.lanes[t.Lane]
	if !ok || len(t.ProviderRef) == 0 {
		return former
	}
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	snap, err := l.Driver.Poll(ctx, t.ProviderRef)
	s.metrics.asked.WithLabelValues(t.Lane).Inc()
	if err != nil || snap.State != provider.Succeeded {
		s.log.InfoContext(ctx, "the provider was asked for a fresh link and gave none", "task", t.Key(), "error", err)
		return former
	}
	all := t.Result.Outputs
	if len(snap.Outputs) == len(all) {
		return snap.Outputs[i].URL
	}
	// Outputs that repeat the input were left out of the record: the same name is the same file.
	j := slices.IndexFunc(snap.Outputs, func(o events.Output) bool {
		return o.FileName != "" && o.FileName == all[i].FileName
	})
	if j < 0 {
		return former
	}
	return snap.Outputs[j].URL
}
