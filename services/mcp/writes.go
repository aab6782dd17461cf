package mcp

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"

	"github.com/google/jsonschema-go/jsonschema"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"reelay/events"
	"reelay/events/client"
	"reelay/internal/describe"
	"reelay/internal/segment"
)

// addWrites adds the tools that have something made, or end it.
func (b *bridge) addWrites() {
	yes, no := true, false
	makes := func(title string) *sdk.ToolAnnotations {
		return &sdk.ToolAnnotations{Title: title, DestructiveHint: &no, IdempotentHint: true, OpenWorldHint: &yes}
	}
	add(b, &sdk.Tool{
		Name: "generate_video", Meta: cardMeta(), Annotations: makes("Generate a video"),
		Description: "Makes a video of a prompt, and of a first and a last frame if they are given. Costs money. Waits up " +
			"to wait_seconds, then returns a task_id for get_task. The same request_id again is the same task.",
	}, waitSeconds, b.generateVideo)
	add(b, &sdk.Tool{
		Name: "generate_image", Meta: cardMeta(), Annotations: makes("Generate an image"),
		Description: "Makes an image of a prompt. Costs money. Waits like generate_video.",
	}, waitSeconds, b.generateImage)
	add(b, &sdk.Tool{
		Name: "text_to_audio", Meta: cardMeta(), Annotations: makes("Text to audio"),
		Description: "Makes speech of a text. Costs money. Waits like generate_video.",
	}, waitSeconds, b.textToAudio)
	add(b, &sdk.Tool{
		Name: "voice_clone", Annotations: makes("Clone a voice"),
		Description: "Clones the voice of a recording and returns its voice_id in values, for text_to_audio. Costs money. " +
			"Use a voice within a week, or it may be deleted. Waits like generate_video.",
	}, waitSeconds, b.voiceClone)
	add(b, &sdk.Tool{
		Name: "generate_video_from_image", Meta: cardMeta(), Annotations: makes("Generate a video from an image"),
		Description: "Makes a video that begins with an image. Costs money. With return_queue_id it returns at once with " +
			"a queue_id for get_queue_status, else it waits a while.",
	}, func(in map[string]*jsonschema.Schema) {
		in["use_queue"].Default = []byte("true")
		in["return_queue_id"].Default = []byte("false")
	}, b.generateVideoFromImage)
	b.addSegments(makes)
	add(b, &sdk.Tool{
		Name: "cancel_task",
		Annotations: &sdk.ToolAnnotations{
			Title: "Cancel a task", DestructiveHint: &yes, IdempotentHint: true, OpenWorldHint: &yes,
		},
		Description: "Asks for the end of a task. What the provider has already begun may finish and cost money all the same.",
	}, nil, b.cancelTask)
}

// common are the arguments of every tool that has something made.
type common struct {
	Model     string `json:"model,omitempty" jsonschema:"id or alias of a model, the default one if it is left out"`
	Provider  string `json:"provider,omitempty" jsonschema:"the model says it where it is left out"`
	ProjectID string `json:"project_id,omitempty" jsonschema:"the default project if it is left out"`
	SceneID   string `json:"scene_id,omitempty" jsonschema:"your own group of the task"`
	RequestID string `json:"request_id,omitempty" jsonschema:"your id of this wish, the same for a retry of it"`
	// Options are an emulator's as well, in the sandbox.
	Options    map[string]any `json:"options,omitempty" jsonschema:"further fields of the provider's own input, as list_models tells them"`
	Lenient    bool           `json:"lenient,omitempty" jsonschema:"true leaves out what the model cannot do, and says so in warnings"`
	MaxCostUSD float64        `json:"max_cost_usd,omitempty" jsonschema:"most that it may cost without asking, in US dollars"`
	// ConfirmCostUSD is for clients that cannot ask a person.
	ConfirmCostUSD float64 `json:"confirm_cost_usd,omitempty" jsonschema:"the cost that the user has agreed to, once a call was refused for it"`
	WaitSeconds    float64 `json:"wait_seconds,omitempty" jsonschema:"how long to wait for the end, 0 to 50"`
}

// fill fills in how a request is to be fulfilled. Options that a tool has set stay.
func (c common) fill(r *events.Request) error {
	r.Lenient = c.Lenient
	if len(c.Options) == 0 {
		return nil
	}
	options := maps.Clone(c.Options)
	if len(r.Want.Options) > 0 {
		if err := json.Unmarshal(r.Want.Options, &options); err != nil {
			return err
		}
	}
	var err error
	r.Want.Options, err = events.Marshal(options)
	return err
}

