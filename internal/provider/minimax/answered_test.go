package minimax_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"reelay/events"
	sandbox "reelay/internal/emulator/minimax"
	"reelay/internal/provider"
)

// answeredCalls are the APIs that answer with what they make, with a body that was sent to each and an answer of each
// as MiniMax documents it.
var answeredCalls = []struct {
	model  string
	kind   events.TaskType
	sent   string
	answer string
	// what is made of the answer
	outputs, values int
	units           float64
	repeatable      bool
}{
	{
		"t2a_v2/speech-2.8-hd", events.Speech, `{"text":"hi"}`, `{"data":{"audio":"494433","status":2,
		"subtitle_file":"https://m/s.json"},"extra_info":{"usage_characters":163,"audio_format":"mp3"},
		"trace_id":"01b8bf9bb7433cc75c18eee6cfa8fe21","base_resp":{"status_code":0,"status_msg":"success"}}`, 2, 0, 163, false,
	},
	{
		"music-2.6", events.Music, `{"lyrics":"la"}`, `{"data":{"audio":"https://m/song.mp3","status":2},
		"extra_info":{"music_duration":161000},"trace_id":"04","base_resp":{"status_code":0}}`, 1, 0, -1, false,
	},
	{
		"image-01", events.Image, `{"prompt":"p"}`, `{"id":"03ff","data":{"image_urls":["https://m/1.jpg","https://m/2.jpg"]},
		"metadata":{"success_count":"2","failed_count":"1"},"base_resp":{"status_code":0}}`, 2, 0, 2, false,
	},
	{
		"image-01", events.Image, `{"prompt":"p"}`, `{"data":{"image_base64":["/9j/4AAQ"]},
		"metadata":{"success_count":1,"failed_count":0},"base_resp":{"status_code":0}}`, 1, 0, 1, false,
	},
	{
		"voice_clone", events.Voice, `{"voice_id":"reelay-0123456789abcdef0123456789abcdef","file_id":1}`,
		`{"input_sensitive":false,"input_sensitive_type":0,"demo_audio":"https://m/demo.mp3","extra_info":{},
		"base_resp":{"status_code":0}}`, 1, 1, -1, true,
	},
	{
		"voice_clone", events.Voice, `{"voice_id":"my-own-voice","file_id":1}`,
		`{"input_sensitive":{"type":1},"demo_audio":"","base_resp":{"status_code":0}}`, 0, 1, -1, true,
	},
	{
		"voice_design", events.Voice, `{"prompt":"p"}`, `{"voice_id":"ttv-voice-1","trial_audio":"494433",
		"base_resp":{"status_code":0}}`, 1, 1, -1, false,
	},
	{"get_voice", events.Voice, `{"voice_type":"all"}`, `{"system_voice":[],"base_resp":{"status_code":0}}`, 0, 0, -1, true},
	{
		"delete_voice", events.Voice, `{"voice_type":"voice_cloning","voice_id":"my-own-voice"}`,
		`{"voice_id":"my-own-voice","base_resp":{"status_code":0}}`, 0, 1, -1, true,
	},
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	d := answering(t, 200, "")
	for _, c := range answeredCalls {
		a := d.Classify(c.model, []byte(c.sent), provider.Reply{Status: 200, Body: []byte(c.answer)})
		if a.Outcome != provider.Accepted || a.Result == nil || a.Result.State != provider.Succeeded {
			t.Fatalf("%s: %+v", c.model, a)
		}
		snap := a.Result
		if len(snap.Outputs) != c.outputs || len(snap.Values) != c.values || !json.Valid(snap.Raw) ||
			(snap.Units == nil) != (c.units < 0) || snap.Units != nil && *snap.Units != c.units {
			t.Errorf("%s: outputs %v, values %v, units %v, raw %s", c.model, snap.Outputs, snap.Values, snap.Units, snap.Raw)
		}
		for _, o := range snap.Outputs {
			if strings.HasPrefix(o.URL, "https:") && (o.ExpiresAt == nil || time.Until(*o.ExpiresAt) < 23*time.Hour) {
				t.Errorf("%s: the link %s expires %v", c.model, o.URL, o.ExpiresAt)
			}
			if strings.HasPrefix(o.URL, "data:") && strings.Contains(string(snap.Raw), "494433") {
				t.Errorf("%s: the file is in the raw result as well: %s", c.model, snap.Raw)
			}
		}
	}
}

