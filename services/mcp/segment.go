package mcp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"reelay/events"
	"reelay/events/client"
	"reelay/internal/ffmpeg"
	"reelay/internal/segment"
)

func (b *bridge) addSegments(makes func(title string) *sdk.ToolAnnotations) {
	fits := func(in map[string]*jsonschema.Schema) {
		oneOf(in["fit"], []ffmpeg.Fit{ffmpeg.FitVideo, ffmpeg.FitAudio, ffmpeg.FitMix})
		in["fit"].Default = []byte(`"` + ffmpeg.FitVideo + `"`)
		waitSeconds(in)
	}
	add(b, &sdk.Tool{
		Name: "create_segment", Meta: cardMeta(), Annotations: makes("Create a segment"),
		Description: "Makes a video, the speech that goes with it, and both in one file. Costs money. The steps run side by " +
			"side and go on by themselves. Its task_id is that of the finished segment. Waits like generate_video.",
	}, fits, b.createSegment)
	add(b, &sdk.Tool{
		Name: "mux_audio_video", Meta: cardMeta(), Annotations: makes("Put sound under a video"),
		Description: "Puts a sound under a video. Costs nothing. Each is a URL, a file_id, or the task_id of a task that may " +
			"still be under way. Waits like generate_video.",
	}, fits, b.mux)
}

type muxIn struct {
	Video string  `json:"video" jsonschema:"https URL, file_id or task_id of the video"`
	Audio string  `json:"audio" jsonschema:"https URL, file_id or task_id of the sound"`
	Fit   string  `json:"fit,omitempty" jsonschema:"what stays as it is where the lengths differ, mix keeps the sound of the video too"`
	Wait  float64 `json:"wait_seconds,omitempty" jsonschema:"how long to wait for the end, 0 to 50"`

	ProjectID string `json:"project_id,omitempty" jsonschema:"the default project if it is left out"`
	SceneID   string `json:"scene_id,omitempty" jsonschema:"your own group of the task"`
	RequestID string `json:"request_id,omitempty" jsonschema:"your id of this wish, the same for a retry of it"`
}

func (b *bridge) mux(ctx context.Context, r *sdk.CallToolRequest, in muxIn) (taskAnswer, error) {
	project, err := b.project(in.ProjectID)
	if err != nil {
		return taskAnswer{}, err
	}
	video, err := b.source(project, "video", in.Video)
	if err != nil {
		return taskAnswer{}, err
	}
	audio, err := b.source(project, "audio", in.Audio)
	if err != nil {
		return taskAnswer{}, err
	}
	request, err := segment.Mux(video, audio, ffmpeg.Fit(in.Fit))
	if err != nil {
		return taskAnswer{}, err
	}
	request.SceneID = in.SceneID
	known, err := b.identify(ctx, r, in.RequestID, project, &request)
	if err == nil && known.ID == "" {
		known, err = b.submit(ctx, project, events.Video, request)
	}
	return b.made(ctx, r, known, err, in.Wait)
}

// source is what a request names as a file: a URL, or a reference to what a task of the same project makes.
func (b *bridge) source(project, field, s string) (any, error) {
	if strings.Contains(s, "://") {
		return s, nil
	}
	id, number, numbered := strings.Cut(s, "/")
	n, err := strconv.Atoi(number)
	if numbered && (err != nil || n < 1) {
		return nil, invalid(field, "%.160q is neither a URL nor a file_id nor a task_id", s)
	}
	k, err := b.key(id, "")
	if !strings.Contains(id, ".") {
		k, err = b.key(id, project)
	}
	switch {
	case err != nil:
		return nil, invalid(field, "%.160q is neither a URL nor a file_id nor a task_id", s)
	case k.Project != project:
		return nil, invalid(field, "%s is of another project than %s", s, project)
	}
	return map[string]any{"$from": k.ID, "output": max(n-1, 0)}, nil
}

