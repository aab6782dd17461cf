package openai

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"reelay/internal/emulator"
)

// missing is what FastAPI says of a field that it has not found.
func missing(field string) any {
	return []map[string]any{{
		"type": "missing", "loc": []string{"body", field}, "msg": "Field required", "input": nil,
	}}
}

// create takes a job.
func (s *Server) create(w http.ResponseWriter, r *http.Request) {
	s.o.Ledger.Call("submit")
	at := time.Now()
	refuse := func(status int, what any) {
		s.o.Ledger.Refuse(emulator.Submit{At: at, Code: status})
		detail(w, status, what)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	if err != nil {
		refuse(http.StatusRequestEntityTooLarge, "Request body too large or broken off")
		return
	}
	in, status, what := s.read(r.Header.Get("Content-Type"), body)
	if status != 0 {
		refuse(status, what)
		return
	}
	s.take(w, r, at, body, in, func(j emulator.Job) { emulator.WriteJSON(w, http.StatusOK, s.video(j)) })
}

// take accepts a create that was read, or refuses it by its script or for its rate.
func (s *Server) take(w http.ResponseWriter, r *http.Request, at time.Time, body []byte, in map[string]json.RawMessage,
	answer func(emulator.Job),
) {
	refuse := func(status int, what any) {
		s.o.Ledger.Refuse(emulator.Submit{At: at, Code: status})
		detail(w, status, what)
	}
	input, err := json.Marshal(in)
	if err != nil {
		refuse(http.StatusBadRequest, err.Error())
		return
	}
	script := emulator.ReadScript(input)
	if script.Submit == "reset_before" {
		s.o.Ledger.Refuse(emulator.Submit{At: at})
		panic(http.ErrAbortHandler)
	}
	if code, ok := strings.CutPrefix(script.Submit, "refuse_"); ok {
		n, _ := strconv.Atoi(strings.TrimSuffix(code, "_html")) // 0 for what is no code
		s.o.Ledger.Refuse(emulator.Submit{At: at, Code: n})
		misbehave(w, r, code)
		return
	}
	s.mu.Lock()
	allowed := s.rate.Allow(at)
	s.mu.Unlock()
	if !allowed {
		refuse(http.StatusTooManyRequests, "Too many requests")
		return
	}
	s.accept(w, r, in, body, input, script, answer)
}

// accept records the job and then answers, or fails to.
func (s *Server) accept(w http.ResponseWriter, r *http.Request, in map[string]json.RawMessage, body, input []byte,
	script emulator.Script, answer func(emulator.Job),
) {
	now := time.Now()
	sum := sha256.Sum256(body)
	j := emulator.Job{
		Provider: providerName, ID: s.nextID(now), Model: text(in["model"]), At: now,
		BodySHA256: hex.EncodeToString(sum[:]), Input: input, Extra: map[string]string{},
	}
	if j.Model == "" {
		j.Model = servedModel
	}
	fault, fails := strings.CutPrefix(script.Submit, "accept_then_")
	j.Answered = !fails
	j, err := s.o.Ledger.Accept(j)
	if err != nil {
		detail(w, http.StatusInternalServerError, err.Error())
		return
	}
	s.o.Log.Info("job was accepted", "id", j.ID, "model", j.Model)
	if fails {
		misbehave(w, r, fault)
		return
	}
	answer(j)
}

// read returns the fields of a create, or the status and the reason with which it is refused.
func (s *Server) read(contentType string, body []byte) (in map[string]json.RawMessage, status int, what any) {
	kind, params, _ := mime.ParseMediaType(contentType)
	switch {
	case kind == "multipart/form-data":
		var files int
		if in, files, what = readForm(body, params["boundary"]); what != nil {
			return nil, http.StatusBadRequest, what
		}
		if s.o.Kind == SGLang && files == 0 {
			return nil, http.StatusBadRequest, "input_reference file is required for multipart requests"
		}
	case s.o.Kind == VLLMOmni: // FastAPI finds no form
	case json.Unmarshal(body, &in) != nil || in == nil:
		return nil, http.StatusUnprocessableEntity, "There was an error parsing the body"
	}
	if text(in["prompt"]) == "" {
		return nil, http.StatusUnprocessableEntity, missing("prompt")
	}
	if in["seconds"] != nil && number(in["seconds"]) <= 0 {
		return nil, http.StatusUnprocessableEntity, "seconds: Input should be a valid integer"
	}
	for _, name := range slices.Sorted(maps.Keys(in)) {
		if name == "size" && !isSize(text(in[name])) {
			return nil, http.StatusUnprocessableEntity, "size: must be WIDTHxHEIGHT"
		}
	}
	return in, 0, nil
}

// readForm reads the fields of a form as JSON: what reads as an object stays one, all else is a text. Of a file only its
// length is kept.
func readForm(body []byte, boundary string) (in map[string]json.RawMessage, files int, what any) {
	form, err := multipart.NewReader(bytes.NewReader(body), boundary).ReadForm(maxBodyBytes)
	if err != nil {
		return nil, 0, "There was an error parsing the body"
	}
	in = map[string]json.RawMessage{}
	for name, values := range form.Value {
		in[name] = json.RawMessage(values[0])
		if !json.Valid(in[name]) || !strings.HasPrefix(values[0], "{") {
			in[name], _ = json.Marshal(values[0]) // a text can be marshalled
		}
	}
	for name, all := range form.File {
		files += len(all)
		in[name], _ = json.Marshal(strconv.FormatInt(all[0].Size, 10) + " bytes")
	}
	return in, files, nil
}

func isSize(size string) bool {
	width, height, ok := strings.Cut(size, "x")
	w, err := strconv.Atoi(width)
	h, err2 := strconv.Atoi(height)
	return ok && err == nil && err2 == nil && w > 0 && h > 0
}

func text(raw json.RawMessage) (s string) {
	_ = json.Unmarshal(raw, &s) // what is no text has none
	return s
}

// number reads a number, or a text that is one.
func number(raw json.RawMessage) float64 {
	n, _ := strconv.ParseFloat(strings.Trim(string(raw), `"`), 64) // 0 for what is none
	return n
}

// misbehave answers in a faulty way.
func misbehave(w http.ResponseWriter, r *http.Request, fault string) {
	emulator.Misbehave(w, r, fault, func(w http.ResponseWriter, status int) {
		emulator.WriteJSON(w, status, map[string]any{"error": map[string]any{
			"message": http.StatusText(status), "type": "ServerError", "code": status,
		}})
	})
}
