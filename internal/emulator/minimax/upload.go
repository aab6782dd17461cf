package minimax

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"reelay/internal/emulator"
)

const (
	// maxUploadBytes bounds an upload.
	maxUploadBytes = 512 << 20
	// uploadLife is how long a file is kept.
	uploadLife = 7 * 24 * time.Hour
	// fileScheme begins what V2 calls a file.
	fileScheme = "mm_file://"

	purposeVideo = "video_generation_input"
)

// upload takes a file. A bad one is refused with HTTP 400, unlike everything else of V1.
func (s *Server) upload(w http.ResponseWriter, r *http.Request) {
	s.o.Ledger.Call("upload")
	refuse := func(why string) {
		writeJSON(w, http.StatusBadRequest, map[string]any{"base_resp": baseResp{2013, "invalid params, " + why}})
	}
	form, err := r.MultipartReader()
	if err != nil {
		refuse("not a form")
		return
	}
	at := time.Now()
	u := emulator.Upload{At: at, ExpiresAt: at.Add(uploadLife)}
	sum := sha256.New()
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return // the client broke off
		}
		switch part.FormName() {
		case "purpose":
			text, _ := io.ReadAll(io.LimitReader(part, 100))
			u.Purpose = string(text)
		case "file":
			u.Name = part.FileName()
			if u.Size, err = io.Copy(sum, http.MaxBytesReader(w, part, maxUploadBytes)); err != nil {
				return
			}
		}
	}
	purposes := []string{purposeVideo, "voice_clone", "prompt_audio", "t2a_async_input", "video_understanding"}
	if !slices.Contains(purposes, u.Purpose) || u.Size == 0 {
		refuse("purpose and file are required")
		return
	}
	s.mu.Lock()
	u.ID = s.nextID(at)
	s.mu.Unlock()
	u.URL, u.SHA256 = fileScheme+u.ID, hex.EncodeToString(sum.Sum(nil))
	if err := s.o.Ledger.AddUpload(u); err != nil {
		http.Error(w, "ledger", http.StatusInternalServerError)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"file": map[string]any{
			"file_id": json.Number(u.ID), "bytes": u.Size, "created_at": at.Unix(), "filename": u.Name, "purpose": u.Purpose,
		}, "base_resp": fine,
	})
}

// missingFile says which upload a create names that is not there, "" if none.
func (s *Server) missingFile(g generation, body []byte) string {
	wrong := ""
	emulator.Texts(body, func(text string) {
		if !strings.HasPrefix(text, fileScheme) {
			return
		}
		if u, ok := s.o.Ledger.Upload(text, time.Now()); !ok || u.Purpose != purposeVideo || g.name() != "v2" {
			wrong = "file " + text + " does not exist"
		}
	})
	return wrong
}
