package openai

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"time"

	"reelay/events"
	"reelay/internal/provider"
	"reelay/internal/provider/jsonapi"
)

const (
	// answerTimeout bounds a call that is answered with what it makes.
	answerTimeout = 6 * time.Minute
	// maxAnswerBytes bounds its answer: ten images of 4 MiB in base64.
	maxAnswerBytes = 64 << 20
	// maxImages bounds the images of an answer that are kept; OpenAI makes ten at most.
	maxImages = 16
)

// A call is a route by which something is made.
type call struct {
	path  string
	makes []events.TaskType
	// needs is the member of an input without which no server makes anything.
	needs string
	// read reads an answer that is the result; false for one that is none.
	read func(*Driver, provider.Reply) (provider.Snapshot, bool)
}

// callOf returns how a model is asked for, its name for the server, and whether the answer is the result.
func callOf(model string) (c call, wire string, answers bool) {
	if wire, ok := strings.CutPrefix(model, "images/"); ok {
		return call{"/v1/images/generations", []events.TaskType{events.Image}, "prompt", (*Driver).readImages}, wire, true
	}
	if wire, ok := strings.CutPrefix(model, "speech/"); ok {
		return call{"/v1/audio/speech", []events.TaskType{events.Speech, events.Audio}, "input", (*Driver).readSound}, wire, true
	}
	return call{path: videosPath, makes: []events.TaskType{events.Video}, needs: "prompt"}, model, false
}

// answered reads a 2xx of a call whose answer is the result. The handle only tells it from others.
func (d *Driver) answered(c call, r provider.Reply) provider.Answer {
	snap, ok := c.read(d, r)
	if !ok {
		return inDoubt("no_result", "HTTP success without a result: "+jsonapi.ReadEnvelope(r).Message, r)
	}
	sum := sha256.Sum256(r.Body)
	id := "answer-" + hex.EncodeToString(sum[:16])
	handle, err := events.Marshal(map[string]string{"path": c.path, "answer_id": id})
	if err != nil {
		return inDoubt("bad_answer", err.Error(), r)
	}
	return provider.Answer{Outcome: provider.Accepted, Ref: handle, ID: id, Result: &snap}
}

// readImages reads {"data":[{"b64_json"} or {"url"}]}.
func (d *Driver) readImages(r provider.Reply) (provider.Snapshot, bool) {
	answer := jsonapi.Read(r.Body)
	var items []jsonapi.Object
	if !answer.Has("data") || json.Unmarshal(answer["data"], &items) != nil {
		return provider.Snapshot{}, false
	}
	s := provider.Snapshot{State: provider.Succeeded, Word: "answered", Raw: r.Body}
	for _, item := range items[:min(len(items), maxImages)] {
		content := item.Text("b64_json")
		if image, err := base64.StdEncoding.DecodeString(content); err == nil && len(image) > 0 {
			s.Outputs = append(s.Outputs, inline(http.DetectContentType(image), image))
			s.Raw = bytes.Replace(s.Raw, []byte(`"`+content+`"`), fmt.Appendf(nil, `"(an output of %d bytes)"`, len(image)), 1)
		} else if link := d.api.Absolute(item.Text("url")); link != "" {
			s.Outputs = append(s.Outputs, events.Output{URL: link})
		}
	}
	if len(s.Outputs) == 0 {
		s.State = provider.Failed
		s.Err = newError(events.KindInternal, "no_output", "the server says that it succeeded, and its answer has no image", r)
	}
	return s, true
}

// readSound reads an answer that is the sound itself.
func (d *Driver) readSound(r provider.Reply) (provider.Snapshot, bool) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || !strings.HasPrefix(kind, "audio/") || len(r.Body) == 0 {
		return provider.Snapshot{}, false
	}
	raw, err := events.Marshal(map[string]any{"content_type": kind, "size": len(r.Body)})
	return provider.Snapshot{
		State: provider.Succeeded, Word: "answered", Outputs: []events.Output{inline(kind, r.Body)}, Raw: raw,
	}, err == nil
}

// inline is a file that is its own link.
func inline(contentType string, content []byte) events.Output {
	return events.Output{
		URL: "data:" + contentType + ";base64," + base64.StdEncoding.EncodeToString(content), ContentType: contentType,
		Size: int64(len(content)),
	}
}