type segmentIn struct {
	Prompt         string  `json:"prompt" jsonschema:"what the video shows, in words"`
	Narration      string  `json:"narration" jsonschema:"what is spoken"`
	FirstFrameURL  string  `json:"first_frame_url,omitempty" jsonschema:"https URL or file name of the image that it begins with"`
	LastFrameURL   string  `json:"last_frame_url,omitempty" jsonschema:"https URL or file name of the image that it ends with"`
	Duration       float64 `json:"duration,omitempty" jsonschema:"seconds"`
	AspectRatio    string  `json:"aspect_ratio,omitempty" jsonschema:"such as 16:9"`
	Resolution     string  `json:"resolution,omitempty" jsonschema:"such as 720p"`
	VoiceID        string  `json:"voice_id,omitempty" jsonschema:"name or id of a voice, such as voice_clone has made"`
	VoiceSampleURL string  `json:"voice_sample_url,omitempty" jsonschema:"URL of a recording of a voice that is cloned first"`
	SpeechModel    string  `json:"speech_model,omitempty" jsonschema:"id or alias of the model that speaks"`
	Fit            string  `json:"fit,omitempty" jsonschema:"what stays as it is where the lengths differ, mix keeps the sound of the video too"`
	common
}

// createSegment hands in all tasks of a segment at once. The last is handed in first: a retry finds it, and hands in
// again what may be missing, which is the same task where it is not.
func (b *bridge) createSegment(ctx context.Context, r *sdk.CallToolRequest, in segmentIn) (taskAnswer, error) {
	if len(in.RequestID) > segment.MaxIDBytes {
		return taskAnswer{}, invalid("request_id", "must be 1 to %d characters of A-Z a-z 0-9 _ -", segment.MaxIDBytes)
	}
	project, err := b.project(in.ProjectID)
	if err != nil {
		return taskAnswer{}, err
	}
	request := events.Request{}
	known, err := b.identify(ctx, r, in.RequestID, project, &request)
	if err != nil {
		return taskAnswer{}, err
	}
	k := events.Key{Project: project, ID: cmp.Or(known.ID, request.ID)}
	steps, err := in.steps(k.ID)
	if err != nil {
		return taskAnswer{}, err
	}
	total, err := b.price(ctx, project, steps[1:])
	if err == nil && known.ID == "" {
		k.ID, err = b.confirm(ctx, r, k, in.common, total)
	}
	if err == nil {
		steps, err = in.steps(k.ID) // an approval names the id
	}
	if err != nil {
		return taskAnswer{}, err
	}
	var t events.Task
	for i, s := range steps {
		of, failed := b.submit(ctx, project, s.Type, s.Request)
		if failed != nil {
			return taskAnswer{}, failed
		}
		if i == 0 {
			t = of
		}
	}
	a, err := b.made(ctx, r, t, nil, in.WaitSeconds)
	a.Estimated = total.usd
	return a, err
}

// steps are the tasks of a segment, the last of them first.
func (in segmentIn) steps(id string) ([]segment.Task, error) {
	switch {
	case in.Prompt == "":
		return nil, invalid("prompt", "is missing")
	case in.Narration == "":
		return nil, invalid("narration", "is missing")
	case in.LastFrameURL != "" && in.FirstFrameURL == "":
		return nil, invalid("last_frame_url", "needs a first_frame_url too")
	case in.VoiceID != "" && in.VoiceSampleURL != "":
		return nil, invalid("voice_id", "and voice_sample_url are both given")
	}
	video := events.Request{Model: in.Model, Provider: in.Provider, Want: &events.Want{
		Prompt: in.Prompt, Image: events.WantValue(in.FirstFrameURL), LastFrame: events.WantValue(in.LastFrameURL),
		Duration: in.Duration, AspectRatio: in.AspectRatio, Resolution: in.Resolution,
	}}
	if err := in.fill(&video); err != nil {
		return nil, err
	}
	return segment.Segment{
		ID: id, SceneID: in.SceneID, Sample: in.VoiceSampleURL, Fit: ffmpeg.Fit(in.Fit),
		Speech: events.Request{
			Model: in.SpeechModel, Want: &events.Want{Text: in.Narration, Voice: events.WantValue(in.VoiceID)},
		},
		Video: video,
	}.Tasks()
}

// endParts cancels what a task is made of that is a segment, also where the task itself has ended. It returns the errors
// of all parts.
func (b *bridge) endParts(ctx context.Context, t events.Task, reason string) error {
	var failed []error
	for _, id := range segment.Parts(t) {
		k := events.Key{Project: t.Project, ID: id}
		_, err := b.client.Cancel(ctx, k, events.Cancel{Reason: reason})
		if err != nil && !client.HasCode(err, events.CodeNotFound) { // not every segment has every part
			failed = append(failed, fmt.Errorf("cancel %s: %w", k, err))
		}
	}
	return errors.Join(failed...)
}
