package ffmpeg

import (
	"fmt"
	"strconv"
	"strings"
)

const (
	videoType = "video/mp4"
	videoName = "made.mp4"
	imageName = "made.png"
	listName  = "list.txt"
	imageType = "image/png"
	// lastPart is how much of the end of a video is read for its last picture, in seconds.
	lastPart = "3"
)

// A plan is one run of ffmpeg.
type plan struct {
	args []string
	// write are the files that it needs besides, by name.
	write            map[string]string
	out, contentType string
	// seconds is how long what it makes is, for its progress.
	seconds float64
}

// plan says how a job is done with its inputs.
func (j Job) plan(inputs []info, files []string) (plan, error) {
	p := plan{out: videoName, contentType: videoType}
	for i, in := range inputs {
		switch sound := j.Op == Mux && i == 1; {
		case sound && in.audio == nil:
			return p, &InputError{"the file that audio names has no sound"}
		case !sound && in.video == nil:
			return p, &InputError{fmt.Sprintf("video %d has no pictures", i+1)}
		case in.seconds <= 0:
			return p, &InputError{fmt.Sprintf("the length of input %d is not known", i+1)}
		}
	}
	switch j.Op {
	case Concat:
		return j.concat(p, inputs, files), nil
	case Thumbnail:
		return j.thumbnail(p, inputs[0], files[0])
	}
	return j.mux(p, inputs[0], inputs[1], files), nil
}

// sound is how every sound is written, so that what is made in several runs can be joined.
func sound() []string { return []string{"-c:a", "aac", "-b:a", "192k", "-ar", "48000", "-ac", "2"} }

// pictures is how pictures are written that cannot stay as they are.
func pictures() []string {
	return []string{"-c:v", "libx264", "-preset", "veryfast", "-crf", "18", "-pix_fmt", "yuv420p"}
}

func seconds(s float64) string { return strconv.FormatFloat(s, 'f', 6, 64) }

// mux puts a sound under a video.
func (j Job) mux(p plan, video, audio info, files []string) plan {
	p.seconds = video.seconds
	if j.Fit == FitAudio {
		p.seconds = audio.seconds
	}
	p.args = append(append(safe(), "-i", files[0]), append(safe(), "-i", files[1])...)
	switch {
	case j.Fit == FitMix && video.audio != nil:
		p.args = append(p.args, "-filter_complex", fmt.Sprintf(
			"[0:a:0]volume=%s,apad[own];[1:a:0]apad[new];[own][new]amix=inputs=2:normalize=0[mixed]", seconds(j.Volume)),
			"-map", "0:v:0", "-map", "[mixed]")
	default:
		p.args = append(p.args, "-map", "0:v:0", "-map", "1:a:0", "-af", "apad")
	}
	switch held := p.seconds - video.seconds; {
	case held > 0:
		p.args = append(p.args, "-vf", "tpad=stop_mode=clone:stop_duration="+seconds(held))
		p.args = append(p.args, pictures()...)
	case video.copies():
		p.args = append(p.args, "-c:v", "copy")
	default:
		p.args = append(p.args, pictures()...)
	}
	p.args = append(append(p.args, sound()...), "-t", seconds(p.seconds), "-movflags", "+faststart")
	return p
}

// concat joins videos: as they are where one encoder has made all of them alike, else anew in the size of the first.
func (j Job) concat(p plan, inputs []info, files []string) plan {
	alike, withSound := inputs[0].copies(), false
	for _, in := range inputs {
		alike = alike && inputs[0].like(in)
		withSound = withSound || in.audio != nil
		p.seconds += in.seconds
	}
	if alike {
		var list strings.Builder
		for i, name := range files {
			fmt.Fprintf(&list, "file %s\nduration %s\n", name, seconds(inputs[i].seconds))
		}
		p.write = map[string]string{listName: list.String()}
		p.args = append([]string{"-protocol_whitelist", "file", "-format_whitelist", formats + ",concat", "-f", "concat"},
			"-i", listName, "-map", "0", "-c", "copy", "-movflags", "+faststart")
		return p
	}
	first := inputs[0].video
	var filter, joined strings.Builder
	for i, in := range inputs {
		p.args = append(append(p.args, safe()...), "-i", files[i])
		fmt.Fprintf(&filter, "[%d:v:0]scale=%d:%d:force_original_aspect_ratio=decrease,pad=%[2]d:%[3]d:(ow-iw)/2:(oh-ih)/2,"+
			"setsar=1,fps=%[4]s,format=yuv420p[v%[1]d];", i, even(first.Width), even(first.Height), first.FrameRate)
		fmt.Fprintf(&joined, "[v%d]", i)
		if !withSound {
			continue
		}
		from := "anullsrc=r=48000:cl=stereo"
		if in.audio != nil {
			from = fmt.Sprintf("[%d:a:0]aresample=48000,aformat=channel_layouts=stereo,apad", i)
		}
		fmt.Fprintf(&filter, "%s,atrim=0:%s[a%d];", from, seconds(in.seconds), i)
		fmt.Fprintf(&joined, "[a%d]", i)
	}
	outs := map[bool]string{true: "a=1[v][a]", false: "a=0[v]"}[withSound]
	p.args = append(p.args, "-filter_complex",
		fmt.Sprintf("%s%sconcat=n=%d:v=1:%s", filter.String(), joined.String(), len(inputs), outs), "-map", "[v]")
	if withSound {
		p.args = append(append(p.args, "-map", "[a]"), sound()...)
	}
	p.args = append(append(p.args, pictures()...), "-movflags", "+faststart")
	return p
}

// even is what the encoder takes for a width or a height.
func even(n int) int { return n + n%2 }

// thumbnail takes one picture out of a video.
func (j Job) thumbnail(p plan, video info, file string) (plan, error) {
	p.out, p.contentType = imageName, imageType
	switch {
	case j.AtEnd: // each of the last pictures takes the place of the one before
		p.args = append(append(safe("-sseof", "-"+lastPart), "-i", file), "-map", "0:v:0", "-update", "1")
	case j.At >= video.seconds:
		return p, &InputError{fmt.Sprintf("at %v s there is no picture: the video has %.3f s", j.At, video.seconds)}
	default:
		p.args = append(append(safe("-ss", seconds(j.At)), "-i", file), "-map", "0:v:0", "-frames:v", "1", "-update", "1")
	}
	return p, nil
}
