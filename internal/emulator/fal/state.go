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

// A jobState is the state of a job at one moment.
type jobState struct {
	word           string
	position       int
	started, ended time.Time
	step           int // of logSteps
	fail           *failure
}

// stateOf returns the state of a job at a moment.
func (s *Server) stateOf(j emulator.Job, now time.Time) jobState {
	script := emulator.ReadScript(j.Input)
	p := s.speedOf(j)
	r, before := s.plan.stateOf(j, now)
	l := jobState{started: r.started, ended: r.ended}
	switch r.stage {
	case over:
		l.word, l.step = completed, logSteps
		l.fail = failureOfRun(r, script)
	case running:
		l.word, l.step = inProgress, 1
		if r.length > 0 {
			l.step += int(float64(logSteps-1) * float64(now.Sub(r.started)) / float64(r.length))
		}
	case waiting:
		l.word, l.position = inQueue, before
	case pending:
		l.word, l.position = inQueue, p.Position
		if script.Stall != "queued" && p.Queue > 0 {
			// At the head of the queue only when the wait is over.
			left := float64(r.ready.Sub(now)) / float64(p.Queue)
			l.position = min(p.Position, int(left*float64(p.Position+1)))
		}
		l.position += before
	}
	return l
}

// failureOfRun is why a run that is over has made nothing, nil if it has made something.
func failureOfRun(r run, script emulator.Script) *failure {
	switch {
	case r.cancelled:
		return &failure{status: 499, errorType: "client_cancelled", message: "Request was cancelled", platform: true}
	case r.late:
		return &failure{
			status: http.StatusGatewayTimeout, errorType: "request_timeout", message: "Request timed out", platform: true,
			userTimeout: true,
		}
	case script.Fail != "":
		f := failureOf(script.Fail)
		return &f
	}
	return nil
}

// speedOf returns how long a job takes, unless other jobs make it wait.
func (s *Server) speedOf(j emulator.Job) emulator.Speed {
	p := s.speed
	if s.draw != nil {
		p = s.draw(j)
		p.Position = max(p.Position, s.speed.Position)
	}
	return p.Of(emulator.ReadScript(j.Input))
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
		"internal_server_error": 500, "generation_timeout": 504, "downstream_service_error": 400,
		"downstream_service_unavailable": 500,
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
			status: status, errorType: name, message: "The request ended with " + name, platform: true,
			userTimeout: name == "startup_timeout",
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
func (l jobState) logs(p emulator.Speed) []logLine {
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
