package main

import (
	"encoding/json"
	"fmt"

	"reelay/events"
)

// wantFlags is what a task shall make, in words that are the same for every model.
type wantFlags struct {
	NegativePrompt string   `name:"negative-prompt" help:"What must not be seen."`
	Image          string   `help:"First frame of a video, or the picture to begin with: a file, which is handed in, or a URL." placeholder:"FILE"`
	LastFrame      string   `name:"last-frame" help:"Last frame of a video." placeholder:"FILE"`
	Reference      []string `help:"Picture of what shall appear; may be repeated." sep:"none" placeholder:"FILE"`
	Duration       float64  `help:"Length in seconds." placeholder:"SECONDS"`
	AspectRatio    string   `name:"aspect-ratio" help:"Width to height, such as 16:9."`
	Resolution     string   `help:"Height such as 720p, or 2k or 4k."`
	Seed           *int64   `help:"Seed of what is random." placeholder:"N"`
	Audio          *bool    `help:"With sound, or without." negatable:""`
	Text           string   `help:"What shall be spoken or sung."`
	Voice          string   `help:"By whom: the provider's name or id of a voice."`
	Options        string   `help:"Fields of the provider's own input to add, as a JSON object." placeholder:"JSON"`
	Lenient        bool     `help:"Leave out what the model cannot do, with a warning in the record, instead of being refused."`
}

// given names the first flag that was given, "" if none was.
func (f wantFlags) given() string {
	for _, flag := range []struct {
		name string
		is   bool
	}{
		{"--negative-prompt", f.NegativePrompt != ""},
		{"--image", f.Image != ""},
		{"--last-frame", f.LastFrame != ""},
		{"--reference", len(f.Reference) > 0},
		{"--duration", f.Duration != 0},
		{"--aspect-ratio", f.AspectRatio != ""},
		{"--resolution", f.Resolution != ""},
		{"--seed", f.Seed != nil},
		{"--audio", f.Audio != nil},
		{"--text", f.Text != ""},
		{"--voice", f.Voice != ""},
		{"--options", f.Options != ""},
		{"--lenient", f.Lenient},
	} {
		if flag.is {
			return flag.name
		}
	}
	return ""
}

// want returns what is wanted. Its error is a usageError.
func (f wantFlags) want(prompt string) (*events.Want, error) {
	w := &events.Want{
		Prompt: prompt, NegativePrompt: f.NegativePrompt, Image: events.WantValue(f.Image),
		LastFrame: events.WantValue(f.LastFrame), Duration: f.Duration, AspectRatio: f.AspectRatio,
		Resolution: f.Resolution, Seed: f.Seed, Audio: f.Audio, Text: f.Text, Voice: events.WantValue(f.Voice),
	}
	for _, r := range f.Reference {
		w.References = append(w.References, events.WantValue(r))
	}
	if f.Options != "" {
		if _, err := members([]byte(f.Options)); err != nil {
			return nil, &usageError{fmt.Errorf("--options: %w", err)}
		}
		w.Options = json.RawMessage(f.Options)
	}
	return w, nil
}
