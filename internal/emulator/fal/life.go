package fal

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"reelay/internal/emulator"
)

// forever is the moment of what never happens.
var forever = time.Date(9999, time.January, 1, 0, 0, 0, 0, time.UTC)

// logSteps is how many steps a job logs while it runs.
const logSteps = 30

// fal's words for the states of a request; there is none for a failed or cancelled one.
const (
	inQueue    = "IN_QUEUE"
	inProgress = "IN_PROGRESS"
	completed  = "COMPLETED"
)

// A failure is how a request ends that makes nothing.
type failure struct {
	status    int
	errorType string
	message   string
	// platform says that fal speaks, not the model: another envelope, and an error in the status.
	platform bool
	// userTimeout says that it is the client's own start timeout that ran out.
	userTimeout bool
}

// A life is where a job is.
type life struct {
	word           string
	position       int
	started, ended time.Time
	step           int // of logSteps
	fail           *failure
}

// lifeOf tells where a job is at a moment, from nothing but its ledger entry.
func lifeOf(j emulator.Job, p emulator.Pace, now time.Time) life {
	script := emulator.ReadScript(j.Input)
	p = p.Of(script)
	started, ended := j.At.Add(p.Queue), j.At.Add(p.Queue+p.Run)
	switch script.Stall {
	case "queued":
		started, ended = forever, forever
	case "running":
		ended = forever
	}
	var fail *failure
	if script.Fail != "" {
		f := failureOf(script.Fail)
		fail = &f
	}
	if s, err := strconv.ParseFloat(j.Extra[extraStart], 64); err == nil {
		if last := j.At.Add(time.Duration(s * float64(time.Second))); started.After(last) {
			started, ended = forever, last
			fail = &failure{
				status: http.StatusGatewayTimeout, errorType: "request_timeout", message: "Request timed out", platform: true, userTimeout: true,
			}
		}
	}
	if at := j.CancelledAt; at != nil && at.Before(ended) {
		ended = *at
		fail = &failure{status: 499, errorType: "client_cancelled", message: "Request was cancelled", platform: true}
	}

	l := life{started: started, ended: ended}
	switch {
	case !now.Before(ended):
		l.word, l.fail, l.step = completed, fail, logSteps
	case !now.Before(started):
		l.word = inProgress
		l.step = 1
		if whole := p.Run; script.Stall != "running" && whole > 0 {
			l.step += int(float64(logSteps-1) * float64(now.Sub(started)) / float64(whole))
		}
	default:
		l.word = inQueue
		l.position = p.Position
		if script.Stall != "queued" && p.Queue > 0 {
			// At the head of the queue only when the wait is over.
			left := float64(started.Sub(now)) / float64(p.Queue)
			l.position = min(p.Position, int(left*float64(p.Position+1)))
		}
	}
	return l
}

// failureOf reads a Script.Fail: an error type that fal documents, or an HTTP status.
func failureOf(name string) failure {
	platform := map[string]int{
		"request_timeout": 504, "startup_timeout": 504, "runner_scheduling_failure": 503, "runner_connection_timeout": 503,
		"runner_disconnected": 503, "runner_connection_refused": 503, "runner_connection_error": 503,
		"runner_incomplete_response": 502, "runner_server_error": 500, "internal_error": 500, "bad_request": 400,
		"client_disconnected": 499, "client_cancelled": 499,
	}
	model := map[string]int{
		"internal_server_error": 500, "generation_timeout": 504, "downstream_service_error": 400, "downstream_service_unavailable": 500,
	}
	byStatus := map[string]string{
		"400": "bad_request", "422": "value_error", "499": "client_cancelled", "500": "internal_server_error",
		"502": "runner_incomplete_response", "503": "runner_disconnected", "504": "startup_timeout",
	}
	if t, ok := byStatus[name]; ok {
		name = t
	}
	if status, ok := platform[name]; ok {
		return failure{
			status: status, errorType: name, message: "The request ended with " + name, platform: true, userTimeout: name == "startup_timeout",
		}
	}
	if status, ok := model[name]; ok {
		return failure{status: status, errorType: name, message: "The model ended with " + name}
	}
	if status, err := strconv.Atoi(name); err == nil && status >= 400 && status <= 599 {
		return failure{status: status, errorType: "internal_error", message: http.StatusText(status), platform: true}
	}
	return failure{status: http.StatusUnprocessableEntity, errorType: name, message: "The input was refused: " + name}
}

// A logLine is one entry of a request's log.
type logLine struct {
	Message   string `json:"message"`
	Level     string `json:"level"`
	Source    string `json:"source"`
	Timestamp string `json:"timestamp"`
}

// logs returns the lines of a job so far; never nil, for fal writes null only when nobody asked.
func (l life) logs(p emulator.Pace) []logLine {
	lines := []logLine{}
	if l.started.Equal(forever) || l.word == inQueue {
		return lines
	}
	for step := 1; step <= l.step; step++ {
		at := l.started.Add(p.Run * time.Duration(step-1) / logSteps)
		if at.After(l.ended) {
			break
		}
		lines = append(lines, logLine{
			Message: fmt.Sprintf("step %d/%d", step, logSteps), Level: "INFO", Source: "USER",
			Timestamp: at.UTC().Format("2006-01-02T15:04:05.000000Z"),
		})
	}
	return lines
}
