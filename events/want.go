package events

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"net/url"
	"slices"
	"strings"
)

// Limits of a want.
const (
	// MaxWantDurationS bounds the length of what is wanted, in seconds.
	MaxWantDurationS = 3600
	// MaxWantReferences bounds the pictures that a want refers to.
	MaxWantReferences = 16
	// maxWantWord bounds a ratio, a resolution and a voice, in bytes.
	maxWantWord = 128
)

// A Want says what a task shall make in words that are the same for every model; reelay writes the provider's own input
// from it. Only what is set is wanted: everything else is as the model does it by itself.
//
// A wish that the model cannot fulfil is refused before anything is paid, with CodeUnsupported and the allowed values.
// It is never left out or changed in silence.
type Want struct {
	Prompt         string `json:"prompt,omitempty"`
	NegativePrompt string `json:"negative_prompt,omitempty"`
	// Image is the first frame of a video, or the picture to begin with: an http, https or data URL, the name of a file
	// that was handed in, or a Reference, as are the next two.
	Image WantValue `json:"image,omitempty"`
	// LastFrame is the last frame of a video.
	LastFrame WantValue `json:"last_frame,omitempty"`
	// References are pictures of what shall appear, or the recording of a voice to clone.
	References []WantValue `json:"references,omitempty"`
	// Duration in seconds.
	Duration float64 `json:"duration,omitempty"`
	// AspectRatio is width to height, such as 16:9, or a word of the model's such as auto.
	AspectRatio string `json:"aspect_ratio,omitempty"`
	// Resolution is a height such as 720p, or 2k or 4k, in upper or lower case.
	Resolution string `json:"resolution,omitempty"`
	Seed       *int64 `json:"seed,omitempty"`
	// Audio says whether a video shall have sound.
	Audio *bool `json:"audio,omitempty"`
	// Text is what shall be spoken or sung, Voice by whom: the provider's name or id of a voice, or a Reference.
	Text  string    `json:"text,omitempty"`
	Voice WantValue `json:"voice,omitempty"`
	// Options are fields of the provider's own input, a JSON object. They are added as they are, and refused where they
	// contradict what the other fields say.
	Options json.RawMessage `json:"options,omitempty"`
}

// A WantValue is a text, or the JSON object of a Reference or a FileReference, which stands for a text.
type WantValue string

// IsReference reports whether v is the JSON object of one of the two.
func (v WantValue) IsReference() bool { return strings.HasPrefix(string(v), "{") }

// MarshalJSON writes a reference as the object that it is.
func (v WantValue) MarshalJSON() ([]byte, error) {
	if v.IsReference() {
		return []byte(v), nil
	}
	return Marshal(string(v))
}

// UnmarshalJSON reads a string or an object.
func (v *WantValue) UnmarshalJSON(raw []byte) error {
	if !bytes.HasPrefix(raw, []byte("{")) {
		return json.Unmarshal(raw, (*string)(v))
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, raw); err != nil {
		return err
	}
	*v = WantValue(compact.String())
	return nil
}

// decodeWant reads a want. Its error is a FieldError whose field begins with "want".
func decodeWant(raw json.RawMessage) (*Want, error) {
	var w Want
	err := DecodeStrict(raw, "", map[string]any{
		"prompt": &w.Prompt, "negative_prompt": &w.NegativePrompt, "image": &w.Image, "last_frame": &w.LastFrame,
		"references": &w.References, "duration": &w.Duration, "aspect_ratio": &w.AspectRatio,
		"resolution": &w.Resolution, "seed": &w.Seed, "audio": &w.Audio, "text": &w.Text, "voice": &w.Voice,
		"options": &w.Options,
	})
	return &w, within("want", err)
}

// Validate checks every field against its limit, whatever the model. Its error is a FieldError.
func (w Want) Validate() error {
	switch {
	case w.Duration < 0 || w.Duration > MaxWantDurationS || math.IsNaN(w.Duration):
		return fieldError("duration", "%v is not between 0 and %d seconds", w.Duration, MaxWantDurationS)
	case len(w.References) > MaxWantReferences:
		return fieldError("references", "%d are over the limit of %d", len(w.References), MaxWantReferences)
	case slices.Contains(w.References, ""):
		return fieldError("references", "has an empty one")
	case len(w.Voice) > maxWantWord && !w.Voice.IsReference():
		return fieldError("voice", "%d bytes are over the limit of %d", len(w.Voice), maxWantWord)
	}
	for _, f := range []struct{ field, value string }{{"aspect_ratio", w.AspectRatio}, {"resolution", w.Resolution}} {
		if strings.ContainsFunc(f.value, notInWord) || len(f.value) > maxWantWord {
			return fieldError(f.field, "must be 1 to %d characters of A-Z a-z 0-9 _ . : -", maxWantWord)
		}
	}
	values := map[string][]WantValue{
		"image": {w.Image}, "last_frame": {w.LastFrame}, "references": w.References, "voice": {w.Voice},
	}
	for _, field := range slices.Sorted(maps.Keys(values)) {
		for _, v := range values[field] {
			if err := v.check(field); err != nil {
				return err
			}
		}
	}
	if o := bytes.TrimSpace(w.Options); len(o) > 0 && o[0] != '{' {
		return fieldError("options", "must be a JSON object")
	}
	return nil
}

// check checks a picture or a voice.
func (v WantValue) check(field string) error {
	if !v.IsReference() {
		if v != "" && field != "voice" && !mediaURL(string(v)) && !namesFile(string(v)) {
			return fieldError(field, "%.80q is not an http, https or data URL, nor the name of a file that was handed in, nor s3:// or azblob:// of an object",
				string(v))
		}
		return nil
	}
	raw := json.RawMessage("[" + string(v) + "]")
	refs, err := References(field, raw)
	if err != nil {
		return err
	}
	files, err := Files(field, raw)
	if err != nil {
		return err
	}
	at := field + "[0]"
	if len(refs) == 1 && refs[0].Path == at || field != "voice" && len(files) == 1 && files[0].Path == at {
		return nil
	}
	return fieldError(field, "an object in place of a text must be a reference: it has no $from, nor the $file of a picture")
}

// withFiles returns w with a file reference in place of each picture that is the name of a file.
func (w Want) withFiles() Want {
	file := func(v WantValue) WantValue {
		if v.IsReference() || !namesFile(string(v)) {
			return v
		}
		raw, err := Marshal(FileReference{Name: string(v)})
		if err != nil {
			return v // no string of a request is one that JSON cannot have
		}
		return WantValue(raw)
	}
	w.Image, w.LastFrame, w.References = file(w.Image), file(w.LastFrame), slices.Clone(w.References)
	for i, v := range w.References {
		w.References[i] = file(v)
	}
	return w
}

// references returns the references inside w.
func (w Want) references() ([]Reference, error) {
	raw, err := Marshal(w)
	if err != nil {
		return nil, fieldError("want", "%v", err)
	}
	return References("want", raw)
}

// notInWord reports whether r has no place in a ratio or in one of a model's own words.
func notInWord(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("_.:-", r))
}

// mediaURL reports whether a provider can be given s as the place of a file.
func mediaURL(s string) bool {
	if strings.HasPrefix(s, "data:") {
		return strings.Contains(s, ",")
	}
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != ""
}
