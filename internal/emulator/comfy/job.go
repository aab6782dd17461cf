package comfy

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"reelay/internal/emulator"
)

// The words of a core for the state of a job.
const (
	pending    = "pending"
	inProgress = "in_progress"
	completed  = "completed"
	failed     = "failed"
	cancelled  = "cancelled"
)

// A jobState is the state of a job at one moment.
type jobState struct {
	word string
	// progress is from 0 to 1.
	progress       float64
	started, ended time.Time
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
	stopped := j.CancelledAt != nil
	switch {
	case !stopped && (script.Stall == "queued" || now.Before(started)):
		return jobState{word: pending}
	case !stopped && (script.Stall == "running" || now.Before(ended)):
		state := jobState{word: inProgress, started: started}
		if speed.Run > 0 {
			state.progress = min(0.99, now.Sub(started).Seconds()/speed.Run.Seconds())
		}
		return state
	case stopped:
		return jobState{word: cancelled, started: started, ended: *j.CancelledAt}
	case script.Fail != "":
		return jobState{word: failed, started: started, ended: ended}
	}
	return jobState{word: completed, progress: 1, started: started, ended: ended}
}

// A saver is a node that makes files.
type saver struct{ id, class, list, what, ext string }

// savers returns the nodes of a graph that save or preview something, by their numbers.
func savers(graph json.RawMessage) (all []saver) {
	var nodes map[string]json.RawMessage
	_ = json.Unmarshal(graph, &nodes) // what is no object has none
	for id, raw := range nodes {
		var node struct {
			Class string `json:"class_type"`
		}
		if json.Unmarshal(raw, &node) != nil {
			continue
		}
		for _, of := range []saver{
			{class: "SaveVideo", list: "images", what: "video", ext: ".mp4"},
			{class: "VHS_VideoCombine", list: "gifs", what: "video", ext: ".mp4"},
			{class: "SaveAudio", list: "audio", what: "audio", ext: ".wav"},
			{class: "SaveImage", list: "images", what: "image", ext: ".png"},
			{class: "PreviewImage", list: "images", what: "image", ext: ".png"},
		} {
			if node.Class == of.class {
				of.id = id
				all = append(all, of)
			}
		}
	}
	slices.SortFunc(all, func(a, b saver) int { return cmp.Or(cmp.Compare(len(a.id), len(b.id)), cmp.Compare(a.id, b.id)) })
	return all
}

// file names what a node has made.
func (v saver) file(j emulator.Job) string { return j.ID + "_" + v.id + "_00001_" + v.ext }

// outputs are those of a finished job, by node.
func outputs(j emulator.Job) map[string]any {
	all := map[string]any{}
	for _, v := range savers(j.Input) {
		kind := "output"
		if v.class == "PreviewImage" {
			kind = "temp"
		}
		node := map[string]any{v.list: []map[string]string{{"filename": v.file(j), "subfolder": "", "type": kind}}}
		if v.what == "video" {
			node["animated"] = []bool{true}
		}
		all[v.id] = node
	}
	return all
}

// exception is why a job has failed.
func exception(j emulator.Job, state jobState) map[string]any {
	how := emulator.ReadScript(j.Input).Fail
	node := savers(j.Input)[0]
	return map[string]any{
		"node_id": node.id, "node_type": node.class, "exception_message": "the job ended with " + how, "exception_type": how,
		"traceback": []string{}, "timestamp": state.ended.UnixMilli(),
	}
}

// tuple is a job as queues and histories have it.
func tuple(j emulator.Job) []any {
	return []any{j.Seq, j.ID, j.Input, map[string]any{"client_id": "reelay", "create_time": j.At.UnixMilli()}, []string{}}
}

// object is a job as /api/jobs has it; details are left out of the list.
func (s *Server) object(j emulator.Job, details bool) map[string]any {
	state := s.stateOf(j, time.Now())
	o := map[string]any{"id": j.ID, "status": state.word, "priority": j.Seq, "create_time": j.At.UnixMilli(), "outputs_count": 0}
	if details {
		o["workflow"] = map[string]any{"prompt": j.Input, "extra_data": map[string]any{"create_time": j.At.UnixMilli()}}
	}
	if state.ended.IsZero() {
		return o
	}
	o["execution_start_time"], o["execution_end_time"] = state.started.UnixMilli(), state.ended.UnixMilli()
	if details {
		o["outputs"] = map[string]any{}
	}
	switch state.word {
	case completed:
		o["outputs_count"] = len(savers(j.Input))
		if details {
			o["outputs"] = outputs(j)
		}
	case failed:
		o["execution_error"] = exception(j, state)
	}
	return o
}

