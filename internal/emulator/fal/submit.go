package fal

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"reelay/internal/emulator"
)

// What a job has in emulator.Job.Extra.
const (
	extraStart   = "start_timeout" // in seconds, as sent
	extraBase    = "base"          // URL of the result files, for the webhook
	extraStoreIO = "store_io"      // "0" if the result is not to be kept
)

func (s *Server) submit(w http.ResponseWriter, r *http.Request, segments []string) {
	s.ledger.Call("submit")
	at := time.Now()
	if code, ok := s.take(w, r, segments, at); !ok {
		s.ledger.Refuse(emulator.Submit{At: at, Code: code})
	}
}

// take accepts a submit and answers it, or fails to; one that it does not accept it answers with code, 0 for no answer.
func (s *Server) take(w http.ResponseWriter, r *http.Request, segments []string,
	now time.Time,
) (code int, accepted bool) {
	model := strings.Join(segments, "/")
	if len(segments) < 2 {
		detail(w, http.StatusNotFound, fmt.Sprintf("Application %q not found", model))
		return http.StatusNotFound, false
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		detail(w, http.StatusRequestEntityTooLarge, "Request body too large")
		return http.StatusRequestEntityTooLarge, false
	} else if err != nil {
		return 0, false // the client broke off: nothing to accept
	}
	script := emulator.ReadScript(body)
	if script.Submit == "reset_before" {
		s.ledger.Refuse(emulator.Submit{At: now}) // hangUp may not return
		hangUp(w)
		return 0, true
	}
	if code, ok := strings.CutPrefix(script.Submit, "refuse_"); ok {
		return refuseSubmit(w, r, code), false
	}
	if jobs := s.ledger.Jobs(); script.Submit == "repeat" && len(jobs) > 0 {
		s.ledger.Refuse(emulator.Submit{At: now, Code: http.StatusOK})
		last := jobs[len(jobs)-1]
		reply(w, http.StatusOK, last.ID, s.statusOf(r, last, false))
		return 0, true
	}
	if file := s.missingFile(r, body); file != "" {
		detail(w, http.StatusUnprocessableEntity, "Failed to download the file "+file)
		return http.StatusUnprocessableEntity, false
	}
	speed := s.speed.Of(script)
	start, ok := startTimeout(r.Header)
	if !ok {
		platformError(w, newID(now), failure{
			status: http.StatusBadRequest, errorType: "bad_request", message: "Invalid request timeout: " + start,
		})
		return http.StatusBadRequest, false
	}
	if limit, err := strconv.Atoi(r.URL.Query().Get("fal_max_queue_length")); err == nil && speed.Position > limit {
		return refuse(w, "429"), false
	}
	job := newJob(model, body, r.URL.Query().Get("fal_webhook"), start)
	if job.Correlation != "" {
		job.Extra[extraBase] = s.mediaBase(r)
	}
	if r.Header.Get("X-Fal-Store-IO") == "0" {
		job.Extra[extraStoreIO] = "0"
	}
	job, err = s.plan.accept(job, s.mayTake)
	switch {
	case errors.Is(err, errTooMany):
		return refuse(w, "429"), false
	case err != nil:
		s.log.Error("ledger could not be written", "error", err)
		http.Error(w, "ledger", http.StatusInternalServerError)
		return http.StatusInternalServerError, false
	}
	s.log.Info("job was accepted", "id", job.ID, "model", model)
	s.webhooks.Accepted(r.Context(), job.ID)
	if fault, ok := strings.CutPrefix(script.Submit, "accept_then_"); ok {
		misbehave(w, r, fault)
		return 0, true
	}
	// Before the reply: who has the reply in hand may look at the ledger at once.
	if err := s.ledger.Update(job.ID, func(j *emulator.Job) { j.Answered = true }); err != nil {
		s.log.Error("ledger could not be written", "error", err)
	}
	reply(w, http.StatusOK, job.ID, s.statusOf(r, job, false))
	return 0, true
}

// mayTake counts a submit against the requests per minute.
func (s *Server) mayTake(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rate.Allow(now)
}

func newJob(model string, body []byte, webhook, start string) emulator.Job {
	now := time.Now()
	sum := sha256.Sum256(body)
	j := emulator.Job{
		Provider: "fal", ID: newID(now), Model: model, At: now, Correlation: webhook,
		BodySHA256: hex.EncodeToString(sum[:]), Input: body, Extra: map[string]string{},
	}
	j.PriceUSD = priceUSD(j)
	if start != "" {
		j.Extra[extraStart] = start
	}
	return j
}

// startTimeout returns the start timeout as sent, empty where there is none; the newer of its two headers wins. fal
// wants more than a tenth of a second.
func startTimeout(h http.Header) (text string, ok bool) {
	text = h.Get("X-Fal-Request-Start-Timeout")
	if text == "" {
		text = h.Get("X-Fal-Request-Timeout")
	}
	if text == "" {
		return "", true
	}
	s, err := strconv.ParseFloat(text, 64)
	return text, err == nil && s > 0.1
}

// newID returns a UUID of version 7 for that time.
func newID(now time.Time) string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	ms := now.UnixMilli()
	for i := range 6 {
		b[i] = byte(ms >> (40 - 8*i))
	}
	b[6] = b[6]&0x0f | 0x70
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
