package minimax

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"reelay/events"
	"reelay/internal/provider"
)

// ownVoicePrefix begins the voice ids that reelay makes; an input that names one of its own must begin otherwise.
const ownVoicePrefix = "reelay-"

var ownVoice = regexp.MustCompile(`^` + ownVoicePrefix + `[0-9a-f]{32}$`)

// voiceIDOf names the voice that a task clones: the same for each of its attempts, and no other task's. So a second
// request, after an answer that was lost, is refused as a duplicate if the first has worked.
func voiceIDOf(t events.Task) string {
	sum := sha256.Sum256([]byte(t.Project + "." + t.ID + "." + strconv.FormatInt(t.CreatedAt.UnixNano(), 10)))
	return ownVoicePrefix + hex.EncodeToString(sum[:16])
}

func voiceValues(id string) map[string]string {
	return map[string]string{events.ValueVoiceID: id}
}

// readClone reads the answer of voice_clone, which names nothing: the voice has the id that was asked for.
func readClone(d *Driver, sent sentMembers, r provider.Reply) provider.Snapshot {
	var a struct {
		Demo      lax[string]          `json:"demo_audio"`
		Sensitive lax[json.RawMessage] `json:"input_sensitive"`
	}
	if json.Unmarshal(r.Body, &a) != nil || sent.VoiceID.v == "" {
		return d.nothing("voice", r)
	}
	snap := provider.Snapshot{State: provider.Succeeded, Values: voiceValues(sent.VoiceID.v), Raw: d.rawJSON(r.Body)}
	if o, ok := d.linked(a.Demo.v, "audio/mpeg"); ok {
		snap.Outputs = []events.Output{o}
	}
	if s := string(a.Sensitive.v); s == "true" {
		snap.Notes = []string{"MiniMax flagged the sample as sensitive"}
	}
	return snap
}

// readDesign reads the answer of voice_design: the voice, and a sample of it in hex.
func readDesign(d *Driver, _ sentMembers, r provider.Reply) provider.Snapshot {
	var a struct {
		VoiceID lax[string] `json:"voice_id"`
		Trial   lax[string] `json:"trial_audio"`
	}
	if json.Unmarshal(r.Body, &a) != nil || a.VoiceID.v == "" {
		return d.nothing("voice_id", r)
	}
	snap := provider.Snapshot{State: provider.Succeeded, Values: voiceValues(d.clean(a.VoiceID.v, events.MaxValueBytes))}
	o, raw, ok := d.file(a.Trial.v, "audio/mpeg", r)
	if snap.Raw = raw; ok {
		snap.Outputs = []events.Output{o}
	}
	return snap
}

// CheckKey asks for the voices that MiniMax itself has, which is free (reference: media-models, c). Its error is a
// *provider.Error: MiniMax does not take the key, or could not be asked.
func (d *Driver) CheckKey(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.base+"/v1/get_voice", strings.NewReader(`{"voice_type":"system"}`))
	if err != nil {
		return d.newError(events.KindInternal, "bad_request", "the voices cannot be asked for", provider.Reply{})
	}
	req.Header = d.header()
	req.Header.Set("Content-Type", "application/json")
	r, err := provider.Exchange(d.client, req)
	if err != nil {
		return d.redactError(provider.AsError(err))
	}
	if says := readEnvelope(r.Body); !isOK(r.Status) || !says.ok() {
		return d.callError(says, r)
	}
	return nil
}

// readVoices keeps the list of voices as it is.
func readVoices(d *Driver, _ sentMembers, r provider.Reply) provider.Snapshot {
	return provider.Snapshot{
		State: provider.Succeeded, Raw: d.rawJSON(r.Body), Notes: []string{"the voices are in result.raw"},
	}
}

// readDeleted reads the answer of delete_voice.
func readDeleted(d *Driver, sent sentMembers, r provider.Reply) provider.Snapshot {
	return provider.Snapshot{State: provider.Succeeded, Values: voiceValues(sent.VoiceID.v), Raw: d.rawJSON(r.Body)}
}