// faulty answers a poll as the script says; false where it says nothing. what is told may change.
func (s *Server) faulty(w http.ResponseWriter, r *http.Request, j emulator.Job, o map[string]any, done bool) (answered bool, odd string) {
	script := emulator.ReadScript(j.Input)
	if script.Polls != "" && (script.PollFaults == 0 || s.counts.Count("polls "+j.ID) < script.PollFaults) {
		switch fault := script.Polls; fault {
		case "not_found":
			unknown(w)
			return true, ""
		case "unknown":
			o["status"] = "rebalancing"
		case emulator.OddGzip, emulator.OddBOM, emulator.OddRedirect:
			odd = fault
		default:
			emulator.Misbehave(w, r, strings.TrimPrefix(fault, "refuse_"), refuse)
			return true, ""
		}
	}
	if done && s.counts.Count("result "+j.ID) < script.ResultFaults {
		emulator.Page(w, http.StatusInternalServerError)
		return true, ""
	}
	return false, odd
}

func (s *Server) job(w http.ResponseWriter, r *http.Request) {
	s.o.Ledger.Call("status")
	j, ok := s.find(r.PathValue("id"))
	if !ok {
		unknown(w)
		return
	}
	o := s.object(j, true)
	answered, odd := s.faulty(w, r, j, o, o["status"] == completed)
	if !answered {
		emulator.Oddly(w, r, odd, func(w http.ResponseWriter) { emulator.WriteJSON(w, http.StatusOK, o) })
	}
}

// jobs is the list, newest first.
func (s *Server) jobs(w http.ResponseWriter, r *http.Request) {
	s.o.Ledger.Call("list")
	limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil {
		limit = 1 << 20
	}
	all := []map[string]any{}
	known := s.known()
	slices.Reverse(known)
	for _, j := range known[:min(len(known), limit)] {
		all = append(all, s.object(j, false))
	}
	emulator.WriteJSON(w, http.StatusOK, map[string]any{"jobs": all, "pagination": map[string]any{
		"offset": 0, "limit": limit, "total": len(known), "has_more": len(known) > limit,
	}})
}

func (s *Server) queue(w http.ResponseWriter, _ *http.Request) {
	running, waiting := []any{}, []any{}
	for _, j := range s.known() {
		switch s.stateOf(j, time.Now()).word {
		case inProgress:
			running = append(running, tuple(j))
		case pending:
			waiting = append(waiting, tuple(j))
		}
	}
	emulator.WriteJSON(w, http.StatusOK, map[string]any{"queue_running": running, "queue_pending": waiting})
}

// history is what has ended, all of it or one.
func (s *Server) history(w http.ResponseWriter, r *http.Request) {
	s.o.Ledger.Call("history")
	all := map[string]any{}
	for _, j := range s.known() {
		state := s.stateOf(j, time.Now())
		if id := r.PathValue("id"); state.ended.IsZero() || id != "" && id != j.ID {
			continue
		}
		status := map[string]any{"status_str": "success", "completed": true, "messages": []any{}}
		entry := map[string]any{"prompt": tuple(j), "outputs": outputs(j), "status": status}
		if state.word != completed {
			what := []any{"execution_error", exception(j, state)}
			if state.word == cancelled {
				what = []any{"execution_interrupted", map[string]any{"prompt_id": j.ID}}
			}
			status["status_str"], status["completed"], status["messages"] = "error", false, []any{what}
			entry["outputs"] = map[string]any{}
		}
		all[j.ID] = entry
	}
	emulator.WriteJSON(w, http.StatusOK, all)
}

// end cancels a job: one that waits is forgotten by a core, one that runs is interrupted.
func (s *Server) end(j emulator.Job, forget bool) bool {
	state := s.stateOf(j, time.Now())
	if !state.ended.IsZero() || emulator.ReadScript(j.Input).Cancel == "ignored" {
		return state.ended.IsZero()
	}
	now := time.Now()
	return s.o.Ledger.Update(j.ID, func(j *emulator.Job) {
		j.CancelledAt = &now
		if forget && state.word == pending {
			j.Extra = map[string]string{extraDequeued: "1", extraKey: j.Extra[extraKey]} // the ledger's readers share the old one
		}
	}) == nil
}

func (s *Server) cancel(w http.ResponseWriter, r *http.Request) {
	s.o.Ledger.Call("cancel")
	j, ok := s.find(r.PathValue("id"))
	if !ok {
		unknown(w)
		return
	}
	emulator.WriteJSON(w, http.StatusOK, map[string]bool{"cancelled": s.end(j, true)})
}

