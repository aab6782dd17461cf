// Package segment says which tasks make a segment: a video, speech by a voice, and both in one file. They are plain
// requests, which any client of NATS could publish; here they are only written.
package segment

import (
	"cmp"
	"encoding/json"

	"reelay/events"
	"reelay/internal/ffmpeg"
	"reelay/internal/provider/registry"
)

// The tasks of a segment are named by the segment, which is the last of them, and these.
const (
	ofVoice  = "-voice"
	ofSpeech = "-speech"
	ofFrame  = "-frame"
	ofVideo  = "-video"
)

const (
	// MaxIDBytes bounds the id of a segment, so that its tasks can be named by it.
	MaxIDBytes = events.MaxTokenBytes - len(ofSpeech)
	// metadata is where each task says which segment it belongs to.
	metadata = "segment"
	// usualVoiceModel is the alias of each provider's model that clones voices, where none is named.
	usualVoiceModel = "voice-clone"
)

// A Task is one request and what it makes.
type Task struct {
	Type    events.TaskType
	Request events.Request
}

// A Segment is what is to be made.
type Segment struct {
	// ID is that of the task whose output is the segment.
	ID string
	// Video and Speech are what the two are made of. Of the voice of the speech, and of the first frame of the video, the
	// next three say more.
	Video, Speech events.Request
	// Sample is a recording of the voice that speaks, which is cloned: a URL, or the name of a file; empty for none.
	// VoiceModel is the model that does, empty for the usual one.
	Sample, VoiceModel string
	// Continues is the task whose last picture the video begins with; empty for none.
	Continues string
	// Fit says what gives way where the lengths differ; empty for the pictures as they are.
	Fit ffmpeg.Fit

	SceneID string
	// BatchID is the batch that the tasks belong to, which may have others; empty for one of their own, of the segment's id.
	BatchID string
}

// Tasks returns the tasks of a segment in the order in which they are handed in. The last to be done comes first: who
// finds it when handing in again completes what may be missing, which is the same task where it is not.
func (s Segment) Tasks() ([]Task, error) {
	end, err := Mux(From(s.ID+ofVideo), From(s.ID+ofSpeech), s.Fit)
	if err != nil {
		return nil, err
	}
	speech, video := s.Speech, s.Video
	speechWant, videoWant := value(speech.Want), value(video.Want)
	speech.Want, video.Want = &speechWant, &videoWant
	end.ID, speech.ID, video.ID = s.ID, s.ID+ofSpeech, s.ID+ofVideo
	all := []Task{{events.Video, end}, {events.Speech, speech}, {events.Video, video}}
	if s.Sample != "" {
		voice := Clone(s.Sample, "")
		voice.ID, voice.Model = s.ID+ofVoice, cmp.Or(s.VoiceModel, voice.Model)
		if speechWant.Voice, err = reference(map[string]any{"$from": voice.ID, "field": events.ValueVoiceID}); err != nil {
			return nil, err
		}
		all = append(all, Task{events.Voice, voice})
	}
	if s.Continues != "" {
		frame, err := local(ffmpeg.Thumbnail, map[string]any{"video": From(s.Continues), "at": "end"})
		if err != nil {
			return nil, err
		}
		frame.ID = s.ID + ofFrame
		if videoWant.Image, err = reference(From(frame.ID)); err != nil {
			return nil, err
		}
		all = append(all, Task{events.Image, frame})
	}
	if s.BatchID == "" {
		all[0].Request.BatchSize = len(all)
	}
	for i := range all {
		r := &all[i].Request
		r.SceneID, r.BatchID, r.Metadata = s.SceneID, cmp.Or(s.BatchID, s.ID), map[string]string{metadata: s.ID}
	}
	return all, nil
}

func value(w *events.Want) events.Want {
	if w == nil {
		return events.Want{}
	}
	return *w
}

// Parts returns the ids of what a task may be made of; none unless it is a segment.
func Parts(t events.Task) []string {
	if t.Metadata[metadata] != t.ID {
		return nil
	}
	return []string{t.ID + ofVoice, t.ID + ofSpeech, t.ID + ofFrame, t.ID + ofVideo}
}

// From stands for the first output of a task.
func From(id string) map[string]any { return map[string]any{"$from": id} }

func reference(to map[string]any) (events.WantValue, error) {
	text, err := events.Marshal(to)
	return events.WantValue(text), err
}

// Mux asks for a sound under a video, each a URL or a reference. The request has no id yet, as in what follows.
func Mux(video, audio any, fit ffmpeg.Fit) (events.Request, error) {
	return local(ffmpeg.Mux, map[string]any{"video": video, "audio": audio, "fit": cmp.Or(fit, ffmpeg.FitVideo)})
}

// Concat asks for one video of several, each a URL or a reference.
func Concat(videos []any) (events.Request, error) {
	return local(ffmpeg.Concat, map[string]any{"videos": videos})
}

func local(op ffmpeg.Op, input map[string]any) (events.Request, error) {
	raw, err := json.Marshal(input)
	return events.Request{Provider: registry.Local, Model: op.Model(), Input: raw}, err
}

// Clone asks for the voice of a recording, which is a URL or the name of a file, and for a sample that says the text,
// if there is one.
func Clone(recording, text string) events.Request {
	return events.Request{
		Model: usualVoiceModel, Want: &events.Want{Text: text, References: []events.WantValue{events.WantValue(recording)}},
	}
}
