package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"reelay/events"
	"reelay/internal/media"
)

// A downloader saves what a task has made.
type downloader struct {
	saver *media.Saver
	// open reads an output from reelay's own store.
	open func(ctx context.Context, name string) (io.ReadCloser, error)
	// say prints a line about a file that is not what was said.
	say func(string)
}

func newDownloader(e *env, a *api, dir string) *downloader {
	return &downloader{
		saver: &media.Saver{Dir: dir, Fetcher: e.fetcher}, open: a.OpenStored,
		say: func(line string) { fmt.Fprintln(e.stderr, clean(line)) },
	}
}

// saveResult saves what a completed task has made into dir, prints the paths, and says what a person should know.
func saveResult(ctx context.Context, e *env, a *api, task events.Task, dir string) error {
	k := task.Key()
	r := task.Result
	if r == nil || len(r.Outputs) == 0 && len(r.Raw) == 0 && r.RawRef == "" {
		return fmt.Errorf("task %s completed without an output; see: reelay get %s", k.ID, k)
	}
	d := newDownloader(e, a, dir)
	for _, note := range r.Notes {
		d.say(note)
	}
	if len(r.Outputs) == 0 {
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
		path, got, err := d.save(ctx, base, o.Stored, w)
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

// save saves a file from its link, or from the store if it has none.
func (d *downloader) save(ctx context.Context, base, stored string, w media.Wanted) (string, media.Fetched, error) {
	if w.URL != "" || stored == "" {
		return d.saver.Save(ctx, base, w)
	}
	from, err := d.open(ctx, stored)
	if err != nil {
		return "", media.Fetched{}, err
	}
	defer from.Close()
	return d.saver.SaveFrom(base, w, from)
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
	case events.Audio:
		return media.KindAudio
	default:
		return media.KindUnknown
	}
}
