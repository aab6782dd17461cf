package main

import (
	"strings"
	"testing"

	"reelay/events"
)

func TestPrintModels(t *testing.T) {
	sheet := events.ModelSheet{
		Provider: "acme", Model: "acme/film", Aliases: []string{"film"}, TaskTypes: []events.TaskType{events.Video},
		DefaultFor: []events.TaskType{events.Video}, SupportedDurations: []string{"3", "4", "5", "6", "7"},
		SupportedResolutions: []string{"720p", "4k"}, SupportedFrameImages: []string{"first_frame", "last_frame"}, Audio: true,
		Prices: []events.ModelPrice{
			{Unit: "second", USD: 0.1, When: map[string][]string{"sound": {"false"}, "voice": {""}}, Source: "s", AsOf: "2026-01-31"},
			{Unit: "second", USD: 0.2, Source: "s", AsOf: "2026-01-31"},
		},
		Typical: &events.Typical{Samples: 3, WholeS: 95.4, LateS: 140}, Source: "a\x1bpage", AsOf: "2026-01-31",
		Forms: []events.ModelForm{{
			Model: "acme/film/text", Needs: []string{"prompt"}, Wants: map[string][]string{"prompt": {}, "duration": {"3", "4"}},
			Options: []string{"loop"},
		}},
	}
	var all strings.Builder
	if err := printModels(&all, []events.ModelSheet{sheet}); err != nil {
		t.Fatal(err)
	}
	const line = "acme/film  film   video*  3..7     720p,4k     first,last  yes    -     0.10..0.20/second  95s\n"
	if !strings.Contains(all.String(), line) {
		t.Errorf("got\n%s\nwant in it\n%s", &all, line)
	}
	var one strings.Builder
	printSheet(&one, sheet)
	for _, text := range []string{
		"acme/film  video of acme, also film\n", "\nacme/film/text\n  duration: 3, 4\n  prompt (needed)\n  options: loop\n",
		"0.10 USD a second with sound false, voice not set (s, 2026-01-31)\n",
		"typically 95 s, nine of ten within 140 s (3 tasks)\n", "from a page, 2026-01-31\n",
	} {
		if !strings.Contains(one.String(), text) {
			t.Errorf("got\n%s\nwant in it\n%s", &one, text)
		}
	}
}
