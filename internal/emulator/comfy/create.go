package comfy

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"reelay/internal/emulator"
)

// What stands in Job.Extra.
const (
	// extraDequeued says that a job was taken from the queue before it ran.
	extraDequeued = "dequeued"
	// extraKey is the key of a create at v2.
	extraKey = "key"
)

// prompt takes a job at a core.
func (s *Server) prompt(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Prompt   json.RawMessage `json:"prompt"`
		PromptID *string         `json:"prompt_id"`
	}
	s.take(w, r, &in, func() (graph json.RawMessage, id, key string) {
		if in.PromptID != nil && s.o.Kind != Old {
			return in.Prompt, *in.PromptID, ""
		}
		return in.Prompt, newID(), ""
	}, func(j emulator.Job) {
		emulator.WriteJSON(w, http.StatusOK, map[string]any{
			"prompt_id": strings.TrimSuffix(j.ID, again), "number": j.Seq, "node_errors": map[string]any{},
		})
	})
}

// create takes a job at v2.
func (s *Server) create(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Workflow json.RawMessage `json:"workflow"`
	}
	s.take(w, r, &in, func() (graph json.RawMessage, id, key string) {
		return in.Workflow, newID(), r.Header.Get("Idempotency-Key")
	}, func(j emulator.Job) { emulator.WriteJSON(w, http.StatusCreated, s.v2Object(j)) })
}

// again marks a job whose id another had before.
const again = ".2"

// take reads a create into v, and accepts it or refuses it by its script.
func (s *Server) take(w http.ResponseWriter, r *http.Request, v any, read func() (graph json.RawMessage, id, key string),
	answer func(emulator.Job),
) {
	s.o.Ledger.Call("submit")
	at := time.Now()
	refused := func(status int, code, message string) {
		s.o.Ledger.Refuse(emulator.Submit{At: at, Code: status})
		problem(w, status, code, message)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	if err != nil || json.Unmarshal(body, v) != nil {
		refused(http.StatusBadRequest, "no_prompt", "No prompt provided")
		return
	}
	graph, id, key := read()
	script := emulator.ReadScript(graph)
	if script.Submit == "reset_before" {
		s.o.Ledger.Refuse(emulator.Submit{At: at})
		panic(http.ErrAbortHandler)
	}
	if how, ok := strings.CutPrefix(script.Submit, "refuse_"); ok {
		status, _ := strconv.Atoi(strings.TrimSuffix(how, "_html")) // 0 for what is no status
		s.o.Ledger.Refuse(emulator.Submit{At: at, Code: status})
		emulator.Misbehave(w, r, how, refuse)
		return
	}
	switch {
	case len(savers(graph)) == 0:
		refused(http.StatusBadRequest, "prompt_no_outputs", "Prompt has no outputs")
		return
	case !canonical.MatchString(id):
		refused(http.StatusBadRequest, "invalid_prompt_id", "prompt_id must be a UUID in canonical lowercase hyphenated form")
		return
	}
	s.mu.Lock()
	allowed := s.rate.Allow(at)
	s.mu.Unlock()
	if !allowed {
		refused(http.StatusTooManyRequests, "rate_limited", "Too many requests")
		return
	}
	sum := sha256.Sum256(body)
	fault, fails := strings.CutPrefix(script.Submit, "accept_then_")
	j, err := s.accept(emulator.Job{
		Provider: providerName, ID: id, Model: savers(graph)[0].class, At: at, BodySHA256: hex.EncodeToString(sum[:]), Input: graph,
		Answered: !fails, Extra: map[string]string{extraKey: key},
	})
	if err != nil {
		refused(http.StatusUnprocessableEntity, "idempotency_key_reuse", err.Error())
		return
	}
	s.o.Log.Info("job was accepted", "id", j.ID)
	if fails {
		emulator.Misbehave(w, r, fault, refuse)
		return
	}
	answer(j)
}

// accept records a job. It fails for a key that was used before.
func (s *Server) accept(j emulator.Job) (emulator.Job, error) {
	s.submits.Lock()
	defer s.submits.Unlock()
	for _, known := range s.o.Ledger.Jobs() {
		if key := j.Extra[extraKey]; key != "" && known.Extra[extraKey] == key {
			return j, fmt.Errorf("the Idempotency-Key was used at %v", known.At)
		}
	}
	if _, ok := s.o.Ledger.Job(j.ID); ok {
		j.ID += again
	}
	return s.o.Ledger.Accept(j)
}

var canonical = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// newID returns a UUID of version 4.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // does not fail
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// upload takes a file for inputs at a core.
func (s *Server) upload(w http.ResponseWriter, r *http.Request) {
	u, ok := s.receive(w, r, "image")
	if !ok {
		return
	}
	emulator.WriteJSON(w, http.StatusOK, map[string]string{"name": u.Name, "subfolder": r.FormValue("subfolder"), "type": "input"})
}

// asset takes one at v2.
func (s *Server) asset(w http.ResponseWriter, r *http.Request) {
	u, ok := s.receive(w, r, "file")
	if !ok {
		return
	}
	emulator.WriteJSON(w, http.StatusCreated, map[string]any{"id": u.ID, "size_bytes": u.Size, "content_type": u.ContentType})
}

func (s *Server) receive(w http.ResponseWriter, r *http.Request, field string) (u emulator.Upload, ok bool) {
	s.o.Ledger.Call("upload")
	r.Body = http.MaxBytesReader(w, r.Body, maxFileBytes)
	file, head, err := r.FormFile(field)
	if err != nil {
		problem(w, http.StatusBadRequest, "missing_asset", "no file")
		return u, false
	}
	defer file.Close()
	sum, now := sha256.New(), time.Now()
	n, err := io.Copy(sum, file)
	if err != nil {
		problem(w, http.StatusBadRequest, "missing_asset", "the file broke off")
		return u, false
	}
	u = emulator.Upload{
		ID: newID(), Name: head.Filename, Purpose: field, ContentType: head.Header.Get("Content-Type"), Size: n,
		SHA256: hex.EncodeToString(sum.Sum(nil)), At: now, ExpiresAt: now.Add(7 * 24 * time.Hour),
	}
	u.URL = u.ID
	if err := s.o.Ledger.AddUpload(u); err != nil {
		refuse(w, http.StatusInternalServerError)
		return u, false
	}
	return u, true
}
