package minimax

import (
	"archive/tar"
	"bytes"
	"net/http"
	"strconv"
	"time"

	"reelay/internal/emulator"
)

// speechWords are the words of a speech task, which differ from those of a video task.
var speechWords = map[phase]string{
	preparing: "Processing", queueing: "Processing", processing: "Processing", succeeded: "Success", failed: "Failed",
	expired: "Expired",
}

// querySpeech answers a query of a speech task: its ids are numbers.
func (s *Server) querySpeech(w http.ResponseWriter, r *http.Request) {
	s.o.Ledger.Call("status")
	j, ok := s.o.Ledger.Job(r.URL.Query().Get("task_id"))
	l := s.stateOf(j, time.Now())
	if !ok || j.Extra[emulator.ExtraAPI] != apiSpeech || l.phase == gone {
		s.answerV1(w, 2013, s.o.UnknownTask)
		return
	}
	word, base := speechWords[l.phase], fine
	switch name := s.pollFault(j); {
	case name == "not_found":
		s.answerV1(w, 2013, s.o.UnknownTask)
		return
	case name == "unknown" || l.unknown:
		word = unknownWord
	case name != "" && fault(w, r, v1{s}, name):
		return
	}
	task := map[string]any{"task_id": numericID(j.ID), "status": word}
	switch {
	case l.phase == failed:
		base = baseResp{l.code, l.message}
	case l.phase == succeeded && emulator.ReadScript(j.Input).Result != noFile:
		task["file_id"] = numericID(fileOf(j.ID))
	}
	task["base_resp"] = base
	emulator.Oddly(w, r, s.oddPoll(j), func(w http.ResponseWriter) { writeJSON(w, http.StatusOK, task) })
}

// oddPoll is the script's name for a healthy answer in an odd form.
func (s *Server) oddPoll(j emulator.Job) string { return emulator.ReadScript(j.Input).Polls }

func numericID(id string) int64 {
	n, _ := strconv.ParseInt(id, 10, 64) // ids are decimal
	return n
}

// archiveOf is the file of a speech task: the sound, and two files with its timings.
func archiveOf(j emulator.Job) []byte {
	format, _, sound := soundOf(bodyOf(j), "speech")
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range []struct {
		name    string
		content []byte
	}{
		{j.ID + ".titles", []byte(`[{"text":"","time_begin":0,"time_end":1000}]`)},
		{j.ID + "." + format, sound},
		{j.ID + ".extra", []byte(`{}`)},
	} {
		// A Buffer does not fail, and the names are short.
		_ = w.WriteHeader(&tar.Header{Name: j.ID + "/" + f.name, Mode: 0o644, Size: int64(len(f.content)), ModTime: j.At})
		_, _ = w.Write(f.content)
	}
	_ = w.Close()
	return b.Bytes()
}

// serveAudio serves what a job of another API than video has made.
func serveAudio(w http.ResponseWriter, r *http.Request, j emulator.Job) {
	b := bodyOf(j)
	name, contentType, body := "", "", []byte(nil)
	switch j.Extra[emulator.ExtraAPI] {
	case "image_generation":
		name, contentType, body = emulator.Media("image")
	case apiSpeech:
		name, contentType, body = "output.tar", "application/x-tar", archiveOf(j)
	case "music_generation":
		name, contentType, body = soundOf(b, "audio")
	default:
		name, contentType, body = soundOf(b, "speech")
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
	http.ServeContent(w, r, "", j.At, bytes.NewReader(body))
}

// retrieveContent answers with the file of a speech task itself. For videos that is not documented.
func (s *Server) retrieveContent(w http.ResponseWriter, r *http.Request) {
	s.o.Ledger.Call("result")
	j, ok := s.o.Ledger.Job(shift(r.URL.Query().Get("file_id"), -1))
	if !ok || j.Extra[emulator.ExtraAPI] != apiSpeech || s.stateOf(j, time.Now()).phase != succeeded {
		s.answerV1(w, 2013, "invalid params, file not found")
		return
	}
	serveAudio(w, r, j)
}