// hand hands in a wish. A field that is wrong is named as the tool's argument is.
func (b *bridge) hand(ctx context.Context, r *sdk.CallToolRequest, of events.TaskType, c common, request events.Request,
) (events.Task, error) {
	project, err := b.project(c.ProjectID)
	if err != nil {
		return events.Task{}, err
	}
	request.Model, request.Provider, request.SceneID, request.MaxCostUSD = c.Model, c.Provider, c.SceneID, c.MaxCostUSD
	if err := c.fill(&request); err != nil {
		return events.Task{}, err
	}
	known, err := b.identify(ctx, r, c.RequestID, project, &request)
	if err != nil || known.ID != "" {
		return known, err
	}
	if b.confirmOver > 0 || c.MaxCostUSD > 0 {
		q, err := b.price(ctx, project, []segment.Task{{Type: of, Request: request}})
		if err == nil {
			request.ID, err = b.confirm(ctx, r, events.Key{Project: project, ID: request.ID}, c, q)
		}
		if err != nil {
			return events.Task{}, err
		}
		if !q.known {
			request.EstimatedUSD = c.ConfirmCostUSD
		} else if c.MaxCostUSD > 0 {
			request.MaxCostUSD = max(q.usd, c.MaxCostUSD) // what is approved counts
		}
	}
	return b.submit(ctx, project, of, request)
}

// make hands in a wish and waits for what comes of it.
func (b *bridge) make(ctx context.Context, r *sdk.CallToolRequest, of events.TaskType, c common, w events.Want,
) (taskAnswer, error) {
	t, err := b.hand(ctx, r, of, c, events.Request{Want: &w})
	return b.made(ctx, r, t, err, c.WaitSeconds)
}

// made waits for a task that was handed in, unless that failed.
func (b *bridge) made(ctx context.Context, r *sdk.CallToolRequest, t events.Task, err error, wait float64) (taskAnswer, error) {
	if err == nil {
		t, err = b.await(ctx, r, t, duration(wait))
	}
	if err != nil {
		return taskAnswer{}, err
	}
	a := b.taskAnswer(ctx, b.stored(ctx, t), true)
	return a, a.failure()
}

type generateVideoIn struct {
	Prompt         string   `json:"prompt" jsonschema:"what the video shows, in words"`
	NegativePrompt string   `json:"negative_prompt,omitempty" jsonschema:"what it must not show"`
	FirstFrameURL  string   `json:"first_frame_url,omitempty" jsonschema:"https URL or file name of the image that it begins with"`
	LastFrameURL   string   `json:"last_frame_url,omitempty" jsonschema:"https URL or file name of the image that it ends with"`
	References     []string `json:"references,omitempty" jsonschema:"https URLs or file names of images of what appears"`
	Duration       float64  `json:"duration,omitempty" jsonschema:"seconds"`
	AspectRatio    string   `json:"aspect_ratio,omitempty" jsonschema:"such as 16:9"`
	Resolution     string   `json:"resolution,omitempty" jsonschema:"such as 720p"`
	Audio          *bool    `json:"audio,omitempty" jsonschema:"whether it has sound, as the model does it by itself if it is left out"`
	Seed           *int64   `json:"seed,omitempty" jsonschema:"the same seed makes much the same video"`
	common
}

func (b *bridge) generateVideo(ctx context.Context, r *sdk.CallToolRequest, in generateVideoIn) (taskAnswer, error) {
	switch {
	case in.Prompt == "":
		return taskAnswer{}, invalid("prompt", "is missing")
	case in.LastFrameURL != "" && in.FirstFrameURL == "":
		return taskAnswer{}, invalid("last_frame_url", "needs a first_frame_url too")
	}
	return b.make(ctx, r, events.Video, in.common, events.Want{
		Prompt: in.Prompt, NegativePrompt: in.NegativePrompt, Image: events.WantValue(in.FirstFrameURL),
		LastFrame: events.WantValue(in.LastFrameURL), References: values(in.References), Duration: in.Duration,
		AspectRatio: in.AspectRatio, Resolution: in.Resolution, Audio: in.Audio, Seed: in.Seed,
	})
}

func values(all []string) (v []events.WantValue) {
	for _, s := range all {
		v = append(v, events.WantValue(s))
	}
	return v
}

type generateImageIn struct {
	Prompt         string   `json:"prompt" jsonschema:"what the image shows, in words"`
	NegativePrompt string   `json:"negative_prompt,omitempty" jsonschema:"what it must not show"`
	ImageURL       string   `json:"image_url,omitempty" jsonschema:"https URL or file name of an image to begin with"`
	References     []string `json:"references,omitempty" jsonschema:"https URLs or file names of images of what appears"`
	AspectRatio    string   `json:"aspect_ratio,omitempty" jsonschema:"such as 16:9"`
	Resolution     string   `json:"resolution,omitempty" jsonschema:"such as 2k"`
	Seed           *int64   `json:"seed,omitempty" jsonschema:"the same seed makes much the same image"`
	common
}

