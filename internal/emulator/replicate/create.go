package replicate

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"reelay/internal/emulator"
)

// What stands in Job.Extra.
const (
	extraModel      = "model"
	extraVersion    = "version"
	extraDeployment = "deployment"
	extraLife       = "cancel_after_s"
	extraBase       = "base"
)

// hidden is the version of a model that is asked for by its name.
const hidden = "hidden"

// create takes a prediction.
func (s *Server) create(w http.ResponseWriter, r *http.Request) {
	s.o.Ledger.Call("submit")
	at := time.Now()
	refused := func(status int) { s.o.Ledger.Refuse(emulator.Submit{At: at, Code: status}) }
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	var in struct {
		Version string          `json:"version"`
		Input   json.RawMessage `json:"input"`
		Webhook string          `json:"webhook"`
		Events  []string        `json:"webhook_events_filter"`
	}
	var object map[string]json.RawMessage
	named := r.PathValue("name") != ""
	if err != nil || json.Unmarshal(body, &in) != nil || json.Unmarshal(in.Input, &object) != nil || object == nil ||
		named == (in.Version != "") {
		refused(http.StatusUnprocessableEntity)
		refuse(w, http.StatusUnprocessableEntity)
		return
	}
	script := emulator.ReadScript(in.Input)
	if script.Submit == "reset_before" {
		refused(0)
		panic(http.ErrAbortHandler)
	}
	if how, ok := strings.CutPrefix(script.Submit, "refuse_"); ok {
		status, _ := strconv.Atoi(strings.TrimSuffix(how, "_html")) // 0 for what is no status
		refused(status)
		emulator.Misbehave(w, r, how, refuse)
		return
	}
	s.mu.Lock()
	allowed := s.rate.Allow(at)
	s.mu.Unlock()
	if !allowed {
		refused(http.StatusTooManyRequests)
		refuse(w, http.StatusTooManyRequests)
		return
	}
	sum := sha256.Sum256(body)
	j := emulator.Job{
		Provider: providerName, ID: s.nextID(at), At: at, BodySHA256: hex.EncodeToString(sum[:]), Input: emulator.KeptBody(in.Input),
		Correlation: in.Webhook, Extra: map[string]string{extraVersion: in.Version, extraBase: "http://" + r.Host},
	}
	owned := r.PathValue("owner") + "/" + r.PathValue("name")
	switch {
	case strings.HasPrefix(r.URL.Path, "/v1/deployments/"):
		j.Extra[extraDeployment], j.Model = owned, "deployments/"+owned
	case named:
		j.Extra[extraModel], j.Extra[extraVersion], j.Model = owned, hidden, owned
	default:
		model, version, ok := strings.Cut(in.Version, ":")
		if !ok {
			model, version = "emulated/model", in.Version
		}
		j.Extra[extraModel], j.Extra[extraVersion], j.Model = model, version, in.Version
	}
	if life, err := time.ParseDuration(r.Header.Get("Cancel-After")); err == nil {
		j.Extra[extraLife] = strconv.FormatFloat(life.Seconds(), 'f', -1, 64)
	}
	j.PriceUSD = priceOf(j)
	fault, fails := strings.CutPrefix(script.Submit, "accept_then_")
	j.Answered = !fails
	if j, err = s.o.Ledger.Accept(j); err != nil {
		detail(w, http.StatusInternalServerError, "Internal error", err.Error())
		return
	}
	s.o.Log.Info("prediction was accepted", "id", j.ID, "model", j.Model)
	s.webhooks.Accepted(r.Context(), j.ID)
	if fails {
		emulator.Misbehave(w, r, fault, refuse)
		return
	}
	emulator.WriteJSON(w, http.StatusCreated, s.prediction(j, time.Now()))
}

// priceOf is what a prediction costs if it succeeds: by replicate.com/pricing for some, a stand-in for all others.
func priceOf(j emulator.Job) float64 {
	image, ok := map[string]float64{
		"black-forest-labs/flux-schnell": 0.003, "black-forest-labs/flux-dev": 0.025, "black-forest-labs/flux-1.1-pro": 0.04,
	}[j.Model]
	switch {
	case ok:
		return image * float64(imagesOf(j))
	case makes(j.Model) == "image":
		return 0.02 * float64(imagesOf(j))
	case makes(j.Model) == "audio":
		return 0.02
	}
	return 0.5
}

// maxImages is how many pictures one prediction makes at most.
const maxImages = 4

func imagesOf(j emulator.Job) int {
	var in struct {
		N int `json:"num_outputs"`
	}
	_ = json.Unmarshal(j.Input, &in) // a field of another type is as good as none
	return max(1, min(in.N, maxImages))
}

// makes tells by its name what a model makes.
func makes(model string) string {
	for _, of := range []struct{ word, what string }{
		{"flux", "image"}, {"image", "image"}, {"sdxl", "image"}, {"speech", "audio"}, {"tts", "audio"}, {"music", "audio"},
	} {
		if strings.Contains(model, of.word) {
			return of.what
		}
	}
	return "video"
}

// upload takes a file for inputs.
func (s *Server) upload(w http.ResponseWriter, r *http.Request) {
	s.o.Ledger.Call("upload")
	r.Body = http.MaxBytesReader(w, r.Body, maxFileBytes)
	file, head, err := r.FormFile("content")
	if err != nil {
		refuse(w, http.StatusUnprocessableEntity)
		return
	}
	defer file.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, file)
	if err != nil {
		refuse(w, http.StatusUnprocessableEntity)
		return
	}
	now := time.Now()
	id := s.nextID(now)
	u := emulator.Upload{
		ID: id, URL: "http://" + r.Host + "/v1/files/" + id, Name: head.Filename, Purpose: "files",
		ContentType: head.Header.Get("Content-Type"), Size: n, SHA256: hex.EncodeToString(sum.Sum(nil)), At: now,
		ExpiresAt: now.Add(24 * time.Hour),
	}
	if err := s.o.Ledger.AddUpload(u); err != nil {
		detail(w, http.StatusInternalServerError, "Internal error", err.Error())
		return
	}
	emulator.WriteJSON(w, http.StatusCreated, map[string]any{
		"id": u.ID, "content_type": u.ContentType, "size": u.Size, "checksums": map[string]string{"sha256": u.SHA256},
		"created_at": u.At.UTC(), "expires_at": u.ExpiresAt.UTC(), "urls": map[string]string{"get": u.URL},
	})
}
