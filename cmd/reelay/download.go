package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"reelay/events"
	"reelay/internal/media"
)

// storedWait bounds the wait of reelay run until an output is stored; after it the provider's link is used.
const (
	storedWait  = 2 * time.Minute
	storedAgain = 200 * time.Millisecond
)

// A downloader saves what a task has made.
type downloader struct {
	saver *media.Saver
	// links are the links to stored outputs, by index; empty where no archiver runs.
	links map[int]events.Link
	// open reads an output from reelay's own store.
	open func(ctx context.Context, name string) (io.ReadCloser, error)
	// say prints a line about a file that is not what was said.
	say func(string)
	// transfer shows how far a download is.
	transfer func(name string) *transfer
}

func newDownloader(ctx context.Context, e *env, a *api, dir string) *downloader {
	var hosts []string
	if world, err := a.World(ctx); err == nil && world == events.WorldSandbox {
		hosts = media.Loopback() // where the emulators are
	}
	return &downloader{
		saver: &media.Saver{Dir: dir, Fetcher: e.fetcher(hosts)}, open: a.OpenStored,
		say:      func(line string) { fmt.Fprintln(e.stderr, clean(line)) },
		transfer: func(name string) *transfer { return newTransfer(e, "saving "+name, 0) },
	}
}

// awaitStored returns a completed task once its outputs are stored or given up, or a try has failed. It does not wait where
// no archiver runs, nor longer than storedWait.
func awaitStored(ctx context.Context, e *env, a *api, task events.Task) events.Task {
	if _, err := a.Links(ctx, task.Key(), 0); err != nil {
		return task
	}
	ctx, cancel := context.WithTimeout(ctx, storedWait)
	defer cancel()
	said := false
	for {
		if task.Result == nil {
			return task
		}
		open := slices.DeleteFunc(slices.Clone(task.Result.Outputs), func(o events.Output) bool { return o.Stored != nil })
		if len(open) == 0 {
			return task
		}
		for _, o := range open {
			if o.StoreError != nil {
				fmt.Fprintln(e.stderr, clean("an output is not stored yet, and is asked for at the provider: "+o.StoreError.Message))
				return task
			}
		}
		if !said {
			fmt.Fprintln(e.stderr, "the outputs are being stored")
			said = true
		}
		select {
		case <-ctx.Done():
			return task
		case <-time.After(storedAgain):
		}
		if t, err := a.Get(ctx, task.Key()); err == nil {
			task = t
		}
	}
}

// storedLinks returns the links to the stored outputs of a task, by index.
func storedLinks(ctx context.Context, a *api, task events.Task) map[int]events.Link {
	links := map[int]events.Link{}
	if !slices.ContainsFunc(task.Result.Outputs, events.Output.IsStored) {
		return links
	}
	reply, err := a.Links(ctx, task.Key(), 0)
	if err != nil {
		return links // then the provider's links are left
	}
	for _, l := range reply.Links {
		links[l.Output] = l
	}
	return links
}

// saveResult saves what a completed task has made into dir, prints its values and the paths, and says what a person
// should know.
func saveResult(ctx context.Context, e *env, a *api, task events.Task, dir string) error {
	k := task.Key()
	r := task.Result
	if r == nil || len(r.Outputs)+len(r.Values) == 0 && len(r.Raw) == 0 && r.RawRef == "" {
		return fmt.Errorf("task %s completed without an output; see: reelay get %s", k.ID, k)
	}
	d := newDownloader(ctx, e, a, dir)
	d.links = storedLinks(ctx, a, task)
	for _, note := range r.Notes {
		d.say(note)
	}
	for _, line := range valueLines(*r) {
		fmt.Fprintln(e.stdout, clean(line))
	}
	switch {
	case len(r.Outputs) == 0 && len(r.Values) > 0:
		return nil
	case len(r.Outputs) == 0:
		d.say("the result has no file; the provider's own words are in result.raw, shown by: reelay get " + k.String())
		path, err := d.saveRaw(ctx, task)
		if err == nil {
			fmt.Fprintln(e.stdout, path)
		}
		return err
	}
	paths, err := d.saveAll(ctx, task)
	for _, p := range paths {
		fmt.Fprintln(e.stdout, p)
	}
	if err != nil {
		return fmt.Errorf("%w\nthe task is completed; to try again without paying again: reelay get %s --output DIR", err, k)
	}
	return nil
}

