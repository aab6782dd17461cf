package ffmpeg

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
)

// A stream is what ffprobe tells of a stream.
type stream struct {
	Type      string `json:"codec_type"`
	Codec     string `json:"codec_name"`
	Width     int    `json:"width"`
	Height    int    `json:"height"`
	PixFmt    string `json:"pix_fmt"`
	FrameRate string `json:"r_frame_rate"`
	TimeBase  string `json:"time_base"`
	Rate      string `json:"sample_rate"`
	Channels  int    `json:"channels"`
	// Extradata tells the settings of one encoder from those of another.
	Extradata string `json:"extradata_hash"`
	Duration  string `json:"duration"`
}

// An info is what is known of a file: its first pictures and its first sound, nil where there are none.
type info struct {
	video, audio *stream
	// seconds is the length of the pictures, or of the sound where there are none.
	seconds float64
}

// probe reads what a file is. A file that ffprobe cannot read is an InputError.
func (t *Tool) probe(ctx context.Context, dir, name string) (info, error) {
	args := append(safe("-v", "error"), "-show_data_hash", "MD5", "-of", "json", "-show_entries",
		"format=duration:stream=codec_type,codec_name,width,height,pix_fmt,r_frame_rate,time_base,sample_rate,channels,"+
			"extradata_hash,duration", name)
	var out bounded
	if err := t.run(ctx, t.ffprobe, dir, &out, args...); err != nil {
		return info{}, err
	}
	var told struct {
		Format struct {
			Duration string `json:"duration"`
		} `json:"format"`
		Streams []stream `json:"streams"`
	}
	if err := json.Unmarshal(out.Bytes(), &told); err != nil {
		return info{}, fmt.Errorf("what ffprobe has told: %w", err)
	}
	var in info
	for i, s := range told.Streams {
		switch {
		case s.Type == "video" && in.video == nil:
			in.video = &told.Streams[i]
		case s.Type == "audio" && in.audio == nil:
			in.audio = &told.Streams[i]
		}
	}
	durations := []string{told.Format.Duration}
	if s := in.main(); s != nil {
		durations = []string{s.Duration, told.Format.Duration}
	}
	for _, text := range durations {
		if in.seconds, _ = strconv.ParseFloat(text, 64); in.seconds > 0 {
			break
		}
	}
	return in, nil
}

// main is the stream that gives a file its length.
func (i info) main() *stream {
	if i.video != nil {
		return i.video
	}
	return i.audio
}

// copies reports whether the pictures can stand in an MP4 file as they are.
func (i info) copies() bool {
	switch i.video.Codec {
	case "h264", "hevc", "av1", "vp9", "mpeg4":
		return true
	}
	return false
}

// like reports whether b continues a as if one encoder had made both.
func (i info) like(b info) bool {
	same := func(x, y *stream) bool {
		if x == nil || y == nil {
			return x == y
		}
		a, b := *x, *y
		a.Duration, b.Duration = "", ""
		return a == b
	}
	return same(i.video, b.video) && same(i.audio, b.audio)
}