func (b *bridge) generateImage(ctx context.Context, r *sdk.CallToolRequest, in generateImageIn) (taskAnswer, error) {
	if in.Prompt == "" {
		return taskAnswer{}, invalid("prompt", "is missing")
	}
	return b.make(ctx, r, events.Image, in.common, events.Want{
		Prompt: in.Prompt, NegativePrompt: in.NegativePrompt, Image: events.WantValue(in.ImageURL),
		References: values(in.References), AspectRatio: in.AspectRatio, Resolution: in.Resolution, Seed: in.Seed,
	})
}

type textToAudioIn struct {
	Text  string `json:"text" jsonschema:"what is spoken"`
	Voice string `json:"voice_id,omitempty" jsonschema:"name or id of a voice, such as voice_clone has made"`
	common
}

func (b *bridge) textToAudio(ctx context.Context, r *sdk.CallToolRequest, in textToAudioIn) (taskAnswer, error) {
	if in.Text == "" {
		return taskAnswer{}, invalid("text", "is missing")
	}
	return b.make(ctx, r, events.Speech, in.common, events.Want{Text: in.Text, Voice: events.WantValue(in.Voice)})
}

type voiceCloneIn struct {
	AudioURL string `json:"audio_url" jsonschema:"https URL or file name of a recording of the voice, 10 seconds or more"`
	Text     string `json:"text,omitempty" jsonschema:"what a sample of the new voice says"`
	common
}

func (b *bridge) voiceClone(ctx context.Context, r *sdk.CallToolRequest, in voiceCloneIn) (taskAnswer, error) {
	if in.AudioURL == "" {
		return taskAnswer{}, invalid("audio_url", "is missing")
	}
	request := segment.Clone(in.AudioURL, in.Text)
	in.Model = cmp.Or(in.Model, request.Model)
	return b.make(ctx, r, events.Voice, in.common, *request.Want)
}

const (
	// usualDuration and usualRatio are what the queue proposal means where nothing is said.
	usualDuration = 5
	usualRatio    = "16:9"
)

type fromImageIn struct {
	ImageURL      string  `json:"image_url" jsonschema:"https URL or file name of the image that the video begins with"`
	MotionPrompt  string  `json:"motion_prompt" jsonschema:"what moves, in words"`
	Duration      float64 `json:"duration,omitempty" jsonschema:"seconds, 5 if it is left out and the model can do that"`
	AspectRatio   string  `json:"aspect_ratio,omitempty" jsonschema:"16:9 if it is left out and the model does not take it from the image"`
	Model         string  `json:"model,omitempty" jsonschema:"id or alias of a model, the default one if it is left out"`
	ProjectID     string  `json:"project_id,omitempty" jsonschema:"the default project if it is left out"`
	SceneID       string  `json:"scene_id,omitempty" jsonschema:"your own group of the task"`
	UseQueue      bool    `json:"use_queue,omitempty" jsonschema:"false waits as long as a call may"`
	ReturnQueueID bool    `json:"return_queue_id,omitempty" jsonschema:"true returns at once with a queue_id"`
	RequestID     string  `json:"request_id,omitempty" jsonschema:"your id of this wish, the same for a retry of it"`

	ConfirmCostUSD float64 `json:"confirm_cost_usd,omitempty" jsonschema:"the cost that the user has agreed to, once a call was refused for it"`
}

// wanted is what is wanted. What an agent says is meant, but for the usual shape, which callers of the proposal's tool
// say without meaning it; the usual length and shape are left out, with a warning, where the model has others.
func (b *bridge) wanted(ctx context.Context, in fromImageIn) (w events.Want, warnings []string, err error) {
	project, err := b.project(in.ProjectID)
	if err != nil {
		return w, nil, err
	}
	w = events.Want{
		Prompt: in.MotionPrompt, Image: events.WantValue(in.ImageURL), Duration: cmp.Or(in.Duration, usualDuration),
		AspectRatio: cmp.Or(in.AspectRatio, usualRatio),
	}
	for {
		_, err := b.client.Quote(ctx, project, events.QuoteRequest{
			TaskType: events.Video, Request: events.Request{Model: in.Model, Want: &w},
		})
		var refused *client.Error
		if !errors.As(err, &refused) || refused.Reason.Code != events.CodeUnsupported {
			return w, warnings, err
		}
		switch {
		case refused.Reason.Field == "want.duration" && in.Duration == 0 && w.Duration > 0:
			w.Duration = 0
		case refused.Reason.Field == "want.aspect_ratio" && w.AspectRatio == usualRatio:
			w.AspectRatio = ""
		default:
			return w, nil, err
		}
		warnings = append(warnings, describe.Clean(argument(refused.Reason.Field, nil)+" is left to the model: "+refused.Reason.Message))
	}
}

