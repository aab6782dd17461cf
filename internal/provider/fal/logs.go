package fal

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
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
	var entries []struct {
		Message   string          `json:"message"`
		Level     json.RawMessage `json:"level"`
		Timestamp json.RawMessage `json:"timestamp"`
	}
	if len(raw) == 0 {
		return nil
	}
	_ = json.Unmarshal(raw, &entries) // what is of another type leaves no message
	var lines []events.LogLine
	for _, e := range entries[max(0, len(entries)-maxLines):] {
		if e.Message = shown(e.Message); e.Message == "" {
			continue
		}
		lines = append(lines, events.LogLine{
			At: timestamp(text(e.Timestamp)), Level: provider.Clip(text(e.Level), maxLevelBytes),
			Message: provider.Clip(e.Message, events.MaxLogBytes),
		})
	}
	return lines
}

// escape is a control sequence of a terminal (ECMA-48, 5.4 and 8.3.89), such as a colour.
var escape = regexp.MustCompile("(?:\x1b\\[|\u009b)[0-?]*[ -/]*[@-~]" +
	"|\x1b\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?|\x1b[ -/]*[0-~]")

// shown returns what a terminal would show of a message: without escape sequences, and of a line that is written over
// by carriage returns the last state.
func shown(message string) string {
	if strings.ContainsAny(message, "\x1b\u009b") {
		message = escape.ReplaceAllString(message, "")
	}
	message = strings.ReplaceAll(message, "\r\n", "\n")
	if strings.Contains(message, "\r") {
		pieces := strings.Split(message, "\r")
		for len(pieces) > 1 && strings.TrimSpace(pieces[len(pieces)-1]) == "" {
			pieces = pieces[:len(pieces)-1]
		}
		message = pieces[len(pieces)-1]
	}
	return message
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
	// otherBar are bars that are not the work's: what a model does before it begins, or after its end.
	otherBar = regexp.MustCompile(`(?i)\b(pre|up|down)?(load|fetch|warm|compil|extract|unpack|pull|import|` +
		`initiali[sz]|install)` +
		`(s|ed|ing|up)?\b|\.safetensors\b|\d\s?[kMG]i?B/s|\bcheckpoint shards\b`)
	steps = regexp.MustCompile(`(?i)\bstep\s+(\d{1,9})\s?(?:/|of)\s?(\d{1,9})\b|\b(\d{1,9})/(\d{1,9}) \[`)
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
	if otherBar.MatchString(line) {
		return 0, false
	}
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
