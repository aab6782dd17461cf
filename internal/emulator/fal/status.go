package fal

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"reelay/internal/emulator"
)

// statusBody is what submit and status answer, keys in fal's order. Every key is there, even when it is null.
type statusBody struct {
	Status        string             `json:"status"`
	RequestID     string             `json:"request_id"`
	ResponseURL   string             `json:"response_url"`
	StatusURL     string             `json:"status_url"`
	CancelURL     string             `json:"cancel_url"`
	Logs          []logLine          `json:"logs"`
	Metrics       map[string]float64 `json:"metrics"`
	QueuePosition *int               `json:"queue_position,omitempty"`
	Error         string             `json:"error,omitempty"`
	ErrorType     string             `json:"error_type,omitempty"`
}

func (s *Server) statusOf(r *http.Request, j emulator.Job, withLogs bool) statusBody {
	l := s.stateOf(j, time.Now())
	app := strings.Join(appOf(strings.Split(j.Model, "/")), "/")
	at := base(r) + "/" + app + "/requests/" + j.ID
	b := statusBody{
		Status: l.word, RequestID: j.ID, ResponseURL: at, StatusURL: at + "/status", CancelURL: at + "/cancel",
		Metrics: map[string]float64{},
	}
	if withLogs {
		b.Logs = l.logs(s.speedOf(j))
	}
	switch l.word {
	case inQueue:
		b.QueuePosition = &l.position
	case completed:
		b.Metrics["inference_time"] = max(0, l.ended.Sub(l.started).Seconds())
		if l.fail != nil && l.fail.platform {
			b.Error, b.ErrorType = l.fail.message, l.fail.errorType
		}
	}
	return b
}

func (s *Server) status(w http.ResponseWriter, r *http.Request, app, id string) {
	s.ledger.Call("status")
	j, ok := s.job(app, id)
	if !ok || s.forgotten(j) {
		notFound(w)
		return
	}
	body := s.statusOf(r, j, wantsLogs(r))
	script, odd := emulator.ReadScript(j.Input), ""
	if script.Polls != "" && (script.PollFaults == 0 || s.counts.Count("polls/"+id) < script.PollFaults) {
		switch fault := script.Polls; {
		case fault == "not_found":
			notFound(w)
			return
		case fault == "unknown":
			body.Status, body.QueuePosition = "REBALANCING", nil
		case fault == "regress": // a runner was lost: back to the queue under the same id
			body.Status, body.QueuePosition, body.Logs = inQueue, new(int), nil
		case fault == "log_window":
			body.Logs = body.Logs[max(0, len(body.Logs)-logWindow):]
		case fault == "big_logs":
			if body.Logs != nil {
				body.Logs = append(body.Logs, logLine{Message: strings.Repeat("x", bigLogBytes), Level: "DEBUG"})
			}
		case fault == emulator.OddGzip || fault == emulator.OddBOM || fault == emulator.OddRedirect:
			odd = fault
		case strings.HasPrefix(fault, "refuse_"):
			refuse(w, strings.TrimPrefix(fault, "refuse_"))
			return
		default:
			misbehave(w, r, strings.TrimPrefix(fault, "accept_then_"))
			return
		}
	}
	status := http.StatusAccepted
	if body.Status == completed {
		status = http.StatusOK
	}
	emulator.Oddly(w, r, odd, func(w http.ResponseWriter) { reply(w, status, id, body) })
}

const (
	// logWindow is how many lines "log_window" shows.
	logWindow = 6
	// bigLogBytes is more than any client should read at each poll.
	bigLogBytes = 5 << 20
)

// stream sends a server-sent event for each change of the status, and ends after the last.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, app, id string) {
	s.ledger.Call("stream")
	j, ok := s.job(app, id)
	if !ok {
		notFound(w)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("X-Fal-Request-Id", id)
	flush := http.NewResponseController(w)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	comment := time.NewTicker(15 * time.Second) // keeps idle middleboxes from closing the stream
	defer comment.Stop()
	var last string
	for {
		if newest, ok := s.job(app, id); ok {
			j = newest // it may have been cancelled
		}
		body := s.statusOf(r, j, wantsLogs(r))
		text, err := json.Marshal(body)
		if err != nil {
			return
		}
		if string(text) != last {
			last = string(text)
			if _, err := fmt.Fprintf(w, "data: %s\n\n", text); err != nil || flush.Flush() != nil {
				return
			}
		}
		if body.Status == completed {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
		case <-comment.C:
			if _, err := fmt.Fprint(w, ": ping\n\n"); err != nil || flush.Flush() != nil {
				return
			}
		}
	}
}

func wantsLogs(r *http.Request) bool {
	v := r.URL.Query().Get("logs")
	return v == "1" || strings.EqualFold(v, "true")
}

func (s *Server) cancel(w http.ResponseWriter, app, id string) {
	s.ledger.Call("cancel")
	j, ok := s.job(app, id)
	if !ok {
		notFound(w)
		return
	}
	under, err := s.plan.cancel(j, emulator.ReadScript(j.Input).Cancel != "ignored")
	if err != nil {
		s.log.Error("ledger could not be written", "error", err)
	}
	if !under {
		reply(w, http.StatusBadRequest, id, map[string]string{"status": "ALREADY_COMPLETED"})
		return
	}
	s.webhooks.Plan(id)
	reply(w, http.StatusAccepted, id, map[string]string{"status": "CANCELLATION_REQUESTED"})
}

func notFound(w http.ResponseWriter) {
	reply(w, http.StatusNotFound, "", map[string]string{"status": "NOT_FOUND"})
}