// generateVideoFromImage answers in the shape of the queue proposal, and with the task if it was waited for.
func (b *bridge) generateVideoFromImage(ctx context.Context, r *sdk.CallToolRequest, in fromImageIn) (taskAnswer, error) {
	if in.ImageURL == "" {
		return taskAnswer{}, invalid("image_url", "is missing")
	}
	w, warnings, err := b.wanted(ctx, in)
	if err != nil {
		return taskAnswer{}, err
	}
	t, err := b.hand(ctx, r, events.Video, common{
		Model: in.Model, ProjectID: in.ProjectID, SceneID: in.SceneID, RequestID: in.RequestID, ConfirmCostUSD: in.ConfirmCostUSD,
	}, events.Request{Want: &w})
	wait := DefaultWait
	if !in.UseQueue {
		wait = MaxWait
	}
	if err == nil && !in.ReturnQueueID {
		t, err = b.await(ctx, r, t, wait)
	}
	if err != nil {
		return taskAnswer{}, err
	}
	a := b.taskAnswer(ctx, t, false)
	queued := taskAnswer{Success: a.Success, summary: summary{Message: a.Message}, links: a.links}
	queued.Queued, queued.QueueID, queued.EstimatedCost = !t.Status.Terminal(), a.TaskID, a.Estimated
	if !in.ReturnQueueID {
		queued.summary = a.summary
		queued.Warnings = append(queued.Warnings, warnings...)
	}
	return queued, a.failure()
}

type cancelTaskIn struct {
	TaskID    string `json:"task_id" jsonschema:"as a generate tool has returned it"`
	ProjectID string `json:"project_id,omitempty" jsonschema:"project of a task_id that names none"`
	Reason    string `json:"reason,omitempty"`
}

func (b *bridge) cancelTask(ctx context.Context, _ *sdk.CallToolRequest, in cancelTaskIn) (taskAnswer, error) {
	t, err := b.get(ctx, in.TaskID, in.ProjectID)
	if err != nil {
		return taskAnswer{}, err
	}
	var failed error
	if !t.Status.Terminal() { // else it is cancelled already, or too late, which its status tells
		var asked events.Task
		if asked, failed = b.client.Cancel(ctx, t.Key(), events.Cancel{Reason: in.Reason}); failed == nil {
			t = asked
		}
	}
	if err := errors.Join(failed, b.endParts(ctx, t, in.Reason)); err != nil {
		return taskAnswer{}, err
	}
	a := b.taskAnswer(ctx, t, false)
	a.Success = true
	if paid(t) {
		a.Message += " The provider had taken it, so it may have cost money."
	}
	return a, nil
}

// paid reports whether an attempt of a task may have been charged.
func paid(t events.Task) bool {
	for _, a := range t.Attempts {
		if a.Charge != events.ChargeNone {
			return true
		}
	}
	return false
}

// addResolve adds the tool for a person's decision.
func (b *bridge) addResolve() {
	yes := true
	add(b, &sdk.Tool{
		Name:        "resolve_task",
		Annotations: &sdk.ToolAnnotations{Title: "Resolve a task", DestructiveHint: &yes, OpenWorldHint: &yes},
		Description: "Decides about a parked task, of which nobody knows whether the provider took it. adopt follows the job " +
			"provider_id. resubmit asks again and may pay twice. write_off ends it. Only as the user says.",
	}, func(in map[string]*jsonschema.Schema) {
		oneOf(in["action"], []events.ResolveAction{events.ResolveAdopt, events.ResolveResubmit, events.ResolveWriteOff})
	}, b.resolveTask)
}

type resolveTaskIn struct {
	TaskID     string `json:"task_id" jsonschema:"as list_tasks tells it"`
	ProjectID  string `json:"project_id,omitempty" jsonschema:"project of a task_id that names none"`
	Action     string `json:"action"`
	ProviderID string `json:"provider_id,omitempty" jsonschema:"the provider's id of the job, for adopt"`
	Reason     string `json:"reason,omitempty" jsonschema:"why, for the record"`
}

func (b *bridge) resolveTask(ctx context.Context, _ *sdk.CallToolRequest, in resolveTaskIn) (taskAnswer, error) {
	t, err := b.get(ctx, in.TaskID, in.ProjectID)
	if err != nil {
		return taskAnswer{}, err
	}
	t, err = b.client.Resolve(ctx, t.Key(), events.Resolve{
		Action: events.ResolveAction(in.Action), ProviderID: in.ProviderID, Reason: in.Reason,
	})
	if err != nil {
		return taskAnswer{}, err
	}
	a := b.taskAnswer(ctx, t, false)
	a.Success = true
	return a, nil
}
