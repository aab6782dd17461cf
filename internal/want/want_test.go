package want_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"reelay/events"
	"reelay/internal/want"
)

var (
	update = flag.Bool("update", false, "write the golden inputs")
	served = flag.String("want.served", "",
		"base URL, such as https://fal.ai, of the schemas that TestDrift compares the table with")
)

const (
	first = "https://media.example/first.png"
	last  = "https://media.example/last.png"
)

func load(t testing.TB) *want.Table {
	t.Helper()
	table, err := want.Load()
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// made is what became of a want.
type made struct {
	model    string
	input    map[string]json.RawMessage
	warnings []string
	err      error
}

// fulfil maps a want that is given as JSON.
func fulfil(t testing.TB, table *want.Table, model, wish string, lenient bool) made {
	t.Helper()
	r, err := events.DecodeRequest([]byte(`{"want":` + wish + `}`))
	if err != nil {
		t.Fatalf("%s: %v", wish, err)
	}
	m, ok := table.Find("", model)
	if !ok {
		t.Fatalf("%s is not known", model)
	}
	e, kept, warnings, err := m.Choose(*r.Want, lenient)
	if err != nil {
		return made{err: err}
	}
	input, more, err := e.Fulfil(kept, e.Input, lenient)
	out := made{model: e.ID, warnings: append(warnings, more...), err: err}
	if err == nil {
		if err := json.Unmarshal(input, &out.input); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// A row is what a provider's documentation says of one model. "-" stands for a wish that it cannot be told.
type row struct {
	model string
	// text and image are the endpoints, which follow the model's id.
	text, image string
	// first and last are the fields of the frames, both the endpoint that takes both, where it is another one.
	first, last, both string
	// seconds is a length that is possible, duration how it is sent, and no one that is not.
	seconds, duration, no string
	// ratio is where it can be told: t for text only, i for images only, ti for both.
	ratio string
	// resolution is one that is possible.
	resolution            string
	audio, seed, negative string
}

const (
	t2v = "/text-to-video"
	i2v = "/image-to-video"
)

// rows are the names that fal's client types and MiniMax's pages give, written down by hand (reference tables of
// 2026-08-02 and 2026-10-07). They are not taken from wants.json.
func rows() []row {
	const kling = "fal-ai/kling-video/"
	return []row{
		{kling + "v2.5-turbo/pro", t2v, i2v, "image_url", "tail_image_url", "", "10", `"10"`, "7", "t", "-", "-", "-", "negative_prompt"},
		{kling + "v2.6/pro", t2v, i2v, "start_image_url", "end_image_url", "", "5", `"5"`, "8", "t", "-", "generate_audio", "-", "negative_prompt"},
		{kling + "v3/pro", t2v, i2v, "start_image_url", "end_image_url", "", "7", `"7"`, "2", "t", "-", "generate_audio", "-", "negative_prompt"},
		{kling + "v3/standard", t2v, i2v, "start_image_url", "end_image_url", "", "15", `"15"`, "16", "t", "-", "generate_audio", "-", "negative_prompt"},
		{kling + "v3/4k", t2v, i2v, "start_image_url", "end_image_url", "", "3", `"3"`, "5.5", "t", "-", "generate_audio", "-", "negative_prompt"},
		{kling + "v3/turbo/pro", t2v, i2v, "image_url", "-", "", "7", `"7"`, "2", "t", "-", "-", "-", "-"},
		{kling + "o3/pro", t2v, i2v, "image_url", "end_image_url", "", "7", `"7"`, "2", "t", "-", "generate_audio", "-", "-"},
		{"fal-ai/veo3.1", "", i2v, "image_url", "-", "", "6", `"6s"`, "5", "ti", "1080p", "generate_audio", "seed", "negative_prompt"},
		{"fal-ai/veo3.1/fast", "", i2v, "image_url", "-", "", "8", `"8s"`, "10", "ti", "4k", "generate_audio", "seed", "negative_prompt"},
		{"fal-ai/veo3.1/lite", "", i2v, "image_url", "-", "", "4", `"4s"`, "5", "ti", "720p", "generate_audio", "seed", "negative_prompt"},
		{"fal-ai/minimax/hailuo-02/standard", t2v, i2v, "image_url", "end_image_url", "", "10", `"10"`, "5", "-", "i:768P", "-", "-", "-"},
		{"fal-ai/minimax/hailuo-02/pro", t2v, i2v, "image_url", "end_image_url", "", "-", "", "6", "-", "-", "-", "-", "-"},
		{"fal-ai/minimax/hailuo-2.3/standard", t2v, i2v, "image_url", "-", "", "6", `"6"`, "5", "-", "-", "-", "-", "-"},
		{"fal-ai/minimax/hailuo-2.3/pro", t2v, i2v, "image_url", "-", "", "-", "", "6", "-", "-", "-", "-", "-"},
		{"fal-ai/minimax/hailuo-2.3-fast/standard", "-", i2v, "image_url", "-", "", "6", `"6"`, "5", "-", "-", "-", "-", "-"},
		{"minimax/h3", t2v, i2v, "image_url", "end_image_url", "", "5", `5`, "16", "t", "2K", "-", "-", "-"},
		{"fal-ai/wan/v2.7", t2v, i2v, "image_url", "end_image_url", "", "15", `15`, "16", "t", "720p", "-", "seed", "negative_prompt"},
		{"wan/v2.6", t2v, i2v, "image_url", "-", "", "15", `"15"`, "7", "t", "1080p", "-", "seed", "negative_prompt"},
		{"bytedance/seedance-2.0", t2v, i2v, "image_url", "end_image_url", "", "4", `"4"`, "16", "ti", "4k", "generate_audio", "-", "-"},
		{"fal-ai/bytedance/seedance/v1.5/pro", t2v, i2v, "image_url", "end_image_url", "", "12", `"12"`, "13", "ti", "480p", "generate_audio", "seed", "-"},
		{"fal-ai/luma-dream-machine/ray-2", "", i2v, "image_url", "end_image_url", "", "9", `"9s"`, "8", "ti", "540p", "-", "-", "-"},
		{"fal-ai/ltx-2.3", t2v, i2v, "image_url", "end_image_url", "", "8", `8`, "7", "ti", "2160p", "generate_audio", "-", "-"},
		{"fal-ai/pixverse/v6", t2v, i2v, "image_url", "-", "", "7", `7`, "16", "t", "540p", "generate_audio_switch", "seed", "negative_prompt"},
		{"xai/grok-imagine-video", t2v, i2v, "image_url", "-", "", "7", `7`, "-", "ti", "480p", "-", "-", "-"},
		{"fal-ai/vidu/q3", t2v, i2v, "image_url", "end_image_url", "", "7", `7`, "-", "t", "1080p", "audio", "seed", "-"},
		{"alibaba/happy-horse/v1.1", t2v, i2v, "image_url", "-", "", "3", `3`, "16", "t", "1080p", "-", "seed", "-"},
		{"MiniMax-Hailuo-2.3", "", "", "first_frame_image", "-", "", "10", `10`, "5", "-", "768P", "-", "-", "-"},
		{"MiniMax-Hailuo-2.3-Fast", "-", "", "first_frame_image", "-", "", "6", `6`, "5", "-", "1080P", "-", "-", "-"},
		{"MiniMax-Hailuo-02", "", "", "first_frame_image", "last_frame_image", "", "6", `6`, "15", "-", "1080P", "-", "-", "-"},
		{"T2V-01", "", "-", "-", "-", "", "6", `6`, "10", "-", "720P", "-", "-", "-"},
	}
}

// TestNames: each wish lands in the field that the provider names, as it spells it; one that it has no field for, or
// that it does not take, is refused, and the answer says what is allowed.
func TestNames(t *testing.T) {
	table := load(t)
	for _, r := range rows() {
		t.Run(r.model, func(t *testing.T) {
			for _, way := range []string{"t", "i"} {
				r.check(t, table, way)
			}
		})
	}
}

func (r row) check(t *testing.T, table *want.Table, way string) {
	path, base := r.text, `"prompt":"p"`
	if way == "i" {
		path, base = r.image, base+`,"image":"`+first+`"`
	}
	if path == "-" {
		if got := fulfil(t, table, r.model, "{"+base+"}", false); got.err == nil {
			t.Errorf("{%s} makes %s of what it cannot do", base, got.model)
		}
		return
	}
	lands := func(wish, field, value string) {
		t.Helper()
		got := fulfil(t, table, r.model, "{"+base+","+wish+"}", false)
		if got.err != nil || got.model != r.model+path || string(got.input[field]) != value {
			t.Errorf("%s: %s of %s is %s, %v; want %s of %s", wish, field, got.model, got.input[field], got.err, value,
				r.model+path)
		}
	}
	refused := func(wish, field string, allowed bool) {
		t.Helper()
		got := fulfil(t, table, r.model, "{"+base+","+wish+"}", false)
		var u *want.Unsupported
		if !errors.As(got.err, &u) || u.Field != field || allowed != (len(u.Allowed) > 0) {
			t.Errorf("%s: made %v, error %v, want a refusal of %s", wish, got.input, got.err, field)
		}
		soft := fulfil(t, table, r.model, "{"+base+","+wish+"}", true)
		if soft.err != nil || len(soft.warnings) != 1 || !strings.HasPrefix(soft.warnings[0], "want."+field+": ") {
			t.Errorf("%s, lenient: %q, %v", wish, soft.warnings, soft.err)
		}
	}
	either := func(wish, field, name, value string) {
		t.Helper()
		if name == "-" {
			refused(wish, field, false)
		} else {
			lands(wish, name, value)
		}
	}
	if way == "i" {
		lands(`"audio":null`, r.first, `"`+first+`"`)
		if r.last != "-" {
			lands(`"last_frame":"`+last+`"`, r.last, `"`+last+`"`)
		}
	}
	if r.seconds == "-" {
		refused(`"duration":`+r.no, "duration", false)
	} else {
		lands(`"duration":`+r.seconds, "duration", r.duration)
		if r.no != "-" {
			refused(`"duration":`+r.no, "duration", true)
		}
	}
	if strings.Contains(r.ratio, way) {
		lands(`"aspect_ratio":"9:16"`, "aspect_ratio", `"9:16"`)
		refused(`"aspect_ratio":"7:5"`, "aspect_ratio", true)
	} else {
		refused(`"aspect_ratio":"9:16"`, "aspect_ratio", false)
	}
	resolution, only := strings.CutPrefix(r.resolution, "i:")
	switch {
	case resolution == "-" || only && way == "t":
		refused(`"resolution":"720p"`, "resolution", false)
	default:
		lands(`"resolution":"`+strings.ToUpper(resolution)+`"`, "resolution", `"`+resolution+`"`)
		refused(`"resolution":"999p"`, "resolution", true)
	}
	either(`"audio":false`, "audio", r.audio, "false")
	either(`"seed":0`, "seed", r.seed, "0")
	either(`"negative_prompt":"rain"`, "negative_prompt", r.negative, `"rain"`)
	refused(`"voice":"Rachel"`, "voice", false)
}

// TestForms: what is a field of its own elsewhere and takes another form here.
func TestForms(t *testing.T) {
	table := load(t)
	for _, r := range []struct{ model, wish, id, input string }{
		{"veo3.1", `{"prompt":"p","image":"` + first + `","last_frame":"` + last + `"}`, "fal-ai/veo3.1/first-last-frame-to-video", `{"first_frame_url":"` + first + `","last_frame_url":"` + last + `","prompt":"p"}`},
		{"pixverse-v6", `{"prompt":"p","image":"` + first + `","last_frame":"` + last + `"}`, "fal-ai/pixverse/v6/transition", `{"end_image_url":"` + last + `","first_image_url":"` + first + `","prompt":"p"}`},
		{"veo3.1", `{"prompt":"p","references":["` + first + `"],"duration":8}`, "fal-ai/veo3.1/reference-to-video", `{"duration":"8s","image_urls":["` + first + `"],"prompt":"p"}`},
		{"kling-o3", `{"references":["` + first + `"],"image":"` + first + `"}`, "fal-ai/kling-video/o3/pro/reference-to-video", `{"image_urls":["` + first + `"],"start_image_url":"` + first + `"}`},
		{"wan-v2.2", `{"prompt":"p","image":"` + first + `","duration":5}`, "fal-ai/wan/v2.2-a14b/image-to-video/lora", `{"image_url":"` + first + `","num_frames":81,"prompt":"p"}`},
		{"ltx-2.3-22b", `{"prompt":"p","duration":5}`, "fal-ai/ltx-2.3-22b/text-to-video", `{"num_frames":121,"prompt":"p"}`},
		{"flux-schnell", `{"prompt":"p","aspect_ratio":"16:9","seed":7}`, "fal-ai/flux/schnell", `{"image_size":"landscape_16_9","prompt":"p","seed":7}`},
		{"nano-banana-2", `{"prompt":"p","image":"` + first + `","references":["` + last + `"],"resolution":"2k"}`, "fal-ai/nano-banana-2/edit", `{"image_urls":["` + first + `","` + last + `"],"prompt":"p","resolution":"2K"}`},
		{"fal-ai/minimax/speech-2.8-hd", `{"text":"hello","voice":"Wise_Woman","options":{"voice_setting":{"speed":1.2}}}`, "fal-ai/minimax/speech-2.8-hd", `{"output_format":"url","prompt":"hello","voice_setting":{"speed":1.2,"voice_id":"Wise_Woman"}}`},
		{"eleven-v3", `{"text":"hello","voice":"Rachel"}`, "fal-ai/elevenlabs/tts/eleven-v3", `{"text":"hello","voice":"Rachel"}`},
		{"minimax-music-v2.6", `{"prompt":"p","text":"la"}`, "fal-ai/minimax-music/v2.6", `{"lyrics":"la","prompt":"p"}`},
		{"fal-ai/minimax/voice-design", `{"prompt":"p","text":"hello"}`, "fal-ai/minimax/voice-design", `{"preview_text":"hello","prompt":"p"}`},
		{"voice-clone", `{"text":"hello","options":{"audio_url":"` + first + `"}}`, "fal-ai/minimax/voice-clone", `{"audio_url":"` + first + `","text":"hello"}`},
		{"voice-clone", `{"references":[{"$file":"v.wav"}]}`, "fal-ai/minimax/voice-clone", `{"audio_url":{"$file":"v.wav"}}`},
		{"voice_clone", `{"references":[{"$file":"v.wav"}],"text":"hello"}`, "voice_clone", `{"file_id":{"$file":"v.wav"},"model":"speech-2.8-hd","text":"hello"}`},
		{"voice_clone", `{"options":{"file_id":7}}`, "voice_clone", `{"file_id":7,"model":"speech-2.8-hd"}`},
		{"voice_design", `{"prompt":"p","text":"hello"}`, "voice_design", `{"preview_text":"hello","prompt":"p"}`},
		{"h3", `{"prompt":"p"}`, "MiniMax-H3", `{"content":[{"text":"p","type":"text"}],"duration":5,"ratio":"16:9","resolution":"768P"}`},
		{"h3", `{"prompt":"p","image":"` + first + `","last_frame":"` + last + `","duration":7,"resolution":"2k"}`, "MiniMax-H3", `{"content":[{"text":"p","type":"text"},{"image_url":{"url":"` + first + `"},"role":"first_frame","type":"image_url"},{"image_url":{"url":"` + last + `"},"role":"last_frame","type":"image_url"}],"duration":7,"resolution":"2K"}`},
		{"h3", `{"prompt":"p","references":["` + first + `"],"aspect_ratio":"adaptive"}`, "MiniMax-H3", `{"content":[{"text":"p","type":"text"},{"image_url":{"url":"` + first + `"},"role":"reference_image","type":"image_url"}],"duration":5,"ratio":"adaptive","resolution":"768P"}`},
		{"S2V-01", `{"prompt":"p","references":["` + first + `"]}`, "S2V-01", `{"prompt":"p","subject_reference":[{"image":["` + first + `"],"type":"character"}]}`},
		{"hailuo-02", `{"prompt":"p","last_frame":"` + last + `"}`, "MiniMax-Hailuo-02", `{"last_frame_image":"` + last + `","prompt":"p"}`},
		{"hailuo-02", `{"image":"` + first + `","resolution":"512p"}`, "MiniMax-Hailuo-02", `{"first_frame_image":"` + first + `","resolution":"512P"}`},
		{"speech-2.8-hd", `{"text":"hello","voice":{"$from":"v","field":"voice_id"}}`, "speech-2.8-hd", `{"text":"hello","voice_setting":{"voice_id":{"$from":"v","field":"voice_id"}}}`},
		{"image-01", `{"prompt":"p","references":["` + first + `"],"seed":0}`, "image-01", `{"prompt":"p","seed":0,"subject_reference":[{"image_file":"` + first + `","type":"character"}]}`},
		{"music-2.6", `{"prompt":"p"}`, "music-2.6", `{"prompt":"p"}`},
		{"kling-v3", `{"prompt":"p","image":{"$from":"shot-1"}}`, "fal-ai/kling-video/v3/pro/image-to-video", `{"prompt":"p","start_image_url":{"$from":"shot-1"}}`},
		{"kling-v3", `{"prompt":"p","options":{"cfg_scale":0.7}}`, "fal-ai/kling-video/v3/pro/text-to-video", `{"cfg_scale":0.7,"prompt":"p"}`},
		{"kling-v3", `{"prompt":"p","duration":5,"options":{"duration":"5"}}`, "fal-ai/kling-video/v3/pro/text-to-video", `{"duration":"5","prompt":"p"}`},
	} {
		got := fulfil(t, table, r.model, r.wish, false)
		input, err := events.Marshal(got.input)
		if err != nil {
			t.Fatal(err)
		}
		if got.err != nil || got.model != r.id || string(input) != r.input || len(got.warnings) > 0 {
			t.Errorf("%s %s:\ngot  %s %s %v %q\nwant %s %s", r.model, r.wish, got.model, input, got.err, got.warnings, r.id,
				r.input)
		}
	}
}

func TestRefused(t *testing.T) {
	table := load(t)
	for _, r := range []struct{ model, wish, err string }{
		{"kling-v3", `{"prompt":"p","duration":2}`, "want.duration: 2 seconds are not supported; allowed: 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15"},
		{"fal-ai/kling-video/v3/pro/text-to-video", `{"prompt":"p","image":"` + first + `"}`, "want.image: fal-ai/kling-video/v3/pro/text-to-video takes none"},
		{"kling-v3", `{"prompt":"p","last_frame":"` + last + `"}`, "want.image: is missing: fal-ai/kling-video/v3/pro needs it beside last_frame"},
		{"hailuo-2.3-fast", `{"prompt":"p"}`, "want.image: is missing: MiniMax-Hailuo-2.3-Fast needs it"},
		{"h3", `{"prompt":"p","references":["` + first + `"],"image":"` + first + `"}`, "want.references: MiniMax-H3 does not take it together with image"},
		{"h3", `{"image":"` + first + `"}`, "want.prompt: is missing: MiniMax-H3 needs it"},
		{"h3", `{"prompt":"p","image":"` + first + `","aspect_ratio":"16:9"}`, "want.aspect_ratio: MiniMax-H3 cannot be told this"},
		{"h3", `{"prompt":"p","duration":3}`, "want.duration: 3 seconds are not supported; allowed: 4 to 15"},
		{"hailuo-2.3", `{"prompt":"p","duration":10,"resolution":"1080p"}`, "want.duration: MiniMax-Hailuo-2.3 does not take 10 with resolution 1080P; allowed: 6"},
		{"hailuo-2.3", `{"prompt":"` + strings.Repeat("é", 2001) + `"}`, "want.prompt: 2001 characters; allowed: at most 2000 characters"},
		{"voice-clone", `{"text":"hello"}`, "want.references: is missing: fal-ai/minimax/voice-clone needs it"},
		{"voice_clone", `{"references":["` + first + `","` + last + `"]}`, "want.references: 2 are too many; allowed: 1"},
		{"voice_clone", `{"references":["` + first + `"]}`, "want.references: a link is not supported; allowed: the name of a file that was handed in"},
		{"speech-2.8-hd", `{"text":"hello"}`, "want.voice: is missing: speech-2.8-hd needs it"},
		{"speech-2.8-hd", `{"prompt":"hello","voice":"a"}`, "want.prompt: speech-2.8-hd cannot be told this"},
		{"wan-v2.2", `{"prompt":"p","duration":11}`, "want.duration: 11 seconds are not supported; allowed: 1 to 10"},
		{"grok-imagine-video", `{"prompt":"p","references":[` + strings.Repeat(`"`+first+`",`, 7) + `"` + first + `"]}`, "want.references: 8 are too many; allowed: at most 7"},
		{"luma-ray-2", `{"prompt":"p","options":{"lop":true}}`, "want.options.lop: fal-ai/luma-dream-machine/ray-2 has no such field; allowed: aspect_ratio, duration, loop, prompt, resolution"},
		{"luma-ray-2", `{"prompt":"p","options":{"loop":"yes"}}`, "want.options.loop: fal-ai/luma-dream-machine/ray-2: must be of type boolean"},
		{"luma-ray-2", `{"prompt":"p","duration":5,"options":{"duration":"9s"}}`, "want.options.duration: contradicts want.duration"},
		{"wan-v2.2", `{"prompt":"p","duration":5,"options":{"frames_per_second":24}}`, "want.options.frames_per_second: contradicts want.duration, which counts 16 frames a second"},
		{"speech-2.8-hd", `{"text":"t","voice":"a","options":{"voice_setting":{"voice_id":"b"}}}`, "want.options.voice_setting.voice_id: contradicts want.voice"},
		{"h3", `{"prompt":"p","options":{"content":[]}}`, "want.options.content: contradicts want.prompt"},
	} {
		got := fulfil(t, table, r.model, r.wish, false)
		if got.err == nil || got.err.Error() != r.err {
			t.Errorf("%s %.200s: %v\nwant %s", r.model, r.wish, got.err, r.err)
		}
	}
}

// TestLenient: everything that cannot be fulfilled is named, and the rest is sent.
func TestLenient(t *testing.T) {
	got := fulfil(t, load(t), "hailuo-2.3", `{"prompt":"p","last_frame":"`+last+`","seed":1,"audio":true,"duration":10,
		"resolution":"1080p","options":{"nonsense":1}}`, true)
	input, err := events.Marshal(got.input)
	if err != nil {
		t.Fatal(err)
	}
	if got.err != nil || string(input) != `{"prompt":"p","resolution":"1080P"}` {
		t.Errorf("made %s, %v", input, got.err)
	}
	for i, field := range []string{"last_frame", "seed", "audio", "options.nonsense", "duration"} {
		if i >= len(got.warnings) || !strings.HasPrefix(got.warnings[i], "want."+field+": ") {
			t.Fatalf("warnings %q", got.warnings)
		}
	}
}

// TestServed: a schema that is served takes the place of the copy, and a field that is gone is told from one that never
// was.
func TestServed(t *testing.T) {
	const document = `{"openapi":"3.0.4","components":{"schemas":{"V3Input":{"type":"object","required":["prompt"],"properties":{
		"prompt":{"type":"string","maxLength":5},"duration":{"anyOf":[{"type":"string","enum":["5","20"]},{"type":"null"}]},
		"style":{"$ref":"#/components/schemas/Style"}}}}},
		"paths":{"/a/b":{"post":{"requestBody":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/V3Input"}}}}}}}}`
	served, err := want.ParseOpenAPI("a/b", []byte(document))
	if err != nil {
		t.Fatal(err)
	}
	m, _ := load(t).Find("fal", "kling-v3")
	e := m.Endpoints[0]
	input, _, err := e.Fulfil(events.Want{Prompt: "kite", Duration: 20, Options: json.RawMessage(`{"style":{"x":1}}`)}, served, false)
	if err != nil || string(input) != `{"duration":"20","prompt":"kite","style":{"x":1}}` {
		t.Errorf("made %s, %v", input, err)
	}
	for _, r := range []struct {
		w   events.Want
		err string
	}{
		{events.Want{Prompt: "kite", Duration: 7}, "want.duration: 7 seconds are not supported; allowed: 5, 20"},
		{events.Want{Prompt: "a kite"}, "want.prompt: 6 characters; allowed: at most 5 characters"},
		{events.Want{Prompt: "kite", AspectRatio: "16:9"}, "want.aspect_ratio: fal-ai/kling-video/v3/pro/text-to-video no longer has the field aspect_ratio by the schema that its provider serves"},
	} {
		if _, _, err := e.Fulfil(r.w, served, false); err == nil || err.Error() != r.err {
			t.Errorf("%+v: %v, want %s", r.w, err, r.err)
		}
	}
	for _, bad := range []string{``, `{}`, `[]`, strings.ReplaceAll(document, "/a/b", "/a/c"), strings.ReplaceAll(document, `"properties"`, `"nothing"`)} {
		if _, err := want.ParseOpenAPI("a/b", []byte(bad)); !errors.Is(err, want.ErrSchema) {
			t.Errorf("%.60s: %v", bad, err)
		}
	}
	diff := e.Input.Diff(served)
	for _, line := range []string{
		"- aspect_ratio is gone", "~ duration: values [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15] are now [5, 20]",
		"+ style is new", "~ prompt is now required",
	} {
		if !slices.Contains(diff, line) {
			t.Errorf("%q is not in %q", line, diff)
		}
	}
	if diff := e.Input.Diff(e.Input); len(diff) > 0 {
		t.Errorf("differs from itself: %q", diff)
	}
}

// TestTable: the table is sound: ids and aliases are each of one model, every field that a wish goes to is in the
// schema, and every default is taken.
func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range load(t).Models() {
		for _, name := range append([]string{m.ID}, m.Aliases...) {
			if name = m.Provider + ":" + name; seen[name] && name != m.Provider+":"+m.ID {
				t.Errorf("%s is in the table twice", name)
			}
			seen[name] = true
		}
		if len(m.Endpoints) == 0 || m.Source == "" || m.AsOf == "" || len(m.TaskTypes) == 0 {
			t.Errorf("%s: %+v", m.ID, m)
		}
		for _, tt := range m.TaskTypes {
			if !tt.Valid() {
				t.Errorf("%s: task type %s", m.ID, tt)
			}
		}
		for _, e := range m.Endpoints {
			for wish, target := range e.Fields {
				field, _, _ := strings.Cut(target.Field, ".")
				if _, ok := e.Input.Properties[field]; !ok {
					t.Errorf("%s: %s goes to %s, which is no field", e.ID, wish, field)
				}
			}
			for _, name := range e.Input.Required {
				if _, ok := e.Input.Properties[name]; !ok {
					t.Errorf("%s: %s is required and no field", e.ID, name)
				}
			}
		}
	}
}

// FuzzWant: no want yields an input that the schema refuses, and a lenient one is refused for something missing or
// contradictory alone.
func FuzzWant(f *testing.F) {
	table := load(f)
	models := table.Models()
	f.Fuzz(rapid.MakeFuzz(func(t *rapid.T) { fuzzWant(t, models) }))
}

// TestAnyWant is the fuzz test in short.
func TestAnyWant(t *testing.T) {
	models := load(t).Models()
	rapid.Check(t, func(t *rapid.T) { fuzzWant(t, models) })
}

func fuzzWant(t *rapid.T, models []want.Model) {
	m := rapid.SampledFrom(models).Draw(t, "model")
	maybe := func(name string, values ...string) string {
		return rapid.SampledFrom(append([]string{""}, values...)).Draw(t, name)
	}
	w := events.Want{
		Prompt: maybe("prompt", "p", strings.Repeat("x", 2500)), NegativePrompt: maybe("negative", "n"),
		Image: events.WantValue(maybe("image", first, `{"$from":"a"}`)), LastFrame: events.WantValue(maybe("last", last)),
		Duration:    rapid.SampledFrom([]float64{0, 0.1, 1, 2, 4, 5, 5.5, 6, 8, 10, 15, 16, 3600}).Draw(t, "duration"),
		AspectRatio: maybe("ratio", "16:9", "9:16", "AUTO", "adaptive", "x"),
		Resolution:  maybe("resolution", "720P", "768p", "1080p", "2k", "4K", "x"),
		Text:        maybe("text", "hello"), Voice: events.WantValue(maybe("voice", "v", "Vivian")),
		Options: json.RawMessage(maybe("options", `{"duration":7}`, `{"seed":"x"}`, `{"num_frames":17}`, `{"content":7}`, `{"voice_setting":{"voice_id":7}}`)),
	}
	for range rapid.IntRange(0, 10).Draw(t, "references") {
		w.References = append(w.References, first)
	}
	if rapid.Bool().Draw(t, "seeded") {
		w.Seed = new(rapid.Int64().Draw(t, "seed"))
	}
	if rapid.Bool().Draw(t, "sound") {
		w.Audio = new(rapid.Bool().Draw(t, "audio"))
	}
	lenient := rapid.Bool().Draw(t, "lenient")
	e, kept, warnings, err := m.Choose(w, lenient)
	var input json.RawMessage
	var more []string
	if err == nil {
		input, more, err = e.Fulfil(kept, e.Input, lenient)
	}
	var u *want.Unsupported
	var fe *events.FieldError
	switch {
	case err == nil:
		var got map[string]any
		if err := json.Unmarshal(input, &got); err != nil {
			t.Fatal(err)
		}
		if err := e.Input.Check(got); err != nil {
			t.Fatalf("%s: %s: %v", e.ID, input, err)
		}
		if !lenient && len(append(warnings, more...)) > 0 {
			t.Fatalf("%s: warnings %q", e.ID, more)
		}
	case errors.As(err, &u):
		if lenient && !strings.HasPrefix(u.Field, "options") {
			t.Fatalf("%s: a lenient want is refused: %v", m.ID, err)
		}
	case !errors.As(err, &fe):
		t.Fatalf("%s: %v", m.ID, err)
	}
}

// golden is one want and what is made of it.
type golden struct {
	Want  json.RawMessage `json:"want"`
	Model string          `json:"model"`
	Input json.RawMessage `json:"input"`
}

// TestGoldens: for every endpoint of the table the input of a want of everything that it can be told. testdata/inputs.json
// is also what .ci/run checks against the types of fal's own client.
func TestGoldens(t *testing.T) {
	var all []golden
	for _, m := range load(t).Models() {
		for _, e := range m.Endpoints {
			w := everything(e)
			input, warnings, err := e.Fulfil(w, e.Input, false)
			if err != nil || len(warnings) > 0 {
				t.Errorf("%s: %v %q", e.ID, err, warnings)
				continue
			}
			raw, err := events.Marshal(w)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, golden{raw, e.ID, input})
		}
	}
	raw, err := events.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	raw = append(bytes.ReplaceAll(raw, []byte(`},{"want"`), []byte("},\n{\"want\"")), '\n')
	if *update {
		if err := os.WriteFile("testdata/inputs.json", raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	old, err := os.ReadFile("testdata/inputs.json")
	if err != nil || !bytes.Equal(old, raw) {
		t.Errorf("testdata/inputs.json differs from what is made (%v); go test ./internal/want -update writes it", err)
	}
}

// everything returns a want of all that an endpoint can be told, each as the first value that it takes.
func everything(e want.Endpoint) events.Want {
	w := events.Want{}
	for wish, target := range e.Fields {
		p := e.Input.Properties[target.Field]
		text := func(otherwise string) string {
			for native := range target.Words {
				otherwise = max(otherwise, native)
			}
			if len(target.Values) > 0 {
				otherwise = target.Values[0]
			} else if len(p.Enum) > 0 && len(target.Words) == 0 {
				otherwise, _ = p.Enum[0].(string)
			}
			return otherwise
		}
		switch wish {
		case "prompt":
			w.Prompt = "a kite over dunes"
		case "negative_prompt":
			w.NegativePrompt = "rain"
		case "text":
			w.Text = "There, a kite."
		case "image":
			w.Image = first
		case "last_frame":
			w.LastFrame = last
		case "references":
			w.References = []events.WantValue{first}
		case "duration":
			w.Duration = 6
			if slices.Contains(p.Enum, any("5")) || slices.Contains(p.Enum, any("5s")) {
				w.Duration = 5
			}
		case "aspect_ratio":
			w.AspectRatio = text("16:9")
		case "resolution":
			w.Resolution = text("720p")
		case "seed":
			w.Seed = new(int64(42))
		case "audio":
			w.Audio = new(false)
		case "voice":
			w.Voice = events.WantValue(text("Wise_Woman"))
		}
	}
	switch e.Fields["references"].Field {
	case "audio_url":
		w.References = []events.WantValue{"https://files.example/voice.mp3"}
	case "file_id":
		w.References = []events.WantValue{`{"$file":"voice.mp3"}`}
	}
	return w
}

// TestDrift compares the table with the schemas that fal serves and prints what has changed. It calls a server, so it
// runs with -want.served only.
func TestDrift(t *testing.T) {
	if *served == "" {
		t.Skip("-want.served is not set")
	}
	client := &http.Client{Timeout: 30 * time.Second}
	for _, m := range load(t).Models() {
		for _, e := range m.Endpoints {
			if m.Provider != "fal" {
				continue
			}
			for _, line := range drift(t, client, *served, e) {
				t.Errorf("%s: %s", e.ID, line)
			}
		}
	}
}

// drift returns what differs between a served schema and the table.
func drift(t *testing.T, client *http.Client, base string, e want.Endpoint) []string {
	t.Helper()
	r, err := client.Get(base + "/api/openapi/queue/openapi.json?endpoint_id=" + url.QueryEscape(e.ID))
	if err != nil {
		return []string{err.Error()}
	}
	defer r.Body.Close()
	document, err := io.ReadAll(io.LimitReader(r.Body, 4<<20))
	if err != nil || r.StatusCode != http.StatusOK {
		return []string{fmt.Sprintf("answered %s, %v", r.Status, err)}
	}
	s, err := want.ParseOpenAPI(e.ID, document)
	if err != nil {
		return []string{err.Error()}
	}
	return e.Input.Diff(s)
}

// TestDriftReport: a server that has renamed a field and taken a value away is told on.
func TestDriftReport(t *testing.T) {
	m, _ := load(t).Find("fal", "kling-v2.5-turbo")
	e := m.Endpoints[1]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("endpoint_id") != e.ID {
			http.NotFound(w, r)
			return
		}
		fmt.Fprintf(w, `{"components":{"schemas":{"I":{"required":["prompt","image_url"],"properties":{"prompt":{"type":"string"},
			"image_url":{"type":"string"},"end_image_url":{"type":"string"},"negative_prompt":{"type":"string"},
			"cfg_scale":{"type":"number"},"duration":{"type":"string","enum":["5"],"default":"5"}}}}},
			"paths":{"/%s":{"post":{"requestBody":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/I"}}}}}}}}`,
			e.ID)
	}))
	defer server.Close()
	got := drift(t, server.Client(), server.URL, e)
	for _, line := range []string{
		"~ duration: values [5, 10] are now [5]", "- tail_image_url is gone", "+ end_image_url is new",
	} {
		if !slices.Contains(got, line) {
			t.Errorf("%q is not in %q", line, got)
		}
	}
	if got := drift(t, server.Client(), server.URL, m.Endpoints[0]); len(got) != 1 || !strings.Contains(got[0], "404") {
		t.Errorf("of an endpoint that is not served: %q", got)
	}
}
