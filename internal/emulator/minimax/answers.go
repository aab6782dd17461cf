package minimax

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"reelay/internal/emulator"
)

// answering is an API that answers a create with what it has made, or has a task for speech (t2a_async).
type answering struct {
	*Server
	api string
	// check returns what is wrong with a create, and with which code; 0 if nothing is.
	check func(*Server, create) (code int, wrong string)
	price func(create) float64
	// answer is what a job is answered with, its links below base.
	answer func(s *Server, j emulator.Job, b create, base string) any
}

const apiSpeech = "t2a_async"

// answeringAPIs are the APIs beside video, by path.
func (s *Server) answeringAPIs() map[string]answering {
	return map[string]answering{
		"/v1/t2a_v2":           {s, "t2a_v2", checkSpeech, priceSpeech, answerSpeech},
		"/v1/t2a_async_v2":     {s, apiSpeech, checkAsyncSpeech, priceSpeech, answerAsyncSpeech},
		"/v1/music_generation": {s, "music_generation", checkMusic, func(create) float64 { return 0.15 }, answerMusic},
		"/v1/image_generation": {s, "image_generation", checkImage, priceImage, answerImage},
		"/v1/voice_clone":      {s, apiClone, checkClone, func(create) float64 { return 1.5 }, answerClone},
		"/v1/voice_design":     {s, apiDesign, checkDesign, func(create) float64 { return 3 }, answerDesign},
		"/v1/get_voice":        {s, apiVoices, checkVoiceType, free, answerVoices},
		"/v1/delete_voice":     {s, apiDelete, checkDelete, free, answerDelete},
	}
}

func free(create) float64 { return 0 }

// isAnswered reports whether the jobs of an API have ended when they are answered.
func isAnswered(api string) bool { return api != "v1" && api != "v2" && api != apiSpeech }

func (a answering) name() string { return a.api }

func (a answering) validate(b create) string {
	code, wrong := a.check(a.Server, b)
	if code != 0 && code != 2013 {
		return "" // refusal tells
	}
	return wrong
}

// refusal is the code of a create that is refused for another reason than its parameters; 0 for none.
func (a answering) refusal(b create) int {
	if code, _ := a.check(a.Server, b); code != 2013 {
		return code
	}
	return 0
}

func (a answering) priceUSD(b create) float64 { return a.price(b) }

func (answering) refuse(w http.ResponseWriter, code int, message string) {
	writeJSON(w, http.StatusOK, struct {
		Data     any      `json:"data"`
		TraceID  string   `json:"trace_id"`
		BaseResp baseResp `json:"base_resp"`
	}{nil, w.Header().Get("Trace-Id"), baseResp{code, message}})
}

func (answering) page(w http.ResponseWriter, status int) { writeHTML(w, status) }

// accepted answers with what the job has made, or how it has failed.
func (a answering) accepted(w http.ResponseWriter, id string) error {
	j, _ := a.o.Ledger.Job(id)
	b := bodyOf(j)
	w.Header().Set("Trace-Id", id) // the one id that all of these answers have
	if l := a.stateOf(j, time.Now()); isAnswered(a.api) && l.phase == failed {
		a.refuse(w, l.code, l.message)
		return nil
	}
	if emulator.ReadScript(j.Input).Result == noFile {
		return tryWriteJSON(w, http.StatusOK, map[string]any{"data": nil, "trace_id": j.ID, "base_resp": fine})
	}
	return tryWriteJSON(w, http.StatusOK, a.answer(a.Server, j, b, j.Extra[extraBase]))
}

var voiceIDPattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{6,254}[A-Za-z0-9]$`)

func wrongIf(is bool, wrong string) (int, string) {
	if is {
		return 2013, wrong
	}
	return 0, ""
}

func isSpeechModel(model string) bool { return strings.HasPrefix(model, "speech-") }

// checkSpeech: the limits of the page speech-t2a-http.
func checkSpeech(_ *Server, b create) (int, string) {
	switch {
	case !isSpeechModel(b.Model):
		return 2013, "model " + strconv.Quote(b.Model) + " does not exist"
	case b.Text == "":
		return 2013, "text is required"
	case b.VoiceSetting.VoiceID == "":
		return 2013, "voice_setting.voice_id is required"
	}
	return wrongIf(utf8.RuneCountInString(b.Text) >= 10_000, "text is too long")
}

func checkAsyncSpeech(_ *Server, b create) (int, string) {
	switch {
	case !isSpeechModel(b.Model):
		return 2013, "model " + strconv.Quote(b.Model) + " does not exist"
	case (b.Text == "") == (b.TextFileID == nil):
		return 2013, "one of text and text_file_id is required"
	case b.VoiceSetting.VoiceID == "":
		return 2013, "voice_setting.voice_id is required"
	}
	return wrongIf(utf8.RuneCountInString(b.Text) > 50_000, "text is too long")
}

func checkMusic(_ *Server, b create) (int, string) {
	return wrongIf(b.Prompt == "" && b.Lyrics == "", "prompt or lyrics is required")
}

func checkImage(_ *Server, b create) (int, string) {
	switch {
	case b.Model != "image-01" && b.Model != "image-01-live":
		return 2013, "model " + strconv.Quote(b.Model) + " does not exist"
	case b.Prompt == "" || utf8.RuneCountInString(b.Prompt) > 1500:
		return 2013, "prompt must have 1 to 1500 characters"
	}
	return wrongIf(b.N < 0 || b.N > 9, "n must be 1 to 9")
}

// speechPrices in US dollars by million characters, by the price page.
func priceSpeech(b create) float64 {
	rate := 100.0
	if strings.HasSuffix(b.Model, "turbo") {
		rate = 60
	}
	return rate * float64(characters(b)) / 1e6
}

// characters is what of a create is billed; of a file that nobody has, a thousand.
func characters(b create) int {
	if b.TextFileID != nil {
		return 1000
	}
	return utf8.RuneCountInString(b.Text)
}

func priceImage(b create) float64 { return 0.0035 * float64(max(b.N, 1)) }

// soundOf returns a sound in the format that was asked for: MP3 unless it is WAV.
func soundOf(b create, t string) (format, contentType string, body []byte) {
	if strings.EqualFold(b.AudioSetting.Format, "wav") {
		_, contentType, body = emulator.Media(t)
		return "wav", contentType, body
	}
	return "mp3", "audio/mpeg", emulator.SilentMP3()
}

// audioOf is a sound as the create wants it: a link, or hex.
func (s *Server) audioOf(j emulator.Job, b create, base, t string) (audio, format string, size int) {
	format, _, body := soundOf(b, t)
	if b.OutputFormat == "url" {
		return s.mediaURL(base, j.ID), format, len(body)
	}
	return hex.EncodeToString(body), format, len(body)
}

func answerSpeech(s *Server, j emulator.Job, b create, base string) any {
	audio, format, size := s.audioOf(j, b, base, "speech")
	return map[string]any{
		"data": map[string]any{"audio": audio, "status": 2},
		"extra_info": map[string]any{
			"audio_length": 1000, "audio_sample_rate": 32000, "audio_size": size, "bitrate": 64000,
			"usage_characters": characters(b), "audio_format": format, "audio_channel": 1, "invisible_character_ratio": 0,
		},
		"trace_id": j.ID, "base_resp": fine,
	}
}

func answerMusic(s *Server, j emulator.Job, b create, base string) any {
	audio, format, size := s.audioOf(j, b, base, "audio")
	return map[string]any{
		"data": map[string]any{"audio": audio, "status": 2},
		"extra_info": map[string]any{
			"music_duration": 1000, "music_sample_rate": 32000, "music_size": size, "format": format,
		},
		"trace_id": j.ID, "base_resp": fine,
	}
}

func answerAsyncSpeech(_ *Server, j emulator.Job, b create, _ string) any {
	return map[string]any{
		"task_id": json.RawMessage(j.ID), "file_id": json.RawMessage(fileOf(j.ID)), "task_token": "token-" + j.ID,
		"usage_characters": characters(b), "base_resp": fine,
	}
}

func answerImage(s *Server, j emulator.Job, b create, base string) any {
	n := max(b.N, 1)
	data := map[string]any{}
	if b.ResponseFormat == "base64" {
		_, _, body := emulator.Media("image")
		files := make([]string, n)
		for i := range files {
			files[i] = base64.StdEncoding.EncodeToString(body)
		}
		data["image_base64"] = files
	} else {
		links := make([]string, n)
		for i := range links {
			links[i] = s.mediaURL(base, j.ID) + "&n=" + strconv.Itoa(i)
		}
		data["image_urls"] = links
	}
	return map[string]any{
		"id": j.ID, "data": data, "base_resp": fine,
		"metadata": map[string]string{"success_count": strconv.Itoa(n), "failed_count": "0"},
	}
}
