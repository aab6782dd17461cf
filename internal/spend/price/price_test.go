package price_test

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"reelay/internal/spend/price"
)

func load(t *testing.T, own string) *price.Table {
	t.Helper()
	path := ""
	if own != "" {
		path = filepath.Join(t.TempDir(), "prices.json")
		if err := os.WriteFile(path, []byte(own), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	table, err := price.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// TestQuotes prices inputs by the providers' own examples and rules. A negative amount stands for a price that is not
// known.
func TestQuotes(t *testing.T) {
	const (
		kling = "fal-ai/kling-video/v3/pro/text-to-video"
		cheap = "fal-ai/kling-video/v3/standard/text-to-video"
		veo   = "fal-ai/veo3.1"
		clip  = "MiniMax-Hailuo-2.3"
	)
	image := `{"type":"image_url","image_url":{"url":"https://i"}}`
	for _, row := range []struct {
		provider, model, input string
		usd, fixed, unit       float64
		byUnits                bool
	}{
		{"fal", kling, `{"prompt":"p"}`, 0.84, 0, 0.168, true},
		{"fal", kling, `{"generate_audio":false,"duration":"10"}`, 1.12, 0, 0.112, true},
		{"fal", kling, `{"duration":7}`, 1.176, 0, 0.168, true},
		{"fal", kling, `{"duration":null,"voice_ids":[]}`, 0.84, 0, 0.168, true},
		{"fal", kling, `{"duration":"5","multi_prompt":[{"duration":"5"},{"duration":"4"}]}`, 1.512, 0, 0.168, true},
		{"fal", cheap, `{"duration":"5","voice_ids":["a"]}`, 0.77, 0, 0.154, true},
		{"fal", veo, `{"duration":"8s","resolution":"1080p"}`, 3.2, 0, 0.4, true},
		{"fal", veo, `{"resolution":"4K","generate_audio":false}`, 3.2, 0, 0.4, true},
		{"fal", veo, `{"duration":"soon"}`, 3.2, 0, 0.4, true},
		{"fal", "fal-ai/flux/dev", `{"num_images":4}`, 0.1, 0, 0.025, true},
		{"fal", "fal-ai/flux/dev", `{"num_images":2,"image_size":{"width":1500,"height":1000}}`, 0.1, 0, 0.025, true},
		{"fal", "fal-ai/flux/dev", `{"image_size":"square_hd"}`, 0.025, 0, 0.025, true},
		{"fal", "fal-ai/unheard-of", `{}`, -1, 0, 0, false},
		{"minimax", kling, `{}`, -1, 0, 0, false},
		{"minimax", clip, `{}`, 0.28, 0.28, 0, false},
		{"minimax", "speech-2.8-hd", `{"text":"good evening"}`, 0.0012, 0, 0.0001, true},
		{"minimax", "t2a_v2/speech-2.6-turbo", `{"text":"good evening"}`, 0.00072, 0, 0.00006, true},
		{"fal", "fal-ai/minimax/speech-2.8-hd", `{"prompt":"good evening"}`, 0.0012, 0, 0.0001, true},
		{"fal", "fal-ai/minimax/speech-2.8-hd", `{"text":"a","prompt":"good evening"}`, 0.0012, 0, 0.0001, true},
		{"fal", "fal-ai/minimax/speech-2.8-turbo", `{"prompt":"good evening"}`, 0.00072, 0, 0.00006, true},
		{"fal", "fal-ai/elevenlabs/tts/eleven-v3", `{"text":"good evening"}`, 0.0012, 0, 0.0001, true},
		{"fal", "fal-ai/minimax/voice-clone", `{"audio_url":"https://media.test/v.wav"}`, 1.5, 1.5, 0, false},
		{"fal", "fal-ai/minimax/voice-clone", `{"audio_url":"https://media.test/v.wav","text":"hi"}`, -1, 0, 0, false},
		{"fal", "fal-ai/minimax/voice-design", `{"prompt":"deep","preview_text":"hi"}`, 3.015, 3.015, 0, false},
		{"fal", "fal-ai/minimax/image-01", `{"prompt":"a kite","num_images":3}`, 0.03, 0, 0.01, true},
		{"minimax", "speech-2.8-hd", `{"text_file_id":17}`, -1, 0, 0, false},
		{"minimax", "image-01", `{"prompt":"p","n":4}`, 0.014, 0, 0.0035, true},
		{"minimax", "voice_clone", `{"file_id":17}`, 1.5, 1.5, 0, false},
		{"minimax", "get_voice", `{"voice_type":"all"}`, 0, 0, 0, false},
		{"minimax", "music-2.6", `{"lyrics":"la"}`, 0.15, 0.15, 0, false},
		{"minimax", clip, `{"resolution":"768P","duration":10}`, 0.56, 0.56, 0, false},
		{"minimax", clip, `{"resolution":"1080P"}`, 0.49, 0.49, 0, false},
		{"minimax", clip, `{"resolution":"1080P","duration":10}`, -1, 0, 0, false},
		{"minimax", "MiniMax-H3", `{"resolution":"768P","duration":6}`, 0.48, 0, 0.08, true},
		{
			"minimax", "MiniMax-H3", `{"resolution":"2K","duration":4,"content":[` + strings.Repeat(image+",", 6) + image + `]}`,
			0.6, 0.08, 0.13, true,
		},
		{"minimax", "MiniMax-H3", `{"resolution":"768P","duration":5,"content":[{"type":"video_url"}]}`, 0.8, 0, 0.08, true},
		{"minimax", "MiniMax-H3-Max", `{"resolution":"768P","duration":5,"content":[{"type":"video_url"}]}`, -1, 0, 0, false},
		{"minimax", "MiniMax-H3", `{"duration":5}`, -1, 0, 0, false},
		{"fal", kling, `not JSON`, 0.84, 0, 0.168, true},
	} {
		q := load(t, "").Quote(row.provider, row.model, json.RawMessage(row.input))
		want := price.Quote{Known: row.usd >= 0, Basis: q.Basis}
		if want.Known {
			want = price.Quote{
				Known: true, USD: row.usd, FixedUSD: row.fixed, ByUnits: row.byUnits, UnitUSD: row.unit,
				Basis: q.Basis,
			}
		}
		if q != want {
			t.Errorf("%s %s %s:\ngot  %+v\nwant %+v", row.provider, row.model, row.input, q, want)
		}
		if q.Known != strings.Contains(q.Basis, "(https://") {
			t.Errorf("%s: the basis %q does not name its source", row.model, q.Basis)
		}
	}
}

// TestNilTable: without a table nothing is known.
func TestNilTable(t *testing.T) {
	var none *price.Table
	if q := none.Quote("fal", "fal-ai/flux/dev", nil); q.Known {
		t.Errorf("got %+v", q)
	}
}

// TestOwnTable: a file takes the place of the models it names, and of no others.
func TestOwnTable(t *testing.T) {
	table := load(t, `{"prices":[{"provider":"fal","models":["fal-ai/flux/dev","own/tts"],"unit":"character",
		"rates":[{"when":{"voice":["gold"]},"usd":0.001},{"usd":0.0001}],"source":"our contract","as_of":"2026-01-31"}]}`)
	for _, row := range []struct {
		model, input string
		usd          float64
	}{
		{"own/tts", `{"text":"grüße"}`, 0.0005},
		{"own/tts", `{"prompt":"four","voice":"Gold"}`, 0.004},
		{"own/tts", `{}`, 0},
		{"fal-ai/flux/dev", `{"prompt":"four"}`, 0.0004},
		{"fal-ai/flux/schnell", `{"prompt":"four"}`, 0.003},
	} {
		if q := table.Quote("fal", row.model, json.RawMessage(row.input)); !q.Known || q.USD != row.usd {
			t.Errorf("%s %s: got %+v, want %v", row.model, row.input, q, row.usd)
		}
	}
}

func TestWrongTables(t *testing.T) {
	good := map[string]string{
		"provider": `"fal"`, "models": `["m"]`, "unit": `"second"`, "default": `5`, "rates": `[{"usd":1}]`, "source": `"s"`,
		"as_of": `"2026-01-31"`,
	}
	for _, row := range []struct{ field, value, want string }{
		{"provider", `""`, "row 1: provider: is missing"},
		{"models", `[]`, "row 1: models: is missing"},
		{"models", `["m",""]`, "row 1: models: is missing or has an empty one"},
		{"models", `["m","m"]`, "row 1: models: fal m has a row already"},
		{"unit", `"hour"`, `row 1: unit: "hour" is not one of`},
		{"default", `0`, "row 1: default: 0 is not above 0"},
		{"default", `-1`, "row 1: default: -1 is not above 0"},
		{"rates", `[]`, "row 1: rates: is missing"},
		{"rates", `[{"usd":-0.1}]`, "row 1: rates: usd: -0.1 is not between 0 and"},
		{"free_images", `-1`, "row 1: free_images: -1 is negative"},
		{"image_usd", `20000`, "row 1: image_usd: 20000 is not between 0 and"},
		{"source", `""`, "row 1: source: is missing"},
		{"as_of", `"lately"`, `row 1: as_of: "lately" is not a day`},
		{"prize", `1`, `unknown field "prize"`},
	} {
		t.Run(row.field+"="+row.value, func(t *testing.T) {
			members := []string{`"` + row.field + `":` + row.value}
			for name, value := range good {
				if name != row.field {
					members = append(members, `"`+name+`":`+value)
				}
			}
			path := filepath.Join(t.TempDir(), "p.json")
			if err := os.WriteFile(path, []byte(`{"prices":[{`+strings.Join(members, ",")+`}]}`), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := price.Load(path)
			if !errors.Is(err, price.ErrTable) || !strings.Contains(err.Error(), row.want) ||
				!strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want %q in it", err, row.want)
			}
		})
	}
	if _, err := price.Load("/no/such/file"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	path := filepath.Join(t.TempDir(), "big.json")
	if err := os.WriteFile(path, make([]byte, 1<<20+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := price.Load(path); !errors.Is(err, price.ErrTable) || !strings.Contains(err.Error(), "1048576 bytes") {
		t.Errorf("large file: %v", err)
	}
}

// FuzzQuote: whatever an input says, its price is a finite amount that is not negative.
func FuzzQuote(f *testing.F) {
	for _, input := range []string{
		`{"duration":"1e308","num_images":-4}`, `{"duration":"NaN"}`, `{"content":[1,null,{"type":7}]}`,
		`{"image_size":{"width":1e300,"height":1e300}}`, `[]`, `{"multi_prompt":[{"duration":"Infinity"}]}`,
	} {
		f.Add(input)
	}
	table, err := price.Load("")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, input string) {
		for _, m := range []struct{ provider, model string }{
			{"fal", "fal-ai/veo3.1"}, {"fal", "fal-ai/flux/dev"}, {"minimax", "MiniMax-H3"}, {"minimax", "MiniMax-Hailuo-02"},
		} {
			q := table.Quote(m.provider, m.model, json.RawMessage(input))
			if q.USD < 0 || math.IsInf(q.USD, 0) || math.IsNaN(q.USD) || q.USD != price.Round(q.USD) {
				t.Errorf("%s %s: %+v", m.model, input, q)
			}
		}
	})
}