// TestAnswerCodes is the whole status table: what each code proves about a call that is answered with its result.
func TestAnswerCodes(t *testing.T) {
	t.Parallel()
	d := answering(t, 200, "")
	refused := map[int]events.Kind{
		1002: events.KindRateLimited, 1039: events.KindRateLimited, 1041: events.KindRateLimited, 2045: events.KindRateLimited,
		2064: events.KindRateLimited,
		1004: events.KindAuth, 2049: events.KindAuth,
		1008: events.KindQuota, 1028: events.KindQuota, 1030: events.KindQuota, 2056: events.KindQuota, 2061: events.KindQuota,
		1026: events.KindModeration,
		1042: events.KindInvalid, 1043: events.KindInvalid, 1044: events.KindInvalid, 2013: events.KindInvalid,
		2037: events.KindInvalid, 2038: events.KindInvalid, 2039: events.KindInvalid, 2042: events.KindInvalid,
		2048: events.KindInvalid, 20132: events.KindInvalid,
	}
	doubtful := []int{1000, 1001, 1013, 1024, 1033, 7777}
	for _, c := range answeredCalls {
		classify := func(code int) provider.Answer {
			return d.Classify(c.model, []byte(c.sent), provider.Reply{Status: 200, Body: []byte(v1Body(code, "why"))})
		}
		for code, kind := range refused {
			own := code == 2039 && strings.Contains(c.sent, `"reelay-`)
			switch a := classify(code); {
			case own && (a.Outcome != provider.Accepted || a.Result.Values[events.ValueVoiceID] == "" || len(a.Result.Notes) == 0):
				t.Errorf("%s, %d: %+v, want our voice: the first request has worked", c.model, code, a)
			case !own && (a.Outcome != provider.Refused || a.Err.Kind != kind || a.Err.Charge != events.ChargeNone):
				t.Errorf("%s, %d: %s %v, want refused as %s", c.model, code, a.Outcome, a.Err, kind)
			}
		}
		for _, code := range doubtful {
			if a := classify(code); a.Outcome != provider.InDoubt || len(a.Body) == 0 {
				t.Errorf("%s, %d: %s, want in doubt with what was answered", c.model, code, a.Outcome)
			}
		}
		if a := classify(1027); a.Outcome != provider.Accepted || a.Result.State != provider.Failed ||
			a.Result.Err.Kind != events.KindModeration || a.Result.Err.Charge != events.ChargePossible {
			t.Errorf("%s, 1027: %+v, want a failure that may have been charged", c.model, a)
		}
	}
}

// TestAnswersWithoutAnything: MiniMax's own success that brings nothing is a failure; anybody else's is in doubt.
func TestAnswersWithoutAnything(t *testing.T) {
	t.Parallel()
	d := answering(t, 200, "")
	for _, c := range answeredCalls {
		if c.outputs+c.values == 0 || c.model == "delete_voice" || c.model == "voice_clone" {
			continue
		}
		a := d.Classify(c.model, []byte(c.sent), provider.Reply{Status: 200, Body: []byte(`{"data":null,"base_resp":{"status_code":0}}`)})
		if a.Outcome != provider.Accepted || a.Result.State != provider.Failed || a.Result.Err.Charge != events.ChargePossible ||
			len(a.Result.Raw) == 0 {
			t.Errorf("%s: %+v", c.model, a)
		}
		for name, body := range strays() {
			if a := d.Classify(c.model, []byte(c.sent), provider.Reply{Status: 200, Body: []byte(body)}); a.Outcome != provider.InDoubt {
				t.Errorf("%s, %s: %s, want in doubt", c.model, name, a.Outcome)
			}
		}
	}
	blocked := `{"data":{"image_urls":[]},"metadata":{"success_count":"0","failed_count":"3"},"base_resp":{"status_code":0}}`
	if a := d.Classify("image-01", nil, provider.Reply{Status: 200, Body: []byte(blocked)}); a.Result == nil ||
		a.Result.Err.Kind != events.KindModeration {
		t.Errorf("three blocked images: %+v", a)
	}
}