// saveAll saves every output of a task and returns the paths of those that worked, and what went wrong with the others.
func (d *downloader) saveAll(ctx context.Context, task events.Task) ([]string, error) {
	var paths []string
	var errs []error
	outputs := task.Result.Outputs
	for i, o := range outputs {
		base := task.ID
		if len(outputs) > 1 {
			base = fmt.Sprintf("%s-%d", task.ID, i+1)
		}
		w := wanted(o)
		if i == 0 { // others may be beside it: a thumbnail, subtitles
			w.Kind = kindOf(task.TaskType)
		}
		path, got, err := d.saveStored(ctx, base, i, w)
		if err != nil {
			path, got, err = d.save(ctx, base, o.Object, w)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("output %d: %w", i+1, err))
			continue
		}
		if got.Warning != "" {
			d.say(fmt.Sprintf("output %d, %s: %s", i+1, path, got.Warning))
		}
		paths = append(paths, path)
	}
	return paths, errors.Join(errs...)
}

// errNotLinked says that there is no link to a stored output.
var errNotLinked = errors.New("the output is not stored")

// saveStored saves an output out of reelay's own store, and checks it by the SHA-256 of the record.
func (d *downloader) saveStored(ctx context.Context, base string, i int, w media.Wanted) (string, media.Fetched, error) {
	l, ok := d.links[i]
	if !ok {
		return "", media.Fetched{}, errNotLinked
	}
	w.URL, w.SHA256, w.Size = l.URL, l.SHA256, l.Size
	path, got, err := d.download(ctx, base, w, d.saver.Fetcher.Reaching(l.URL))
	if err != nil {
		d.say(fmt.Sprintf("output %d could not be read from the store, now from the provider: %v", i+1, err))
	}
	return path, got, err
}

// save saves a file from its link, or from the store if it has none.
func (d *downloader) save(ctx context.Context, base, stored string, w media.Wanted) (string, media.Fetched, error) {
	if w.URL != "" || stored == "" {
		return d.download(ctx, base, w, d.saver.Fetcher)
	}
	from, err := d.open(ctx, stored)
	if err != nil {
		return "", media.Fetched{}, err
	}
	defer from.Close()
	return d.saver.SaveFrom(base, w, from)
}

// download saves a file from its link, and shows how far it is.
func (d *downloader) download(ctx context.Context, base string, w media.Wanted, f *media.Fetcher) (string, media.Fetched, error) {
	t := d.transfer(base)
	defer t.end()
	saver := media.Saver{Dir: d.saver.Dir, Fetcher: f, Progress: t.set}
	return saver.Save(ctx, base, w)
}

// saveRaw saves a result that has no file: the words of a transcript, a score.
func (d *downloader) saveRaw(ctx context.Context, task events.Task) (string, error) {
	r := task.Result
	w := media.Wanted{ContentType: "application/json"}
	if len(r.Raw) > 0 {
		path, _, err := d.saver.SaveFrom(task.ID, w, bytes.NewReader(r.Raw))
		return path, err
	}
	path, _, err := d.save(ctx, task.ID, r.RawRef, w)
	return path, err
}

// wanted is what a provider has said of an output.
func wanted(o events.Output) media.Wanted {
	return media.Wanted{
		URL: o.URL, ContentType: o.ContentType, FileName: o.FileName, Size: o.Size, SHA256: o.SHA256,
	}
}

// kindOf is what a task of a type most often makes. Speech is made, or put into words.
func kindOf(t events.TaskType) media.Kind {
	switch t {
	case events.Video:
		return media.KindVideo
	case events.Image:
		return media.KindImage
	case events.Audio, events.Music:
		return media.KindAudio
	default:
		return media.KindUnknown
	}
}
