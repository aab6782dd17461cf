package minimax

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"reelay/events"
	"reelay/internal/provider"
)

const (
	codeOutputModerated = "1027"
	codeDuplicateVoice  = "2039"

	// answerURLLife is how long a link lives that a call is answered with, by the pages of speech, image and music.
	answerURLLife = 24 * time.Hour
)

// answerID tells an answer from others: MiniMax's own id of it, else its digest.
func answerID(r provider.Reply) string {
	var a struct {
		ID      lax[text] `json:"id"`
		TraceID lax[text] `json:"trace_id"`
	}
	_ = json.Unmarshal(r.Body, &a) // what is no JSON has no id
	sum := sha256.Sum256(r.Body)
	id := cmp.Or(string(a.TraceID.v), string(a.ID.v), r.Header.Get("Trace-Id"))
	if !text(id).isID() {
		id = "answer-" + hex.EncodeToString(sum[:16])
	}
	return id
}

// readAudio reads the answer of speech and music: data.audio is a link, or the file in hex.
func readAudio(d *Driver, _ sentMembers, r provider.Reply) provider.Snapshot {
	var a struct {
		Data lax[struct {
			Audio        lax[string] `json:"audio"`
			SubtitleFile lax[string] `json:"subtitle_file"`
		}] `json:"data"`
		Extra lax[struct {
			Characters  lax[*float64] `json:"usage_characters"`
			Format      lax[string]   `json:"audio_format"`
			Invisible   lax[float64]  `json:"invisible_character_ratio"`
			MusicFormat lax[string]   `json:"format"`
		}] `json:"extra_info"`
	}
	if json.Unmarshal(r.Body, &a) != nil {
		return d.nothing("audio", r)
	}
	audio, extra := a.Data.v.Audio.v, a.Extra.v
	o, raw, ok := d.file(audio, audioType(cmp.Or(extra.Format.v, extra.MusicFormat.v, "mp3")), r)
	if !ok {
		return d.nothing("audio", r)
	}
	snap := provider.Snapshot{State: provider.Succeeded, Outputs: []events.Output{o}, Raw: raw}
	if o, ok := d.linked(a.Data.v.SubtitleFile.v, "application/json"); ok {
		snap.Outputs = append(snap.Outputs, o)
	}
	if n := extra.Characters.v; n != nil && *n >= 0 {
		snap.Units, snap.Unit = n, "character"
	}
	return snap
}

// readImages reads the answer of image_generation: links, or the files in base64. It is billed by image.
func readImages(d *Driver, _ sentMembers, r provider.Reply) provider.Snapshot {
	var a struct {
		Data lax[struct {
			URLs   lax[[]string] `json:"image_urls"`
			Base64 lax[[]string] `json:"image_base64"`
		}] `json:"data"`
		Metadata lax[struct {
			Success lax[text] `json:"success_count"`
			Failed  lax[text] `json:"failed_count"`
		}] `json:"metadata"`
	}
	if json.Unmarshal(r.Body, &a) != nil {
		return d.nothing("image", r)
	}
	snap := provider.Snapshot{State: provider.Succeeded, Raw: d.rawJSON(r.Body)}
	for _, link := range a.Data.v.URLs.v {
		if o, ok := d.linked(link, ""); ok && len(snap.Outputs) < maxLinks {
			snap.Outputs = append(snap.Outputs, o)
		}
	}
	for _, content := range a.Data.v.Base64.v {
		decoded, err := base64.StdEncoding.DecodeString(content)
		if err != nil || len(decoded) == 0 || len(snap.Outputs) == maxLinks {
			continue
		}
		snap.Outputs = append(snap.Outputs, inline("image/jpeg", decoded))
		snap.Raw = withoutFile(snap.Raw, content, len(decoded))
	}
	blocked, _ := strconv.Atoi(string(a.Metadata.v.Failed.v)) // 0 for what is no number
	if len(snap.Outputs) == 0 {
		none := d.nothing("image", r)
		if blocked > 0 {
			none.Err.Kind, none.Err.Message = events.KindModeration, fmt.Sprintf("all %d images were blocked", blocked)
		}
		return none
	}
	if blocked > 0 {
		snap.Notes = []string{fmt.Sprintf("%d of the images were blocked", blocked)}
	}
	made := float64(len(snap.Outputs))
	if n, err := strconv.Atoi(string(a.Metadata.v.Success.v)); err == nil && n >= 0 {
		made = float64(n)
	}
	snap.Units, snap.Unit = &made, "image"
	return snap
}

// file reads what is a link or a file in hex, and returns the answer without the bytes of the latter.
func (d *Driver) file(content, contentType string, r provider.Reply) (o events.Output, raw json.RawMessage, ok bool) {
	raw = d.rawJSON(r.Body)
	if o, ok := d.linked(content, contentType); ok {
		return o, raw, true
	}
	decoded, err := hex.DecodeString(content)
	if err != nil || len(decoded) == 0 {
		return o, raw, false
	}
	return inline(contentType, decoded), withoutFile(raw, content, len(decoded)), true
}

// linked reads a link that lives for answerURLLife.
func (d *Driver) linked(link, contentType string) (o events.Output, ok bool) {
	if len(link) > maxURLBytes || !isLink(link) {
		return o, false
	}
	if o, ok = d.output(link, ""); !ok {
		return o, false
	}
	expires := time.Now().Add(answerURLLife)
	o.ExpiresAt, o.ContentType = &expires, cmp.Or(o.ContentType, contentType)
	return o, true
}

// inline is a file that is its own link.
func inline(contentType string, content []byte) events.Output {
	return events.Output{
		URL: "data:" + contentType + ";base64," + base64.StdEncoding.EncodeToString(content), ContentType: contentType,
		Size: int64(len(content)),
	}
}

// withoutFile takes the bytes of a file out of an answer: they are an output.
func withoutFile(raw json.RawMessage, content string, size int) json.RawMessage {
	return bytes.Replace(raw, []byte(`"`+content+`"`), fmt.Appendf(nil, `"(the output of %d bytes)"`, size), 1)
}

// audioType is the content type of one of MiniMax's audio formats.
func audioType(format string) string {
	if t := map[string]string{
		"mp3": "audio/mpeg", "wav": "audio/wav", "flac": "audio/flac", "opus": "audio/ogg", "pcmu_wav": "audio/wav",
		"pcm": "audio/L16", "pcmu_raw": "audio/basic",
	}[strings.ToLower(format)]; t != "" {
		return t
	}
	return "application/octet-stream"
}