func TestAnsweredInputs(t *testing.T) {
	t.Parallel()
	d := answering(t, 200, "")
	for _, row := range []struct {
		kind         events.TaskType
		model, input string
		field        string
	}{
		{events.Speech, "speech-2.8-hd", `{"text":"hi"}`, ""},
		{events.Speech, "t2a_v2/speech-2.8-hd", `{"model":"speech-2.8-hd"}`, ""},
		{events.Speech, "t2a_v2/speech-2.8-hd", `{"model":"t2a_v2/speech-2.8-hd"}`, "input.model"},
		{events.Speech, "t2a_v2/speech-2.8-hd", `{"stream":true}`, "input.stream"},
		{events.Speech, "t2a_v2/speech-2.8-hd", `{"Stream":1}`, "input.Stream"},
		{events.Speech, "t2a_v2/speech-2.8-hd", `{"stream":false}`, ""},
		{events.Speech, "t2a_v3/speech-2.8-hd", `{}`, "model"},
		{events.Speech, "t2a_v2/MiniMax-H3", `{}`, "model"},
		{events.Video, "speech-2.8-hd", `{}`, "model"},
		{events.Voice, "image-01", `{}`, "model"},
		{events.Voice, "voice_clone", `{"file_id":1,"model":"speech-2.8-hd","text":"preview"}`, ""},
		{events.Voice, "voice_clone", `{"voice_id":"reelay-mine"}`, "input.voice_id"},
		{events.Voice, "voice_clone", `{"voice_id":"mine-alone"}`, ""},
		{events.Voice, "delete_voice", `{"voice_id":"reelay-0123456789abcdef0123456789abcdef"}`, ""},
		{events.Voice, "Voice_Clone", `{}`, "model"},
		{events.Music, "music-2.6", `{"callback_url":"https://a"}`, "input.callback_url"},
	} {
		err := d.Check(row.kind, row.model, json.RawMessage(row.input))
		var fe *events.FieldError
		if (err == nil) != (row.field == "") || err != nil && (!errors.As(err, &fe) || fe.Field != row.field) {
			t.Errorf("%s %s %s: %v, want field %q", row.kind, row.model, row.input, err, row.field)
		}
	}
}

// TestCloneNamesItsVoice: all attempts of a task ask for one voice, and no other task for the same.
func TestCloneNamesItsVoice(t *testing.T) {
	t.Parallel()
	d := answering(t, 200, "")
	voice := func(id string, at time.Time, input string) string {
		r, err := d.Render(events.Task{
			ID: id, Project: "demo", CreatedAt: at, TaskType: events.Voice, Model: "voice_clone",
		}, json.RawMessage(input), "")
		if err != nil {
			t.Fatal(err)
		}
		var sent struct {
			VoiceID string `json:"voice_id"`
		}
		if err := json.Unmarshal(r.Body, &sent); err != nil {
			t.Fatal(err)
		}
		return sent.VoiceID
	}
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	first := voice("a", now, inputClone)
	if len(first) < 8 || len(first) > 256 || voice("a", now.In(time.FixedZone("", 3600)), inputClone) != first {
		t.Errorf("the voice of a task is %q, and another at its second request", first)
	}
	if voice("b", now, inputClone) == first || voice("a", now.Add(40*24*time.Hour), inputClone) == first {
		t.Error("two tasks ask for one voice")
	}
	if got := voice("a", now, `{"voice_id":"mine-alone","file_id":1}`); got != "mine-alone" {
		t.Errorf("the input's own voice became %q", got)
	}
}

// TestRepeatedClone: the second request of a clone whose answer was lost finds that the first has worked.
func TestRepeatedClone(t *testing.T) {
	t.Parallel()
	b := newBox(t, sandbox.Options{})
	sent := func(script string) provider.Answer {
		r, err := b.driver.Render(events.Task{ID: "a", TaskType: events.Voice, Model: "voice_clone"},
			json.RawMessage(scripted(script, inputClone)), "")
		if err != nil {
			t.Fatal(err)
		}
		return b.sent(t, "voice_clone", r)
	}
	if a := sent(`{"submit":"accept_then_500"}`); a.Outcome != provider.InDoubt {
		t.Fatalf("a lost answer is %s", a.Outcome)
	}
	a := sent(`{}`)
	if a.Outcome != provider.Accepted || a.Result == nil || a.Result.Values[events.ValueVoiceID] == "" {
		t.Fatalf("the second request: %+v", a)
	}
	if jobs := b.ledger.Jobs(); len(jobs) != 1 || b.ledger.BilledUSD() != 0 {
		t.Errorf("%d voices, %v dollars; want one, whose fee falls at its first speech", len(jobs), b.ledger.BilledUSD())
	}
	speech := fmt.Sprintf(`{"text":"hi","voice_setting":{"voice_id":%q}}`, a.Result.Values[events.ValueVoiceID])
	r, err := b.driver.Render(events.Task{TaskType: events.Speech, Model: "t2a_v2/speech-2.8-hd"}, json.RawMessage(speech), "")
	if err != nil {
		t.Fatal(err)
	}
	if a := b.sent(t, "t2a_v2/speech-2.8-hd", r); a.Outcome != provider.Accepted || b.ledger.BilledUSD() != 1.5002 {
		t.Errorf("a speech with the voice: %s, %v dollars in all", a.Outcome, b.ledger.BilledUSD())
	}
}

