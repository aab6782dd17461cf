package main

import (
	"context"

	"reelay/events"
	"reelay/internal/ffmpeg"
	"reelay/internal/segment"
)

// segmentCmd makes a video with speech under it and saves it.
type segmentCmd struct {
	chainFlags `embed:""`
	wantFlags  `embed:""`

	Prompt      string `help:"What the video shows, in words." required:""`
	VoiceSample string `name:"voice-sample" help:"Recording of the voice that speaks, which is cloned first: a file, which is handed in, or a URL." placeholder:"FILE"`
	Continue    string `help:"Task whose last picture the video begins with, such as the segment before." placeholder:"ID"`
	Provider    string `help:"Provider of the video (default: the model's)."`
	Model       string `help:"Model of the video, an id or an alias; see: reelay models."`
	SpeechModel string `name:"speech-model" help:"Model that speaks." placeholder:"MODEL"`
	VoiceModel  string `name:"voice-model" help:"Model that clones the voice." placeholder:"MODEL"`
	Fit         string `help:"What stays as it is where the lengths differ: the pictures (video) or the sound (audio); mix is video, over its own sound." enum:"video,audio,mix" default:"video"`
}

// Run hands in every task of the segment, shows them until they have ended and saves the segment.
func (c *segmentCmd) Run(ctx context.Context, e *env) error {
	if err := c.check(); err != nil {
		return err
	}
	var files localFiles
	sample, err := files.value(c.VoiceSample)
	if err == nil {
		err = files.flags(&c.wantFlags)
	}
	if err != nil {
		return err
	}
	w, err := c.want(c.Prompt)
	if err != nil {
		return err
	}
	speech := events.Want{Text: w.Text, Voice: w.Voice}
	w.Text, w.Voice = "", ""
	tasks, err := segment.Segment{
		ID: c.ID, SceneID: c.SceneID, BatchID: c.Batch, Sample: sample, VoiceModel: c.VoiceModel, Continues: c.Continue,
		Fit:    ffmpeg.Fit(c.Fit),
		Speech: events.Request{Model: c.SpeechModel, Want: &speech, Lenient: c.Lenient},
		Video:  events.Request{Provider: c.Provider, Model: c.Model, Want: w, Lenient: c.Lenient},
	}.Tasks()
	if err != nil {
		return err
	}
	return c.make(ctx, e, tasks, files)
}

// check checks what kong does not, and gives the segment an id if it has none. Its error is a usageError.
func (c *segmentCmd) check() error {
	if c.ID == "" {
		c.ID = newID()
	}
	switch {
	case c.Text == "":
		return usagef("--text: is missing: what shall be spoken")
	case c.Voice != "" && c.VoiceSample != "":
		return usagef("--voice: and --voice-sample are both given")
	case c.Image != "" && c.Continue != "":
		return usagef("--image: and --continue are both given")
	case len(c.ID) > segment.MaxIDBytes:
		return usagef("--id: must be 1 to %d characters of A-Z a-z 0-9 _ -", segment.MaxIDBytes)
	}
	return nil
}
