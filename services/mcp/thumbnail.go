package mcp

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"reelay/events"
	"reelay/internal/ffmpeg"
	"reelay/internal/thumbnail"
)

// storedWait bounds the time for a file that is just being stored.
const storedWait = time.Second

// thumbnail returns a picture of the first stored picture of a task, or of its first video, that the agent itself can
// see, or a sentence why there is none. With making it is made where it was not yet; nil is neither.
func (b *bridge) thumbnail(ctx context.Context, all []output, making bool) sdk.Content {
	var of *thumbnail.File
	for _, o := range all {
		f := thumbnail.File{Name: b.who.Name + " " + o.FileID + " " + o.SHA256, URL: o.URL, ContentType: o.ContentType, Size: o.Size}
		if o.Stored && o.URL != "" && f.Shows() && (of == nil || o.isImage() && !strings.HasPrefix(of.ContentType, "image/")) {
			of = &f
		}
	}
	if of == nil {
		return nil
	}
	p, err := b.thumbnails.Of(ctx, *of, making)
	switch {
	case err == nil:
		return &sdk.ImageContent{Data: p.Data, MIMEType: p.ContentType}
	case errors.Is(err, ffmpeg.ErrMissing):
		return text("There is no small picture of it: " + ffmpeg.ErrMissing.Error() + ".")
	}
	b.log.Debug("no thumbnail", "error", err)
	return nil
}

func (o output) isImage() bool { return strings.HasPrefix(o.ContentType, "image/") }

// stored returns a task that has just made pictures or videos, which the agent can see, or files without a provider's
// link, when they are stored; it waits for that no longer than storedWait, and not at all where nothing stores them.
func (b *bridge) stored(ctx context.Context, t events.Task) events.Task {
	if !storing(t) {
		return t
	}
	stream, stop := b.hub.watch(t.Key())
	defer stop()
	if _, err := b.client.Links(ctx, t.Key(), 0); err != nil {
		return t
	}
	end := time.After(storedWait)
	for {
		if now, err := b.client.Get(ctx, t.Key()); err != nil || !storing(now) {
			if err == nil {
				t = now
			}
			return t
		}
		select {
		case <-ctx.Done():
			return t
		case <-end:
			return t
		case <-stream:
		}
	}
}

// storing reports whether such a file of a completed task is yet to be stored.
func storing(t events.Task) bool {
	return t.Status == events.StatusCompleted && t.Result != nil && slices.ContainsFunc(t.Result.Outputs, func(o events.Output) bool {
		return o.Stored == nil && (o.URL == "" || t.TaskType == events.Image || t.TaskType == events.Video)
	})
}
