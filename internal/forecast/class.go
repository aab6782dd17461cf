package forecast

import (
	"encoding/json"
	"math"
	"regexp"
	"strconv"
	"strings"

	"reelay/events"
	"reelay/events/bucket"
)

// A Class is what tasks of about the same length have in common.
type Class struct {
	Provider string
	TaskType events.TaskType
	Model    string
	// Size is the size class of the input, "" if it does not tell one.
	Size string
}

// Keys returns the keys under which a class is learned, the general first.
func (c Class) Keys() []string { return bucket.ForecastKeys(c.Provider, c.TaskType, c.Model, c.Size) }

// ClassOf tells the class of a task from its record. An input that is not in the record tells no size.
func ClassOf(t events.Task) Class {
	return Class{Provider: t.Provider, TaskType: t.TaskType, Model: t.Model, Size: sizeOf(t.TaskType, t.Input)}
}

// sizeOf tells the coarse size of an input: length, picture, steps and number, each of a few steps, so that there are
// at most 7 x 5 x 4 x 4 sizes of a model. The fields are those that the providers' models share; one that is absent, or
// of another type, says nothing.
func sizeOf(t events.TaskType, input json.RawMessage) string {
	var in struct {
		Duration   any             `json:"duration"`
		NumFrames  any             `json:"num_frames"`
		Resolution any             `json:"resolution"`
		ImageSize  any             `json:"image_size"`
		Steps      any             `json:"num_inference_steps"`
		NumImages  any             `json:"num_images"`
		N          any             `json:"n"`
		Text       json.RawMessage `json:"text"`
		Prompt     json.RawMessage `json:"prompt"`
	}
	if json.Unmarshal(input, &in) != nil {
		return ""
	}
	var parts []string
	add := func(name string, value float64, steps ...float64) {
		if value <= 0 {
			return
		}
		for _, s := range steps {
			if value <= s {
				parts = append(parts, name+strconv.FormatFloat(s, 'f', -1, 64))
				return
			}
		}
		parts = append(parts, name+"more")
	}
	seconds := number(in.Duration)
	if seconds == 0 {
		seconds = number(in.NumFrames) / 24
	}
	add("s", seconds, 4, 6, 8, 12, 20, 60)
	add("p", max(lines(in.Resolution), lines(in.ImageSize)), 512, 768, 1080, 1536)
	add("i", number(in.Steps), 8, 20, 40)
	add("n", max(number(in.NumImages), number(in.N)), 1, 2, 4)
	if t == events.Speech || t == events.Audio || t == events.Music {
		add("t", float64(max(len(in.Text), len(in.Prompt))), 200, 1_000, 5_000)
	}
	return strings.Join(parts, "-")
}

var leadingNumber = regexp.MustCompile(`^\s*\d+(\.\d+)?`)

// number reads 5, "5" and "5s"; 0 if it is none of these.
func number(v any) float64 {
	switch v := v.(type) {
	case float64:
		if v > 0 && !math.IsInf(v, 0) {
			return v
		}
	case string:
		if f, err := strconv.ParseFloat(strings.TrimSpace(leadingNumber.FindString(v)), 64); err == nil {
			return f
		}
	}
	return 0
}

// lines reads the lines of a picture: "768P", "2K", "4k", 720, "1024x1024", {"width":1024,"height":768}. 0 if it is
// none of these.
func lines(v any) float64 {
	switch v := v.(type) {
	case map[string]any:
		return math.Sqrt(number(v["width"]) * number(v["height"]))
	case string:
		n := number(v)
		if strings.HasSuffix(strings.ToLower(v), "k") {
			return n * 540 // 2K has about 1080 lines, 4K about 2160
		}
		return n
	}
	return number(v)
}
