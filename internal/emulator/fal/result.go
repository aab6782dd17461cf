package fal

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"reelay/internal/emulator"
)

// A file is fal's File object; images have a size too.
type file struct {
	URL         string `json:"url"`
	ContentType string `json:"content_type"`
	FileName    string `json:"file_name"`
	FileSize    int    `json:"file_size"`
	Width       int    `json:"width,omitempty"`
	Height      int    `json:"height,omitempty"`
}

func (s *Server) result(w http.ResponseWriter, r *http.Request, app, id string) {
	s.ledger.Call("result")
	j, ok := s.job(app, id)
	if !ok || s.forgotten(j) {
		notFound(w)
		return
	}
	l := s.stateOf(j, time.Now())
	script := emulator.ReadScript(j.Input)
	switch {
	case l.word != completed:
		reply(w, http.StatusBadRequest, id, map[string]string{"detail": "Request is still in progress"})
	case script.ResultFaults > 0 && s.counts.Count("result/"+id) < script.ResultFaults:
		misbehave(w, r, cmp.Or(script.Result, "500_html"))
	case l.fail != nil && l.fail.platform:
		platformError(w, id, *l.fail)
	case l.fail != nil:
		modelError(w, id, *l.fail, billedUnits(j, l))
	case script.Result == "error_in_200":
		w.Header().Set("X-Fal-Billable-Units", "0")
		reply(w, http.StatusOK, j.ID, map[string]any{"error": map[string]string{"message": "The model made nothing of it"}})
	default:
		w.Header().Set("X-Fal-Billable-Units", billedUnits(j, l))
		reply(w, http.StatusOK, j.ID, outputAsked(j, s.mediaBase(r), script.Result))
	}
}

// outputAsked is the result of a job, as its script wants it to be; its files are below base.
func outputAsked(j emulator.Job, base, how string) any {
	kib, isData := strings.CutPrefix(how, "data_")
	switch {
	case how == "no_file" || how == "text":
		return map[string]any{"text": "A kite over dunes.", "chunks": []any{}}
	case how == "nsfw":
		o := output(j, base)
		return struct {
			Result any    `json:"result"`
			NSFW   []bool `json:"has_nsfw_concepts"`
		}{o, []bool{true}}
	case isData:
		n, _ := strconv.Atoi(kib) // 0 for what is no number
		_, contentType, body := emulator.Media("image")
		body = append(slices.Clip(body), make([]byte, min(max(n, 0), maxDataKiB)<<10)...)
		link := "data:" + contentType + ";base64," + base64.StdEncoding.EncodeToString(body)
		return map[string]any{"images": []file{{URL: link, ContentType: contentType}}}
	}
	return output(j, base)
}

// maxDataKiB bounds a file that is its own link.
const maxDataKiB = 32 << 10

// output is the model's result in the shape that its kind of model has; its files are below base.
func output(j emulator.Job, base string) any {
	var in struct {
		Seed   json.RawMessage `json:"seed"`
		Prompt string          `json:"prompt"`
	}
	_ = json.Unmarshal(j.Input, &in) // what cannot be read is not echoed
	if len(in.Seed) == 0 {
		in.Seed = json.RawMessage("17454220438242315174") // fal's own seeds exceed 63 bits
	}
	t := mediaType(j.Model)
	name, contentType, body := emulator.Media(t)
	ext := name[strings.LastIndexByte(name, '.'):]
	out := file{URL: base + "/media/" + j.ID + ext, ContentType: contentType, FileName: name, FileSize: len(body)}
	switch t {
	case "image":
		images := make([]file, imagesOf(j))
		nsfw := make([]bool, len(images))
		for i := range images {
			images[i] = out
			images[i].Width, images[i].Height = 160, 90
			images[i].URL = base + "/media/" + j.ID + "_" + strconv.Itoa(i) + ext
		}
		return struct {
			Images  []file             `json:"images"`
			Timings map[string]float64 `json:"timings"`
			Seed    json.RawMessage    `json:"seed"`
			NSFW    []bool             `json:"has_nsfw_concepts"`
			Prompt  string             `json:"prompt"`
		}{images, map[string]float64{"inference": 0.5}, in.Seed, nsfw, in.Prompt}
	case "audio":
		return struct {
			VoiceID    string `json:"custom_voice_id,omitempty"`
			Audio      file   `json:"audio"`
			DurationMS int    `json:"duration_ms"`
		}{voiceOf(j), out, 1000}
	default:
		return struct {
			Video file            `json:"video"`
			Seed  json.RawMessage `json:"seed"`
		}{out, in.Seed}
	}
}

// voiceOf is the voice that a model has made, "" for one that makes none.
func voiceOf(j emulator.Job) string {
	if strings.Contains(j.Model, "voice-clone") || strings.Contains(j.Model, "voice-design") {
		return "Voice" + j.ID[:min(len(j.ID), 8)]
	}
	return ""
}

// modelErrorBody is a failure in the envelope of models.
func modelErrorBody(f failure) any {
	type item struct {
		Loc []string `json:"loc"`
		Msg string   `json:"msg"`
		// Type is fal's documented error type or a raw one of pydantic.
		Type string         `json:"type"`
		URL  string         `json:"url"`
		Ctx  map[string]any `json:"ctx"`
	}
	return map[string]any{"detail": []item{{
		Loc: []string{"body", "prompt"}, Msg: f.message, Type: f.errorType,
		URL: "https://docs.fal.ai/errors#" + f.errorType, Ctx: map[string]any{},
	}}}
}

func modelError(w http.ResponseWriter, id string, f failure, units string) {
	w.Header().Set("X-Fal-Billable-Units", units)
	w.Header().Set("X-Fal-Retryable", strconv.FormatBool(f.status >= 500))
	reply(w, f.status, id, modelErrorBody(f))
}

// platformErrorBody is a failure in the envelope of fal itself.
func platformErrorBody(f failure) any {
	return struct {
		Detail    string `json:"detail"`
		ErrorType string `json:"error_type"`
	}{f.message, f.errorType}
}

func platformError(w http.ResponseWriter, id string, f failure) {
	w.Header().Set("X-Fal-Error-Type", f.errorType)
	if f.userTimeout {
		w.Header().Set("X-Fal-Request-Timeout-Type", "user")
	}
	reply(w, f.status, id, platformErrorBody(f))
}

// mediaType guesses from a model's id what it makes: "video", "image" or "audio".
func mediaType(model string) string {
	// Ordered: what a model makes out of something else says more than the name of its family.
	for _, guess := range []struct {
		makes string
		words []string
	}{
		{"video", []string{"-to-video", "text2video"}},
		{"image", []string{"-to-image", "text2image"}},
		{"audio", []string{
			"-to-audio", "-to-speech", "-to-music", "tts", "speech", "audio", "music", "sound", "voice",
			"elevenlabs",
		}},
		{"video", []string{"video", "veo", "sora", "hailuo", "seedance", "ray-2"}},
		{"image", []string{"image", "flux", "nano-banana", "imagen", "recraft", "ideogram", "seedream", "diffusion", "sdxl"}},
	} {
		for _, word := range guess.words {
			if strings.Contains(model, word) {
				return guess.makes
			}
		}
	}
	return "video"
}
