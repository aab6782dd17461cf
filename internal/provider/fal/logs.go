package fal

import (
	"encoding/json"
	"regexp"
	"strconv"
	"time"

	"reelay/events"
	"reelay/internal/provider"
)

const (
	// maxLines bounds the log lines of one poll; fal repeats all of them each time.
	maxLines = 5000
	// maxProgressLines is how many of the newest lines are read for progress.
	maxProgressLines = 50
	maxLevelBytes    = 16
)

// readLogs reads a status' logs and leaves out what it cannot read; the newest lines win over the limit.
func readLogs(raw json.RawMessage) []events.LogLine {
	var entries []json.RawMessage
	if len(raw) == 0 || json.Unmarshal(raw, &entries) != nil {
		return nil
	}
	var lines []events.LogLine
	for _, entry := range entries[max(0, len(entries)-maxLines):] {
		var e struct {
			Message   string          `json:"message"`
			Level     json.RawMessage `json:"level"`
			Timestamp json.RawMessage `json:"timestamp"`
		}
		if json.Unmarshal(entry, &e) != nil || e.Message == "" {
			continue
		}
		lines = append(lines, events.LogLine{
			At: timestamp(text(e.Timestamp)), Level: provider.Clip(text(e.Level), maxLevelBytes),
			Message: provider.Clip(e.Message, events.MaxLogBytes),
		})
	}
	return lines
}

// timestamp reads a time with or without a zone; without one it is UTC.
func timestamp(s string) *time.Time {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999"} {
		if t, err := time.Parse(layout, s); err == nil {
			t = t.UTC()
			return &t
		}
	}
	return nil
}

// How models and their libraries write progress. A bare percentage counts only where it begins a line, follows the
// word, or has the bar of tqdm behind it: models log other percentages too.
var (
	percent = regexp.MustCompile(`(?i)(?:^\s*|\bprogress\b\D{0,3})(\d{1,3}(?:\.\d{1,6})?)\s?%|\b(\d{1,3})%\|`)
	steps   = regexp.MustCompile(`(?i)\bstep\s+(\d{1,9})\s?(?:/|of)\s?(\d{1,9})\b|\b(\d{1,9})/(\d{1,9}) \[`)
)

// progress reads the newest line that names a progress, in percent.
func progress(lines []events.LogLine) *float64 {
	for i := len(lines) - 1; i >= max(0, len(lines)-maxProgressLines); i-- {
		if p, ok := lineProgress(lines[i].Message); ok {
			return &p
		}
	}
	return nil
}

func lineProgress(line string) (float64, bool) {
	if m := percent.FindStringSubmatch(line); m != nil {
		p, err := strconv.ParseFloat(m[1]+m[2], 64) // one of the two is empty
		return p, err == nil && p <= 100
	}
	if m := steps.FindStringSubmatch(line); m != nil {
		n, _ := strconv.ParseFloat(m[1]+m[3], 64)
		of, _ := strconv.ParseFloat(m[2]+m[4], 64)
		return 100 * n / of, of > 0 && n <= of
	}
	return 0, false
}
