package replicate

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"reelay/internal/emulator"
)

// The words for the state of a prediction.
const (
	starting   = "starting"
	processing = "processing"
	succeeded  = "succeeded"
	failed     = "failed"
	canceled   = "canceled"
	aborted    = "aborted"
)

// A jobState is the state of a prediction at one moment.
type jobState struct {
	word string
	// started and ended are zero as long as that has not happened.
	started, ended time.Time
}

// never is the end of what does not end.
const never = 100 * 365 * 24 * time.Hour

// stateOf is the state at now. What ends it first is what has ended it.
func (s *Server) stateOf(j emulator.Job, now time.Time) jobState {
	script := emulator.ReadScript(j.Input)
	speed := s.o.Speed
	if s.o.Draw != nil {
		speed = s.o.Draw(j)
	}
	speed = speed.Of(script)
	switch script.Stall {
	case "queued":
		speed.Queue = never
	case "running":
		speed.Run = never
	}
	started := j.At.Add(speed.Queue)
	ended, word := started.Add(speed.Run), succeeded
	if script.Fail != "" {
		word = failed
	}
	if life, err := strconv.ParseFloat(j.Extra[extraLife], 64); err == nil {
		if at := j.At.Add(time.Duration(life * float64(time.Second))); at.Before(ended) {
			ended, word = at, canceled
			if at.Before(started) {
				word = aborted
			}
		}
	}
	if j.CancelledAt != nil && j.CancelledAt.Before(ended) {
		ended, word = *j.CancelledAt, canceled
	}
	switch {
	case !now.Before(ended) && started.Before(ended):
		return jobState{word, started, ended}
	case !now.Before(ended) && (word == succeeded || word == failed):
		return jobState{word, started, ended}
	case !now.Before(ended):
		return jobState{word: word, ended: ended}
	case !now.Before(started):
		return jobState{word: processing, started: started}
	}
	return jobState{word: starting}
}

// charged is what a prediction has cost so far: what it makes, and nothing for one that made nothing.
func (s *Server) charged(j emulator.Job) float64 {
	if s.stateOf(j, time.Now()).word == succeeded {
		return j.PriceUSD
	}
	return 0
}

// prediction is the object of a prediction.
func (s *Server) prediction(j emulator.Job, now time.Time) map[string]any {
	state, base := s.stateOf(j, now), j.Extra[extraBase]
	stamp := func(at time.Time) any {
		if at.IsZero() {
			return nil
		}
		return at.UTC().Format("2006-01-02T15:04:05.999999Z07:00")
	}
	removed := !state.ended.IsZero() && now.Sub(state.ended) >= s.o.Kept
	p := map[string]any{
		"id": j.ID, "model": j.Extra[extraModel], "version": j.Extra[extraVersion], "input": j.Input, "logs": "", "output": nil,
		"error": nil, "status": state.word, "source": "api", "data_removed": removed, "created_at": stamp(j.At),
		"started_at": stamp(state.started), "completed_at": stamp(state.ended), "metrics": map[string]any{},
		"urls": map[string]string{
			"get": base + "/v1/predictions/" + j.ID, "cancel": base + "/v1/predictions/" + j.ID + "/cancel",
			"web": "https://replicate.com/p/" + j.ID,
		},
	}
	if of := j.Extra[extraDeployment]; of != "" {
		p["deployment"] = of
	}
	if j.Correlation != "" {
		p["webhook"], p["webhook_events_filter"] = j.Correlation, []string{"completed"}
	}
	if !state.started.IsZero() {
		p["logs"] = "Using seed: 7\n  0%|          | 0/25\r 40%|####      | 10/25\n"
	}
	switch state.word {
	case succeeded:
		p["output"] = output(j)
		metrics := map[string]any{"predict_time": state.ended.Sub(state.started).Seconds()}
		if makes(j.Model) == "image" {
			metrics["image_output_count"] = imagesOf(j)
		}
		p["metrics"] = metrics
	case failed:
		p["error"] = "The prediction has failed. (" + emulator.ReadScript(j.Input).Fail + ")"
	}
	if removed {
		p["input"], p["output"], p["logs"] = map[string]any{}, nil, nil
	}
	return p
}

