package replicate

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"reelay/events"
	"reelay/internal/provider"
	"reelay/internal/provider/jsonapi"
)

const (
	maxWordBytes = 40
	// maxLines bounds the log lines of one poll; Replicate repeats all of them each time.
	maxLines = 500
)

// The words for the state of a prediction.
const (
	wordSucceeded = "succeeded"
	wordFailed    = "failed"
	wordCanceled  = "canceled"
	wordAborted   = "aborted"
)

var states = map[string]provider.State{
	"starting": provider.Queued, "processing": provider.Running, wordSucceeded: provider.Succeeded,
	wordFailed: provider.Failed, wordCanceled: provider.Cancelled, wordAborted: provider.Cancelled,
}

// Poll asks where a prediction is. Its error is a *provider.Error.
func (d *Driver) Poll(ctx context.Context, ref json.RawMessage) (provider.Snapshot, error) {
	id, err := readRef(ref)
	if err != nil {
		return provider.Snapshot{}, err
	}
	p, r, err := d.prediction(ctx, id)
	if err != nil {
		return provider.Snapshot{}, err
	}
	return d.snapshot(p, r), nil
}

// prediction asks for one. Its error is a *provider.Error.
func (d *Driver) prediction(ctx context.Context, id string) (jsonapi.Object, provider.Reply, error) {
	r, err := d.api.Call(ctx, http.MethodGet, predictionPath(id), nil)
	if err != nil {
		return nil, r, err
	}
	p := jsonapi.Read(r.Body)
	switch {
	case !jsonapi.IsOK(r.Status) || p.Text("status") == "":
		return nil, r, jsonapi.CallError(r)
	case p.Text("id") != id:
		// A cache between us and Replicate: a result must never land on another task.
		return nil, r, jsonapi.NewError(events.KindInternal, "wrong_task",
			fmt.Sprintf("asked for %s, answered about %s", id, p.Text("id")), r)
	}
	return p, r, nil
}

func (d *Driver) snapshot(p jsonapi.Object, r provider.Reply) provider.Snapshot {
	word := p.Text("status")
	s := provider.Snapshot{State: provider.Unknown, Word: provider.Clip(word, maxWordBytes), Logs: readLogs(p.Text("logs"))}
	if state, ok := states[word]; ok {
		s.State = state
	}
	switch s.State {
	case provider.Succeeded:
		s.Raw = jsonapi.Raw(r.Body)
		s.Units, s.Unit = billed(p.Object("metrics"))
		d.readOutput(&s, p)
		if string(p["data_removed"]) == "true" && !p.Has("output") {
			s.State = provider.Failed
			s.Err = charged(jsonapi.NewError(events.KindDeadline, "data_removed",
				"the prediction has succeeded, and Replicate has removed its output: it keeps them for an hour", r), events.ChargeConfirmed)
		}
	case provider.Failed:
		s.Err, s.Raw = failure(p, r), jsonapi.Raw(r.Body)
	case provider.Cancelled:
		if word == wordAborted {
			s.Err = charged(jsonapi.NewError(events.KindDeadline, wordAborted, "its deadline at Replicate has passed before it began",
				r), events.ChargeNone)
		}
	}
	return s
}

func charged(e *provider.Error, c events.Charge) *provider.Error {
	e.Charge = c
	return e
}

// billed is what Replicate counts of the models that it bills by what they make; the names are those that models may
// report (replicate/cog-official metrics). It bills all others by the time that they run, which is not told.
func billed(metrics jsonapi.Object) (units *float64, unit string) {
	for _, of := range []struct{ metric, unit string }{
		{"image_output_count", "image"}, {"video_output_duration_seconds", "second"},
	} {
		if n, ok := metrics.Number(of.metric); ok && n >= 0 {
			return &n, of.unit
		}
	}
	return nil, ""
}

// errorCode is how the reason of a failure ends, or begins: https://replicate.com/docs/reference/error-codes.
var errorCode = regexp.MustCompile(`\bE[0-9]{3,4}\b`)

// failure is why a prediction has failed. One that never ran is not charged for.
func failure(p jsonapi.Object, r provider.Reply) *provider.Error {
	code, message := jsonapi.Reason(p["error"])
	if found := errorCode.FindString(message); found != "" {
		code = found
	}
	if code == "" {
		code = wordFailed
	}
	if message == "" {
		message = "Replicate gave no reason"
	}
	kind := events.KindInternal
	// E005 is what models say of what their filters hold back, those of Replicate's own just call it NSFW.
	if code == "E005" || strings.HasPrefix(message, "NSFW") {
		kind = events.KindModeration
	}
	c := events.ChargePossible
	if !p.Has("started_at") {
		c = events.ChargeNone
	}
	return charged(jsonapi.NewError(kind, code, message, r), c)
}

// readLogs reads the newest lines of a log.
func readLogs(text string) (lines []events.LogLine) {
	all := strings.Split(strings.TrimSpace(text), "\n")
	for _, line := range all[max(0, len(all)-maxLines):] {
		// What is written over by carriage returns, such as a progress bar, is shown in its last state.
		line = strings.TrimRight(line, "\r ")
		line = line[strings.LastIndexByte(line, '\r')+1:]
		if line = provider.Clip(line, events.MaxLogBytes); strings.TrimSpace(line) != "" {
			lines = append(lines, events.LogLine{Message: line})
		}
	}
	return lines
}
