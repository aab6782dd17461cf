package minimax

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"reelay/events"
	"reelay/internal/provider"
)

const (
	// answerTimeout bounds a call that is answered with what it makes: a song of three minutes was seen to take as long
	// (reference: media-models, c).
	answerTimeout  = 6 * time.Minute
	voiceClonePath = "/v1/voice_clone"

	// maxAnswerBytes bounds its answer. Ten thousand characters of speech are about eleven minutes: 20 MiB of hex as MP3,
	// 60 MiB as WAV of 32 kHz.
	maxAnswerBytes = 128 << 20
)

// A call is an API of MiniMax that answers with what it has made. There is nothing to ask about afterwards, so a lost
// answer is lost.
type call struct {
	// api names it in handles, path is its own.
	api, path string
	// endpoint says that a task's model is the name of the API. Else its models begin with prefix, in lower case.
	endpoint bool
	prefix   string
	makes    []events.TaskType
	// repeatable: to be asked twice for one thing it refuses.
	repeatable bool
	read       func(*Driver, sentMembers, provider.Reply) provider.Snapshot
}

// calls are the APIs of the pages speech-t2a-http, voice-cloning-clone, voice-design-design, voice-management-get and
// -delete, image-generation-t2i and music-generation below https://platform.minimax.io/docs/api-reference. The model
// of a task that is made by t2a_v2 has its name before it, since speech is made by the API with ids by default.
func calls() []call {
	voice := []events.TaskType{events.Voice}
	return []call{
		{
			api: "t2a_v2", path: "/v1/t2a_v2", prefix: "t2a_v2/speech-", makes: []events.TaskType{events.Speech, events.Audio},
			read: readAudio,
		},
		{
			api: "music_generation", path: "/v1/music_generation", prefix: "music-",
			makes: []events.TaskType{events.Music, events.Audio}, read: readAudio,
		},
		{
			api: "image_generation", path: "/v1/image_generation", prefix: "image-", makes: []events.TaskType{events.Image},
			read: readImages,
		},
		{api: "voice_clone", path: voiceClonePath, endpoint: true, makes: voice, repeatable: true, read: readClone},
		{api: "voice_design", path: "/v1/voice_design", endpoint: true, makes: voice, read: readDesign},
		{api: "get_voice", path: "/v1/get_voice", endpoint: true, makes: voice, repeatable: true, read: readVoices},
		{api: "delete_voice", path: "/v1/delete_voice", endpoint: true, makes: voice, repeatable: true, read: readDeleted},
	}
}

// callOf returns the call that serves a model; false for none.
func callOf(model string) (call, bool) {
	all := calls()
	i := slices.IndexFunc(all, func(c call) bool {
		if c.endpoint {
			return model == c.api
		}
		return strings.HasPrefix(strings.ToLower(model), c.prefix)
	})
	if i < 0 {
		return call{}, false
	}
	return all[i], true
}

func (c call) name() string { return c.api }

func (c call) features() provider.Features {
	return provider.Features{Synchronous: true, Repeatable: c.repeatable}
}

func (c call) createPath() string { return c.path }

func (c call) taskTypes() []events.TaskType { return c.makes }

// wireModel is the model in the body: none where the task's model names the API.
func (c call) wireModel(model string) string {
	if c.endpoint {
		return ""
	}
	return model[strings.LastIndexByte(model, '/')+1:]
}

// poll is never due: the machine ends a task by its answer.
func (c call) poll(_ context.Context, d *Driver, _ string) (provider.Snapshot, error) {
	return provider.Snapshot{}, d.newError(events.KindInternal, "not_listed",
		"MiniMax has no record of what "+c.api+" was answered with", provider.Reply{})
}

func (c call) cancel(context.Context, *Driver, string) (provider.CancelOutcome, error) {
	return provider.CancelUnsupported, nil
}

// classify reads the answer to a call.
//
// Accepted with its Result: MiniMax's own code 0, or files without a code; what was made, or a failure where it made
// nothing. A refusal is as for the create of a video, and besides any code that speaks of the parameters: there is no
// task that it could speak of. Moderation of the output (1027) is a failure that may have been charged. All else is in
// doubt.
func (c call) classify(d *Driver, sent []byte, r provider.Reply) provider.Answer {
	says, members := readEnvelope(r.Body), readSent(sent)
	m, known := says.meaning()
	switch {
	case isOK(r.Status) && says.ok():
		return d.answered(c, c.read(d, members, r), r)
	case isOK(r.Status) && !says.own:
		if snap := c.read(d, members, r); snap.State == provider.Succeeded && len(snap.Outputs) > 0 {
			return d.answered(c, snap, r)
		}
	case isOK(r.Status) && says.code == codeDuplicateVoice && c.repeatable && ownVoice.MatchString(members.VoiceID.v):
		return d.answered(c, provider.Snapshot{
			State: provider.Succeeded, Values: voiceValues(members.VoiceID.v), Raw: d.rawJSON(r.Body),
			Notes: []string{"MiniMax has the voice already: it was made by an earlier request whose answer was lost"},
		}, r)
	case isOK(r.Status) && says.code == codeOutputModerated:
		err := d.envelopeError(says, r)
		err.Charge = events.ChargePossible
		return d.answered(c, provider.Snapshot{State: provider.Failed, Err: err, Raw: d.rawJSON(r.Body)}, r)
	}
	err := d.refusal(says, r)
	if err == nil && isOK(r.Status) && known && m.kind == events.KindInvalid {
		err = d.envelopeError(says, r)
	}
	if err != nil {
		err.Charge = events.ChargeNone
		return provider.Answer{Outcome: provider.Refused, Err: err}
	}
	return d.unclear(says, r, "a result")
}

// answered is an answer that was the result.
func (d *Driver) answered(c call, snap provider.Snapshot, r provider.Reply) provider.Answer {
	id := answerID(r)
	handle, err := events.Marshal(ref{API: c.api, TaskID: id})
	if err != nil {
		return d.inDoubt("bad_answer_id", err.Error(), r)
	}
	return provider.Answer{Outcome: provider.Accepted, Ref: handle, ID: id, Result: &snap}
}

// nothing is an answer that says that all went well and has nothing of it.
func (d *Driver) nothing(what string, r provider.Reply) provider.Snapshot {
	err := d.newError(events.KindInternal, "no_output", "MiniMax says that it succeeded, and its answer has no "+what, r)
	err.Charge = events.ChargePossible
	return provider.Snapshot{State: provider.Failed, Err: err, Raw: d.rawJSON(r.Body)}
}

// sentMembers are what of a request's body the reading of its answer needs.
type sentMembers struct {
	VoiceID lax[string] `json:"voice_id"`
}

func readSent(body []byte) (m sentMembers) {
	_ = json.Unmarshal(body, &m) // a body that is none has no members
	return m
}