// output is what a prediction has made, in the shape that its model or its script has.
func output(j emulator.Job) any {
	link := func(n int) string { return fmt.Sprintf("%s/delivery/%s/%d", j.Extra[extraBase], j.ID, n) }
	switch emulator.ReadScript(j.Input).Result {
	case "text":
		return "a heron by the water"
	case "no_file":
		return nil
	case "object":
		return map[string]any{"result": map[string]any{"files": []any{map[string]any{"file": link(0), "fps": 24}}}}
	}
	if makes(j.Model) != "image" {
		return link(0)
	}
	var all []string
	for n := range imagesOf(j) {
		all = append(all, link(n))
	}
	return all
}

// job returns a prediction that the server knows.
func (s *Server) job(id string) (emulator.Job, bool) {
	j, ok := s.o.Ledger.Job(id)
	return j, ok && j.Provider == providerName
}

func (s *Server) get(w http.ResponseWriter, r *http.Request) {
	s.o.Ledger.Call("status")
	j, ok := s.job(r.PathValue("id"))
	if !ok {
		refuse(w, http.StatusNotFound)
		return
	}
	script, odd := emulator.ReadScript(j.Input), ""
	p := s.prediction(j, time.Now())
	if script.Polls != "" && (script.PollFaults == 0 || s.counts.Count("polls "+j.ID) < script.PollFaults) {
		switch fault := script.Polls; fault {
		case "not_found":
			refuse(w, http.StatusNotFound)
			return
		case "unknown":
			p["status"] = "rebalancing"
		case emulator.OddGzip, emulator.OddBOM, emulator.OddRedirect:
			odd = fault
		default:
			emulator.Misbehave(w, r, strings.TrimPrefix(fault, "refuse_"), refuse)
			return
		}
	}
	if p["status"] == succeeded && s.counts.Count("result "+j.ID) < script.ResultFaults {
		emulator.Page(w, http.StatusInternalServerError)
		return
	}
	emulator.Oddly(w, r, odd, func(w http.ResponseWriter) { emulator.WriteJSON(w, http.StatusOK, p) })
}

func (s *Server) cancel(w http.ResponseWriter, r *http.Request) {
	s.o.Ledger.Call("cancel")
	j, ok := s.job(r.PathValue("id"))
	if !ok {
		refuse(w, http.StatusNotFound)
		return
	}
	now := time.Now()
	if s.stateOf(j, now).ended.IsZero() && emulator.ReadScript(j.Input).Cancel != "ignored" {
		if err := s.o.Ledger.Update(j.ID, func(j *emulator.Job) { j.CancelledAt = &now }); err != nil {
			detail(w, http.StatusInternalServerError, "Internal error", err.Error())
			return
		}
		s.webhooks.Plan(j.ID)
		j, _ = s.job(j.ID)
	}
	emulator.WriteJSON(w, http.StatusOK, s.prediction(j, now))
}

// list shows the predictions, newest first. A cursor is the number of the last job on the page before.
func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	s.o.Ledger.Call("list")
	q := r.URL.Query()
	after, _ := time.Parse(time.RFC3339, q.Get("created_after")) // zero for none
	below, err := strconv.ParseUint(q.Get("cursor"), 10, 64)     // an error for none
	all, now := []map[string]any{}, time.Now()
	var next any
	jobs := s.o.Ledger.Jobs()
	slices.Reverse(jobs)
	last := uint64(0)
	for _, j := range jobs {
		if j.Provider != providerName || j.At.Before(after) || err == nil && j.Seq >= below {
			continue
		}
		if len(all) == pageSize {
			q.Set("cursor", strconv.FormatUint(last, 10))
			next = "http://" + r.Host + r.URL.Path + "?" + q.Encode()
			break
		}
		last = j.Seq
		p := s.prediction(j, now)
		delete(p, "logs")
		all = append(all, p)
	}
	emulator.WriteJSON(w, http.StatusOK, map[string]any{"previous": nil, "next": next, "results": all})
}

// delivery is where files are fetched, without a key.
func (s *Server) delivery(w http.ResponseWriter, r *http.Request) {
	s.o.Ledger.Call("content")
	j, ok := s.job(r.PathValue("id"))
	state, now := jobState{}, time.Now()
	if ok {
		state = s.stateOf(j, now)
	}
	script := emulator.ReadScript(j.Input)
	if !ok || state.word != succeeded || now.Sub(state.ended) >= s.o.Kept || script.LinkDead(state.ended, now) {
		http.NotFound(w, r)
		return
	}
	emulator.ServeLink(w, r, makes(j.Model), script, s.counts.Count("content "+j.ID))
}
