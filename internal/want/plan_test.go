package want_test

import (
	"strings"
	"testing"

	"reelay/events"
	"reelay/internal/want"
)

// TestPlan: the provider and the model that a request leaves out.
func TestPlan(t *testing.T) {
	both := []string{"fal", "minimax"}
	const pro = "fal-ai/kling-video/v3/pro/text-to-video"
	for _, r := range []struct {
		defaults, provider, model string
		of                        events.TaskType
		there                     []string
		want, err                 string
	}{
		{"", "", "", events.Video, both, "fal " + pro, ""},
		{"", "", "", events.Video, both[1:], "minimax MiniMax-Hailuo-2.3", ""},
		{"", "minimax", "", events.Video, both, "minimax MiniMax-Hailuo-2.3", ""},
		{"video=minimax:h3", "", "", events.Video, both, "minimax MiniMax-H3", ""},
		{"video=minimax:h3", "fal", "", events.Video, both, "fal " + pro, ""},
		{"video=minimax:h3", "", "", events.Video, both[:1], "fal " + pro, ""},
		{"", "", "kling-v3", events.Video, both, "fal " + pro, ""},
		{"", "", "KLING-V3", events.Video, both, "fal " + pro, ""},
		{"", "", pro, events.Video, both, "fal " + pro, ""},
		{"", "", "flux-dev", events.Image, both, "fal fal-ai/flux/dev", ""},
		{"", "", "", events.Voice, both, "", "model: is missing: no default makes voice at fal, minimax"},
		{"", "", "", events.Video, nil, "", "model: is missing: no default makes video at "},
		{"", "", "flux-dev", events.Video, both, "", `model: "flux-dev" makes no video`},
		{"", "minimax", "kling-v3", events.Video, both, "", `model: "kling-v3" is one of provider fal`},
		{"", "fal", "fal-ai/unheard-of", events.Video, both, "", `model: "fal-ai/unheard-of" is none that a want is known for; *`},
		{"", "openai-videos", "Org/any-T2V", events.Video, both, "openai-videos Org/any-T2V", ""},
		{"", "", "Org/any-T2V", events.Video, []string{"openai-videos", "openai-videos"}, "openai-videos Org/any-T2V", ""},
		{"", "", "Org/any-T2V", events.Video, []string{"fal", "openai-videos"}, "", `model: "Org/any-T2V" is none that a want is known for; *`},
		{"", "openai-videos", "Org/any", events.Image, both, "openai-videos images/Org/any", ""},
		{"", "openai-videos", "Org/any", events.Music, both, "", `model: "Org/any" is none that a want is known for; *`},
	} {
		p, err := want.NewPlanner(strings.Fields(r.defaults)...)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.Plan(want.Question{
			TaskType: r.of, Provider: r.provider, Model: r.model, Configured: r.there, Want: events.Want{Prompt: "p"},
		}, nil)
		if r.err != "" {
			prefix, any := strings.CutSuffix(r.err, "*")
			if err == nil || err.Error() != r.err && !(any && strings.HasPrefix(err.Error(), prefix)) {
				t.Errorf("%+v: %v", r, err)
			}
			continue
		}
		if err != nil || got.Provider+" "+got.Model != r.want {
			t.Errorf("%+v: %s %s, %v", r, got.Provider, got.Model, err)
		}
	}
	for _, bad := range []string{"video", "video=fal", "film=fal:kling-v3", "video=fal:flux-dev", "video=fal:none", "video=minimax:kling-v3"} {
		if _, err := want.NewPlanner(bad); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
