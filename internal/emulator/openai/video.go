package openai

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"reelay/internal/emulator"
)

// The words for the state of a job.
const (
	queued     = "queued"
	inProgress = "in_progress"
	completed  = "completed"
	failed     = "failed"
)

// A jobState is the state of a job at one moment.
type jobState struct {
	word     string
	progress int
	ended    time.Time
}

func (s *Server) stateOf(j emulator.Job, now time.Time) jobState {
	script := emulator.ReadScript(j.Input)
	speed := s.o.Speed
	if s.o.Draw != nil {
		speed = s.o.Draw(j)
	}
	speed = speed.Of(script)
	started := j.At.Add(speed.Queue)
	ended := started.Add(speed.Run)
	switch {
	case script.Stall == queued || now.Before(started):
		return jobState{word: queued}
	case script.Stall == "running" || now.Before(ended):
		state := jobState{word: inProgress}
		if speed.Run > 0 {
			state.progress = min(99, int(100*now.Sub(started)/speed.Run))
		}
		if s.o.Kind == SGLang {
			state = jobState{word: queued}
		}
		return state
	case script.Fail != "":
		return jobState{word: failed, ended: ended}
	}
	return jobState{word: completed, progress: 100, ended: ended}
}

// video is the object of a job.
func (s *Server) video(j emulator.Job) map[string]any {
	var in map[string]json.RawMessage
	_ = json.Unmarshal(j.Input, &in) // it was read when the job was accepted
	state := s.stateOf(j, time.Now())
	v := map[string]any{
		"id": j.ID, "object": "video", "model": j.Model, "status": state.word, "progress": state.progress,
		"created_at": j.At.Unix(), "size": text(in["size"]), "seconds": seconds(in["seconds"], s.o.Kind), "completed_at": nil,
		"error": nil,
	}
	if s.o.Kind == SGLang {
		v["url"], v["file_path"] = nil, nil
	} else {
		v["prompt"], v["expires_at"], v["file_name"] = text(in["prompt"]), nil, nil
	}
	switch state.word {
	case completed:
		v["completed_at"] = state.ended.Unix()
		if s.o.Kind == SGLang {
			v["file_path"] = "/outputs/" + j.ID + ".mp4"
		} else {
			v["file_name"] = j.ID + ".mp4"
		}
	case failed:
		code := emulator.ReadScript(j.Input).Fail
		v["completed_at"], v["error"] = state.ended.Unix(), map[string]string{
			"code": code, "message": "the job ended with " + code,
		}
	}
	return v
}

// seconds is the length of a video: a text, and at SGLang a number.
func seconds(raw json.RawMessage, k Kind) any {
	n := number(raw)
	if n <= 0 {
		n = 4
	}
	if k == SGLang {
		return int(n)
	}
	return strconv.Itoa(int(n))
}

func notFound(w http.ResponseWriter) { detail(w, http.StatusNotFound, "Video not found") }

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	s.o.Ledger.Call("status")
	j, ok := s.job(r.PathValue("id"))
	if !ok {
		notFound(w)
		return
	}
	script, odd := emulator.ReadScript(j.Input), ""
	v := s.video(j)
	if script.Polls != "" && (script.PollFaults == 0 || s.counts.Count("polls "+j.ID) < script.PollFaults) {
		switch fault := script.Polls; {
		case fault == "not_found":
			notFound(w)
			return
		case fault == "unknown":
			v["status"] = "rebalancing"
		case fault == emulator.OddGzip || fault == emulator.OddBOM || fault == emulator.OddRedirect:
			odd = fault
		default:
			misbehave(w, r, strings.TrimPrefix(fault, "refuse_"))
			return
		}
	}
	if v["status"] == completed && s.counts.Count("result "+j.ID) < script.ResultFaults {
		emulator.Page(w, http.StatusInternalServerError)
		return
	}
	emulator.Oddly(w, r, odd, func(w http.ResponseWriter) { emulator.WriteJSON(w, http.StatusOK, v) })
}

func (s *Server) content(w http.ResponseWriter, r *http.Request) {
	s.o.Ledger.Call("content")
	j, ok := s.job(r.PathValue("id"))
	state := jobState{}
	if ok {
		state = s.stateOf(j, time.Now())
	}
	script := emulator.ReadScript(j.Input)
	switch {
	case !ok || script.LinkDead(state.ended, time.Now()):
		notFound(w)
	case state.word != completed:
		detail(w, http.StatusNotFound, "Generation is still in-progress")
	default:
		emulator.ServeLink(w, r, "video", script, s.counts.Count("content "+j.ID))
	}
}

// delete aborts a job and forgets it; at SGLang it only forgets it.
func (s *Server) delete(w http.ResponseWriter, r *http.Request) {
	s.o.Ledger.Call("cancel")
	j, ok := s.job(r.PathValue("id"))
	if !ok {
		notFound(w)
		return
	}
	switch emulator.ReadScript(j.Input).Cancel {
	case "refused":
		detail(w, http.StatusMethodNotAllowed, "Method Not Allowed")
		return
	case "ignored":
		v := s.video(j)
		emulator.WriteJSON(w, http.StatusOK, v)
		return
	}
	v := s.video(j)
	now := time.Now()
	ended := s.stateOf(j, now).word == completed || s.stateOf(j, now).word == failed
	err := s.o.Ledger.Update(j.ID, func(j *emulator.Job) {
		j.Extra = map[string]string{extraDeleted: "1"} // the ledger's readers share the old one
		if !ended && s.o.Kind != SGLang {
			j.CancelledAt = &now
		}
	})
	switch {
	case err != nil:
		detail(w, http.StatusInternalServerError, err.Error())
	case s.o.Kind == SGLang:
		v["status"] = "deleted"
		emulator.WriteJSON(w, http.StatusOK, v)
	default:
		emulator.WriteJSON(w, http.StatusOK, map[string]any{"id": j.ID, "object": "video.deleted", "deleted": true})
	}
}

const defaultListLimit = 20

// list shows the jobs, newest first: at vLLM-Omni all of them.
func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	s.o.Ledger.Call("list")
	var all []map[string]any
	for _, j := range s.o.Ledger.Jobs() {
		if j, ok := s.job(j.ID); ok {
			all = append(all, s.video(j))
		}
	}
	slices.Reverse(all)
	q := r.URL.Query()
	if q.Get("order") == "asc" {
		slices.Reverse(all)
	}
	more := false
	if s.o.Kind != VLLMOmni {
		if after := q.Get("after"); after != "" {
			at := slices.IndexFunc(all, func(v map[string]any) bool { return v["id"] == after })
			all = all[at+1:]
		}
		limit, err := strconv.Atoi(q.Get("limit"))
		if err != nil || limit < 1 || limit > 100 {
			limit = defaultListLimit
		}
		more = len(all) > limit
		all = all[:min(len(all), limit)]
	}
	body := map[string]any{"object": "list", "data": append([]map[string]any{}, all...)}
	if s.o.Kind != SGLang {
		body["has_more"] = more
		if len(all) > 0 {
			body["first_id"], body["last_id"] = all[0]["id"], all[len(all)-1]["id"]
		}
	}
	emulator.WriteJSON(w, http.StatusOK, body)
}
