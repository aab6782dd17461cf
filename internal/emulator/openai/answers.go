package openai

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"reelay/internal/emulator"
)

// extraMade is where in Job.Extra it says what a job has made that was the answer to its create.
const extraMade = "made"

// makes takes creates that are answered with what they make.
func (s *Server) makes(what, needs string, write func(http.ResponseWriter, *http.Request, emulator.Job)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.o.Ledger.Call("submit")
		at := time.Now()
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyBytes))
		var in map[string]json.RawMessage
		if err != nil || json.Unmarshal(body, &in) != nil || text(in[needs]) == "" {
			s.o.Ledger.Refuse(emulator.Submit{At: at, Code: http.StatusUnprocessableEntity})
			detail(w, http.StatusUnprocessableEntity, missing(needs))
			return
		}
		script := emulator.ReadScript(body)
		if script.RunMS != nil {
			select {
			case <-r.Context().Done():
			case <-time.After(time.Duration(*script.RunMS) * time.Millisecond):
			}
		}
		s.take(w, r, at, body, in, func(j emulator.Job) {
			_ = s.o.Ledger.Update(j.ID, func(j *emulator.Job) { j.Extra = map[string]string{extraMade: what} }) // it is counted all the same
			if script.Fail != "" {
				emulator.WriteJSON(w, http.StatusInternalServerError, map[string]any{"error": map[string]string{
					"message": "the job ended with " + script.Fail, "type": script.Fail,
				}})
				return
			}
			write(w, r, j)
		})
	}
}

// maxImages is how many images one create makes at most.
const maxImages = 10

func writeImages(w http.ResponseWriter, r *http.Request, j emulator.Job) {
	var in map[string]json.RawMessage
	_ = json.Unmarshal(j.Input, &in) // it was read when the job was accepted
	_, _, image := emulator.Media("image")
	item := map[string]string{"b64_json": base64.StdEncoding.EncodeToString(image)}
	if text(in["response_format"]) == "url" {
		item = map[string]string{"url": "http://" + r.Host + "/v1/images/" + j.ID + "/content"}
	}
	var data []map[string]string
	for range max(1, min(int(number(in["n"])), maxImages)) {
		data = append(data, item)
	}
	emulator.WriteJSON(w, http.StatusOK, map[string]any{"created": j.At.Unix(), "data": data})
}

func writeSound(w http.ResponseWriter, _ *http.Request, _ emulator.Job) {
	_, kind, sound := emulator.Media("speech")
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(sound) // the client has gone
}
