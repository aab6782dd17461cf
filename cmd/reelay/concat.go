package main

import (
	"context"
	"strings"

	"reelay/events"
	"reelay/internal/ffmpeg"
	"reelay/internal/segment"
)

// concatCmd makes one video of several and saves it.
type concatCmd struct {
	chainFlags `embed:""`

	Videos []string `arg:"" name:"video" help:"Videos in order, each a task that makes one, or a URL."`
}

// Run hands in the task, shows it until it has ended and saves what it has made.
func (c *concatCmd) Run(ctx context.Context, e *env) error {
	if n := len(c.Videos); n < 2 || n > ffmpeg.MaxVideos {
		return usagef("%d videos are not between 2 and %d", n, ffmpeg.MaxVideos)
	}
	if c.ID == "" {
		c.ID = newID()
	}
	var videos []any
	for _, v := range c.Videos {
		switch {
		case events.ValidToken(v):
			videos = append(videos, segment.From(v))
		case strings.Contains(v, "://"):
			videos = append(videos, v)
		default:
			return usagef("%q is neither a task id nor a URL", v)
		}
	}
	r, err := segment.Concat(videos)
	if err != nil {
		return err
	}
	r.ID, r.SceneID, r.BatchID = c.ID, c.SceneID, c.Batch
	return c.make(ctx, e, []segment.Task{{Type: events.Video, Request: r}}, nil)
}