// TestSpeechTask: the sound is taken out of the archive, the characters are those of the create.
func TestSpeechTask(t *testing.T) {
	t.Parallel()
	b := newBox(t, sandbox.Options{BigIDs: true})
	for format, magic := range map[string]string{"mp3": "\xff\xfb", "wav": "RIFF"} {
		input := `{"text":"good evening","voice_setting":{"voice_id":"x"},"audio_setting":{"format":"` + format + `"}}`
		r, err := b.driver.Render(events.Task{TaskType: events.Speech, Model: "speech-2.8-hd"}, json.RawMessage(input), "")
		if err != nil {
			t.Fatal(err)
		}
		a := b.sent(t, "speech-2.8-hd", r)
		if a.Outcome != provider.Accepted || a.Result != nil {
			t.Fatalf("%+v", a)
		}
		snap, err := b.driver.Poll(t.Context(), a.Ref)
		if err != nil || snap.State != provider.Succeeded || len(snap.Outputs) != 2 || snap.Units == nil || *snap.Units != 12 {
			t.Fatalf("%+v, %v", snap, err)
		}
		_, coded, _ := strings.Cut(snap.Outputs[0].URL, ";base64,")
		sound, err := base64.StdEncoding.DecodeString(coded)
		if err != nil || !strings.HasPrefix(string(sound), magic) || !strings.HasSuffix(snap.Outputs[0].FileName, "."+format) {
			t.Errorf("%s: %x..., %v", snap.Outputs[0].FileName, sound[:min(len(sound), 8)], err)
		}
		if o := snap.Outputs[1]; !strings.Contains(o.URL, ".tar") || o.ExpiresAt == nil || time.Until(*o.ExpiresAt) < 8*time.Hour {
			t.Errorf("the archive: %+v", o)
		}
	}
}

// TestSpeechArchive: whatever the archive is, the task has its link, and no sound is made up.
func TestSpeechArchive(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"no archive": "plain words", "refused": `{"base_resp":{"status_code":1002,"status_msg":"rate limit"}}`, "empty": "",
	} {
		d := serving(t, func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/v1/query/t2a_async_query_v2":
				_, _ = io.WriteString(w, `{"task_id":7,"status":"Success","file_id":8,"base_resp":{"status_code":0}}`)
			case "/v1/files/retrieve":
				_, _ = io.WriteString(w, `{"file":{"file_id":8,"download_url":"https://m/a.tar"},"base_resp":{"status_code":0}}`)
			default:
				_, _ = io.WriteString(w, content)
			}
		})
		snap, err := d.Poll(t.Context(), refOf(t, d, "speech-2.8-hd", "7"))
		if err != nil || snap.State != provider.Succeeded || len(snap.Outputs) != 1 || len(snap.Notes) != 1 {
			t.Errorf("%s: %+v, %v", name, snap, err)
		}
	}
}

// TestCheckKey: whether a key is taken is found out for free.
func TestCheckKey(t *testing.T) {
	t.Parallel()
	b := newBox(t, sandbox.Options{})
	if err := b.driver.CheckKey(t.Context()); err != nil || b.ledger.BilledUSD() != 0 {
		t.Errorf("a good key: %v, %v dollars", err, b.ledger.BilledUSD())
	}
	for _, body := range []string{`{"base_resp":{"status_code":1004,"status_msg":"login fail"}}`, `{"base_resp":{"status_code":2049}}`, `<html>`} {
		if err := answering(t, 200, body).CheckKey(t.Context()); err == nil {
			t.Errorf("%s is taken for a yes", body)
		}
	}
}
