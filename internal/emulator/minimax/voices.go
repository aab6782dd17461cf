package minimax

import (
	"encoding/json"
	"slices"
	"strings"

	"reelay/internal/emulator"
)

// The APIs of voices.
const (
	apiClone  = "voice_clone"
	apiDesign = "voice_design"
	apiVoices = "get_voice"
	apiDelete = "delete_voice"
)

// systemVoices are a few of MiniMax's own.
var systemVoices = []string{"English_expressive_narrator", "male-qn-qingse"}

// voice is one that was cloned or designed.
type voice struct {
	id   string
	kind string // voice_cloning or voice_generation
	at   string
	used bool // some speech was made with it
}

// voices are those that exist, oldest first. Whether one was used decides what it costs, and whether it is listed.
func (s *Server) voices() []voice {
	var all []voice
	for _, j := range s.o.Ledger.Jobs() {
		b := bodyOf(j)
		switch j.Extra[emulator.ExtraAPI] {
		case apiClone:
			all = append(all, voice{id: b.VoiceID, kind: "voice_cloning", at: j.At.Format("2006-01-02")})
		case apiDesign:
			all = append(all, voice{id: designed(j, b), kind: "voice_generation", at: j.At.Format("2006-01-02")})
		case apiDelete:
			all = slices.DeleteFunc(all, func(v voice) bool { return v.id == b.VoiceID })
		case "t2a_v2", apiSpeech:
			for i := range all {
				all[i].used = all[i].used || all[i].id == b.VoiceSetting.VoiceID
			}
		}
	}
	return all
}

// designed is the id of a designed voice.
func designed(j emulator.Job, b create) string {
	if b.VoiceID != "" {
		return b.VoiceID
	}
	return "ttv-voice-" + j.ID
}

func (s *Server) hasVoice(id string) bool {
	return slices.ContainsFunc(s.voices(), func(v voice) bool { return v.id == id })
}

// checkClone: by the page voice-cloning-clone, and what was seen: a file_id as text is refused.
func checkClone(s *Server, b create) (int, string) {
	file := strings.TrimSpace(string(b.FileID))
	switch {
	case file == "" || strings.ContainsAny(file, `"{[ntf`):
		return 2013, "file_id must be a number"
	case !voiceIDPattern.MatchString(b.VoiceID):
		return 2013, "voice_id must be 8 to 256 letters, digits, - and _, begin with a letter and end in none of - and _"
	case len(b.Text) > 0 && !isSpeechModel(b.Model):
		return 2013, "model is required for a preview"
	case s.hasVoice(b.VoiceID):
		return 2039, "voice clone voice id duplicate"
	}
	return 0, ""
}

func checkDesign(s *Server, b create) (int, string) {
	switch {
	case b.Prompt == "" || b.PreviewText == "":
		return 2013, "prompt and preview_text are required"
	case b.VoiceID != "" && s.hasVoice(b.VoiceID):
		return 2039, "voice clone voice id duplicate"
	}
	return wrongIf(len(b.PreviewText) > 500, "preview_text is too long")
}

func checkVoiceType(_ *Server, b create) (int, string) {
	return wrongIf(!slices.Contains([]string{"system", "voice_cloning", "voice_generation", "all"}, b.VoiceType),
		"voice_type is not one of system, voice_cloning, voice_generation, all")
}

func checkDelete(s *Server, b create) (int, string) {
	switch {
	case b.VoiceType != "voice_cloning" && b.VoiceType != "voice_generation":
		return 2013, "voice_type is not one of voice_cloning, voice_generation"
	case !s.hasVoice(b.VoiceID):
		return 2042, "you don't have access to this voice_id"
	}
	return 0, ""
}

func answerClone(s *Server, j emulator.Job, b create, base string) any {
	demo := ""
	if b.Text != "" {
		demo = s.mediaURL(base, j.ID)
	}
	return map[string]any{
		"input_sensitive": false, "input_sensitive_type": 0, "demo_audio": demo, "extra_info": map[string]any{},
		"base_resp": fine,
	}
}

func answerDesign(s *Server, j emulator.Job, b create, base string) any {
	b.OutputFormat = ""
	trial, _, _ := s.audioOf(j, b, base, "speech")
	return map[string]any{"voice_id": designed(j, b), "trial_audio": trial, "base_resp": fine}
}

func answerVoices(s *Server, _ emulator.Job, b create, _ string) any {
	wanted := func(kind string) bool { return b.VoiceType == "all" || b.VoiceType == kind }
	system, cloned, generated := []any{}, []any{}, []any{}
	for _, id := range systemVoices {
		if wanted("system") {
			system = append(system, map[string]any{"voice_id": id, "voice_name": id, "description": []string{"a voice"}})
		}
	}
	for _, v := range s.voices() {
		entry := map[string]any{"voice_id": v.id, "created_time": v.at, "description": []string{}}
		switch {
		case v.kind == "voice_cloning" && v.used && wanted(v.kind): // not listed before its first speech
			cloned = append(cloned, entry)
		case v.kind == "voice_generation" && wanted(v.kind):
			generated = append(generated, entry)
		}
	}
	return map[string]any{
		"system_voice": system, "voice_cloning": cloned, "voice_generation": generated, "base_resp": fine,
	}
}

func answerDelete(_ *Server, j emulator.Job, b create, _ string) any {
	return map[string]any{
		"voice_id": b.VoiceID, "created_time": j.At.Format("2006-01-02"), "base_resp": fine,
	}
}

// createAudio are the fields of a create that speech, music, images and voices have beside those of video.
type createAudio struct {
	Text         string          `json:"text"`
	TextFileID   json.RawMessage `json:"text_file_id"`
	VoiceSetting struct {
		VoiceID string `json:"voice_id"`
	} `json:"voice_setting"`
	AudioSetting struct {
		Format string `json:"format"`
	} `json:"audio_setting"`
	OutputFormat   string          `json:"output_format"`
	Lyrics         string          `json:"lyrics"`
	N              int             `json:"n"`
	ResponseFormat string          `json:"response_format"`
	FileID         json.RawMessage `json:"file_id"`
	VoiceID        string          `json:"voice_id"`
	PreviewText    string          `json:"preview_text"`
	VoiceType      string          `json:"voice_type"`
}

// voicePrice is what a voice was charged for so far: its fee falls at its first speech.
func (s *Server) voicePrice(j emulator.Job) float64 {
	b := bodyOf(j)
	id := b.VoiceID
	if j.Extra[emulator.ExtraAPI] == apiDesign {
		id = designed(j, b)
	}
	for _, other := range s.o.Ledger.Jobs() {
		api := other.Extra[emulator.ExtraAPI]
		if (api == "t2a_v2" || api == apiSpeech) && bodyOf(other).VoiceSetting.VoiceID == id {
			return j.PriceUSD
		}
	}
	return 0
}