// dequeue deletes what waits.
func (s *Server) dequeue(w http.ResponseWriter, r *http.Request) {
	s.o.Ledger.Call("cancel")
	var in struct {
		Delete []string `json:"delete"`
	}
	if json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBodyBytes)).Decode(&in) != nil {
		refuse(w, http.StatusBadRequest)
		return
	}
	for _, id := range in.Delete {
		if j, ok := s.find(id); ok && s.stateOf(j, time.Now()).word == pending {
			s.end(j, true)
		}
	}
}

// interrupt ends what runs: an old core does not read which job is meant.
func (s *Server) interrupt(w http.ResponseWriter, r *http.Request) {
	s.o.Ledger.Call("interrupt")
	var in struct {
		ID string `json:"prompt_id"`
	}
	_ = json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBodyBytes)).Decode(&in) // none means any
	if in.ID == "" {
		s.o.Ledger.Call("interrupt_any")
	}
	for _, j := range s.known() {
		if s.stateOf(j, time.Now()).word == inProgress && (in.ID == "" || s.o.Kind == Old || j.ID == in.ID) {
			s.end(j, true)
			break
		}
	}
}

// made finds the job and the node of a file by its name.
func (s *Server) made(name string) (emulator.Job, saver, bool) {
	id, rest, _ := strings.Cut(name, "_")
	j, ok := s.find(id)
	if !ok || s.stateOf(j, time.Now()).word != completed {
		return j, saver{}, false
	}
	for _, v := range savers(j.Input) {
		if strings.HasPrefix(rest, v.id+"_") {
			return j, v, true
		}
	}
	return j, saver{}, false
}

func (s *Server) view(w http.ResponseWriter, r *http.Request) {
	s.serve(w, r, r.URL.Query().Get("filename"))
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, name string) {
	s.o.Ledger.Call("content")
	j, v, ok := s.made(name)
	script := emulator.ReadScript(j.Input)
	if !ok || script.LinkDead(s.stateOf(j, time.Now()).ended, time.Now()) {
		http.NotFound(w, r)
		return
	}
	emulator.ServeLink(w, r, v.what, script, s.counts.Count("content "+j.ID))
}

// v2Words are the words of v2 for those of a core.
var v2Words = map[string]string{
	pending: "queued", inProgress: "running", completed: "succeeded", failed: "failed", cancelled: "canceled",
}

// v2Object is a job as v2 has it.
func (s *Server) v2Object(j emulator.Job) map[string]any {
	state, base := s.stateOf(j, time.Now()), "/api/v2/jobs/"+j.ID
	o := map[string]any{
		"id": j.ID, "status": v2Words[state.word], "created_at": j.At.UTC(), "queue_position": nil, "outputs": []any{}, "error": nil,
		"progress": map[string]any{"value": state.progress},
		"urls":     map[string]string{"self": base, "events": base + "/events", "cancel": base + "/cancel"},
	}
	switch state.word {
	case pending:
		before := 0
		for _, other := range s.known() {
			if other.Seq < j.Seq && s.stateOf(other, time.Now()).word == pending {
				before++
			}
		}
		o["queue_position"], o["progress"] = before, nil
	case completed:
		var all []map[string]any
		for _, v := range savers(j.Input) {
			_, kind, body := emulator.Media(v.what)
			all = append(all, map[string]any{
				"id": fmt.Sprint(j.ID, "-", v.id), "node_id": v.id, "name": v.file(j), "type": v.what, "content_type": kind,
				"size_bytes": len(body), "url": "/api/v2/outputs/" + v.file(j),
			})
		}
		o["outputs"] = all
	case failed:
		how := emulator.ReadScript(j.Input).Fail
		o["error"] = map[string]string{"code": how, "message": "the job ended with " + how}
	}
	return o
}

func (s *Server) v2Job(w http.ResponseWriter, r *http.Request) {
	s.o.Ledger.Call("status")
	j, ok := s.find(r.PathValue("id"))
	if !ok {
		problem(w, http.StatusNotFound, "not_found", "job not found")
		return
	}
	o := s.v2Object(j)
	answered, odd := s.faulty(w, r, j, o, o["status"] == "succeeded")
	if !answered {
		emulator.Oddly(w, r, odd, func(w http.ResponseWriter) { emulator.WriteJSON(w, http.StatusOK, o) })
	}
}

func (s *Server) v2Cancel(w http.ResponseWriter, r *http.Request) {
	s.o.Ledger.Call("cancel")
	j, ok := s.find(r.PathValue("id"))
	if !ok {
		problem(w, http.StatusNotFound, "not_found", "job not found")
		return
	}
	s.end(j, false)
	j, _ = s.find(j.ID)
	emulator.WriteJSON(w, http.StatusOK, s.v2Object(j))
}

func (s *Server) v2Output(w http.ResponseWriter, r *http.Request) { s.serve(w, r, r.PathValue("name")) }
