// Package ffmpeg does with the programs ffmpeg and ffprobe what costs no money: it puts sound under a video, joins
// videos, and takes a picture out of one. It knows files on this machine, and no task.
//
// The programs are given files alone, by the names of a directory of their own: no protocol but file, and no format
// that names other files. What they are given is a stranger's.
package ffmpeg

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"

	"reelay/events"
)

// An Op is what is done, as in the subjects of the work.
type Op string

// The ops.
const (
	Mux       Op = "mux"       // a video and a sound become one file
	Concat    Op = "concat"    // videos become one, in order
	Thumbnail Op = "thumbnail" // a picture of a video
)

// modelPrefix and an Op are a model.
const modelPrefix = "ffmpeg/"

// Model returns what a request names as its model.
func (o Op) Model() string { return modelPrefix + string(o) }

// Ops lists every op.
func Ops() []Op { return []Op{Mux, Concat, Thumbnail} }

// A Fit says what gives way where a video and its sound are not of one length.
type Fit string

// The fits.
const (
	// FitVideo leaves the pictures as they are, and cuts the sound or fills it up with silence. It is the default.
	FitVideo Fit = "video"
	// FitAudio leaves the sound as it is, and cuts the pictures or holds the last one.
	FitAudio Fit = "audio"
	// FitMix is FitVideo, over the sound that the video has.
	FitMix Fit = "mix"
)

const (
	// MaxVideos is how many videos are joined at most.
	MaxVideos = 64
	// maxAt bounds where in a video a picture is taken, in seconds.
	maxAt = 24 * 3600
	// defaultVolume is what FitMix makes of the loudness of the video's own sound.
	defaultVolume = 0.3
	// atEnd stands for the last picture.
	atEnd = "end"
)

// A Job is what a request asks for.
type Job struct {
	Op Op
	// Links are those of the inputs, http, https or data; for Mux that of the video and that of the sound.
	Links []string
	// Fit and Volume are for Mux, Volume with FitMix, from 0 to 1.
	Fit    Fit
	Volume float64
	// At is where a Thumbnail is taken, in seconds from the beginning; AtEnd takes the last picture.
	At    float64
	AtEnd bool
}

// ParseJob reads the input of a model:
//
//	ffmpeg/mux        {"video":URL,"audio":URL,"fit":"video"|"audio"|"mix","volume":0.3}
//	ffmpeg/concat     {"videos":[URL,...]}
//	ffmpeg/thumbnail  {"video":URL,"at":seconds|"end"}
//
// Its error is an *events.FieldError.
func ParseJob(model string, input json.RawMessage) (Job, error) {
	j := Job{Op: Op(strings.TrimPrefix(model, modelPrefix))}
	var video, audio string
	switch j.Op {
	case Mux:
		j.Fit, j.Volume = FitVideo, defaultVolume
		if err := decode(input, map[string]any{
			"video": &video, "audio": &audio, "fit": &j.Fit, "volume": &j.Volume,
		}); err != nil {
			return j, err
		}
		j.Links = []string{video, audio}
	case Concat:
		if err := decode(input, map[string]any{"videos": &j.Links}); err != nil {
			return j, err
		}
	case Thumbnail:
		var at json.RawMessage
		if err := decode(input, map[string]any{"video": &video, "at": &at}); err != nil {
			return j, err
		}
		j.Links = []string{video}
		if err := j.setAt(at); err != nil {
			return j, err
		}
	}
	if j.Op.Model() != model || j.Links == nil {
		return j, events.NewFieldError("model", "%.200q is not one of ffmpeg/mux, ffmpeg/concat, ffmpeg/thumbnail", model)
	}
	return j, j.check()
}

// decode reads an input, whose fields are named in errors as the request has them.
func decode(input json.RawMessage, fields map[string]any) error {
	err := events.DecodeStrict(input, "", fields)
	var fe *events.FieldError
	if errors.As(err, &fe) {
		return events.NewFieldError(strings.TrimSuffix("input."+fe.Field, "."), "%s", fe.Message)
	}
	return err
}

// setAt reads where a picture is taken.
func (j *Job) setAt(raw json.RawMessage) error {
	var word string
	switch {
	case len(raw) == 0:
		return nil
	case json.Unmarshal(raw, &word) == nil && word == atEnd:
		j.AtEnd = true
		return nil
	case json.Unmarshal(raw, &j.At) == nil && j.At >= 0 && j.At <= maxAt:
		return nil
	}
	return events.NewFieldError("input.at", "must be a number of seconds from 0 to %d, or %q", maxAt, atEnd)
}

func (j Job) check() error {
	fields := map[Op][]string{Mux: {"video", "audio"}, Thumbnail: {"video"}}[j.Op]
	switch {
	case j.Op == Concat && (len(j.Links) < 2 || len(j.Links) > MaxVideos):
		return events.NewFieldError("input.videos", "%d are not between 2 and %d", len(j.Links), MaxVideos)
	case j.Op == Mux && j.Fit != FitVideo && j.Fit != FitAudio && j.Fit != FitMix:
		return events.NewFieldError("input.fit", "%.80q is not video, audio or mix", string(j.Fit))
	case j.Op == Mux && (j.Volume < 0 || j.Volume > 1 || math.IsNaN(j.Volume)):
		return events.NewFieldError("input.volume", "%v is not between 0 and 1", j.Volume)
	}
	for i, link := range j.Links {
		field := "input.videos[" + strconv.Itoa(i) + "]"
		if len(fields) > i {
			field = "input." + fields[i]
		}
		scheme, _, ok := strings.Cut(strings.ToLower(link), ":")
		switch {
		case link == "":
			return events.NewFieldError(field, "is missing")
		case !ok || scheme != "https" && scheme != "http" && scheme != "data":
			return events.NewFieldError(field, "%.80q is not an http, https or data URL", link)
		}
	}
	return nil
}
