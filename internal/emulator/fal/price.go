package fal

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"reelay/internal/emulator"
)

// A tariff is what a model costs: fal bills in units of its own for each model.
type tariff struct {
	unit    string
	unitUSD float64
	// silentUSD is the price of a unit with "generate_audio": false, 0 if that makes no difference.
	silentUSD float64
	// seconds is how long a video is whose input does not say.
	seconds float64
}

// tariffs are those of some models by their own pages, at the resolution and with the options that they have by
// default.
var tariffs = map[string]tariff{
	"fal-ai/kling-video/v3/pro/text-to-video":      {"second", 0.168, 0.112, 5},
	"fal-ai/kling-video/v3/pro/image-to-video":     {"second", 0.168, 0.112, 5},
	"fal-ai/kling-video/v3/standard/text-to-video": {"second", 0.126, 0.084, 5},
	"fal-ai/veo3.1":                {"second", 0.40, 0.20, 8},
	"fal-ai/veo3.1/image-to-video": {"second", 0.40, 0.20, 8},
	"fal-ai/veo3.1/fast":           {"second", 0.15, 0.10, 8},
	"fal-ai/flux/dev":              {"megapixel", 0.025, 0, 0},
	"fal-ai/flux/schnell":          {"megapixel", 0.003, 0, 0},
}

// kinds are stand-ins for the tariffs of all other models, by what a model makes.
var kinds = map[string]tariff{
	"video": {"second", 0.07, 0, 5},
	"image": {"image", 0.025, 0, 0},
	"audio": {"1000 characters", 0.05, 0, 0},
}

func tariffOf(model string) tariff {
	if t, ok := tariffs[model]; ok {
		return t
	}
	return kinds[mediaType(model)]
}

const maxImages = 4

// unitsOf is how many units a job costs if it succeeds. An image counts as one megapixel, whatever its size.
func unitsOf(j emulator.Job) float64 {
	var in struct {
		Duration json.RawMessage `json:"duration"`
		Prompt   string          `json:"prompt"`
		Text     string          `json:"text"`
	}
	_ = json.Unmarshal(j.Input, &in) // a field of another type is as good as none
	switch mediaType(j.Model) {
	case "image":
		return float64(imagesOf(j))
	case "audio":
		return float64(max(1, utf8.RuneCountInString(in.Text+in.Prompt))) / 1000
	default:
		// Models disagree: 5, "5", "5s" and "auto" are all seen.
		text := strings.TrimSuffix(strings.Trim(string(in.Duration), `"`), "s")
		if s, err := strconv.ParseFloat(text, 64); err == nil && s > 0 && s <= 3600 {
			return s
		}
		return tariffOf(j.Model).seconds
	}
}

// imagesOf is how many images a job makes.
func imagesOf(j emulator.Job) int {
	var in struct {
		NumImages int `json:"num_images"`
	}
	_ = json.Unmarshal(j.Input, &in)
	return min(max(1, in.NumImages), maxImages)
}

// priceUSD is what a job costs if it succeeds, to the billionth of a dollar, in which fal counts.
func priceUSD(j emulator.Job) float64 {
	var in struct {
		Audio json.RawMessage `json:"generate_audio"`
	}
	_ = json.Unmarshal(j.Input, &in) // it was accepted, whatever it is
	t := tariffOf(j.Model)
	usd := t.unitUSD
	if string(in.Audio) == "false" && t.silentUSD > 0 {
		usd = t.silentUSD
	}
	return math.Round(unitsOf(j)*usd*1e9) / 1e9
}

// billed reports whether a job in that state is charged for. fal charges for no error of its own and not for time in
// the queue; it may charge for a 422 that a model could only find after it had worked.
func billed(l jobState) bool {
	if l.word != completed {
		return false
	}
	return l.fail == nil || l.fail.errorType == "content_policy_violation" || l.fail.errorType == "no_media_generated"
}

// billedUnits is the header X-Fal-Billable-Units of a result.
func billedUnits(j emulator.Job, l jobState) string {
	if !billed(l) {
		return "0"
	}
	return strconv.FormatFloat(unitsOf(j), 'f', -1, 64)
}

// charge is what a job was charged for so far.
func (s *Server) charge(j emulator.Job) float64 {
	if !billed(s.stateOf(j, time.Now())) {
		return 0
	}
	return j.PriceUSD
}

// pricePath is of fal's platform API.
const pricePath = "/v1/models/pricing"

// prices answers with the unit prices of the models that are asked for.
func prices(w http.ResponseWriter, r *http.Request) {
	type price struct {
		EndpointID string  `json:"endpoint_id"`
		UnitPrice  float64 `json:"unit_price"`
		Unit       string  `json:"unit"`
		Currency   string  `json:"currency"`
	}
	body := struct {
		Prices     []price `json:"prices"`
		NextCursor *string `json:"next_cursor"`
		HasMore    bool    `json:"has_more"`
	}{Prices: []price{}}
	for _, list := range r.URL.Query()["endpoint_id"] {
		for _, id := range strings.Split(list, ",") {
			if len(body.Prices) == maxListEndpoints {
				detail(w, http.StatusUnprocessableEntity, "endpoint_id: give 1 to "+strconv.Itoa(maxListEndpoints))
				return
			}
			t := tariffOf(id)
			body.Prices = append(body.Prices, price{id, t.unitUSD, t.unit, "USD"})
		}
	}
	reply(w, http.StatusOK, "", body)
}
