package fal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"reelay/internal/emulator"
)

const (
	initiatePath  = "/storage/upload/initiate"
	multipartPath = "/storage/upload/initiate-multipart"
	// putPath takes the bytes, filesPath is where requests say that they are.
	putPath, filesPath = "/storage/put/", "/storage/files/"
	// maxUploadBytes bounds a file, maxPartBytes a part of one.
	maxUploadBytes, maxPartBytes = 1 << 30, 90 << 20
	// maxOpen bounds the uploads that have begun; beyond it all of them are forgotten.
	maxOpen = 1000
	// uploadLife is how long a file is kept that asks for nothing else.
	uploadLife = 30 * 24 * time.Hour
)

// An opened is an upload that has begun.
type opened struct {
	emulator.Upload
	multipart bool
	sum       hash.Hash
	// etags are those of the parts that have come.
	etags []string
}

// initiate tells where a file is to be put.
func (s *Server) initiate(w http.ResponseWriter, r *http.Request) {
	s.ledger.Call("initiate")
	var ask struct {
		ContentType string `json:"content_type"`
		FileName    string `json:"file_name"`
	}
	var life struct {
		Seconds int `json:"expiration_duration_seconds"`
	}
	switch {
	case r.Method != http.MethodPost || r.URL.Query().Get("storage_type") != "fal-cdn-v3":
		detail(w, http.StatusBadRequest, "Unknown storage type")
		return
	case json.NewDecoder(io.LimitReader(r.Body, maxBodyBytes)).Decode(&ask) != nil || ask.ContentType == "" || ask.FileName == "":
		detail(w, http.StatusUnprocessableEntity, "content_type and file_name are required")
		return
	}
	at := time.Now()
	u := &opened{multipart: r.URL.Path == multipartPath, sum: sha256.New(), Upload: emulator.Upload{
		ID: newID(at), Name: ask.FileName, ContentType: ask.ContentType, At: at, ExpiresAt: at.Add(uploadLife),
	}}
	if text := r.Header.Get("X-Fal-Object-Lifecycle"); text != "" {
		if json.Unmarshal([]byte(text), &life) != nil || life.Seconds <= 0 {
			detail(w, http.StatusUnprocessableEntity, "Invalid object lifecycle")
			return
		}
		u.ExpiresAt = at.Add(time.Duration(life.Seconds) * time.Second)
	}
	u.URL = s.mediaBase(r) + filesPath + u.ID + "/" + u.Name
	s.mu.Lock()
	if len(s.opened) >= maxOpen {
		clear(s.opened)
	}
	s.opened[u.ID] = u
	s.mu.Unlock()
	reply(w, http.StatusOK, "", map[string]string{"upload_url": base(r) + putPath + u.ID + "?token=" + u.ID[:8], "file_url": u.URL})
}

// takeFile takes the bytes of a file, or of a part of one, or the word that all parts have come. The key has no place
// here: the address is another host's.
func (s *Server) takeFile(w http.ResponseWriter, r *http.Request) {
	s.ledger.Call("upload")
	id, step, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, putPath), "/")
	s.mu.Lock()
	u := s.opened[id]
	s.mu.Unlock()
	switch {
	case r.Header.Get("Authorization") != "":
		detail(w, http.StatusBadRequest, "Authorization is not for the storage")
	case u == nil || r.URL.Query().Get("token") != id[:8] || u.multipart == (step == ""):
		detail(w, http.StatusNotFound, "Not Found")
	case r.Method == http.MethodPost && step == "complete":
		s.complete(w, r, u)
	case r.Method != http.MethodPut || !u.multipart && r.Header.Get("Content-Type") != u.ContentType:
		detail(w, http.StatusBadRequest, "Bad upload")
	case !u.multipart:
		sum := sha256.New()
		n, err := io.Copy(sum, http.MaxBytesReader(w, r.Body, maxUploadBytes))
		if err != nil || r.ContentLength != n {
			detail(w, http.StatusBadRequest, "The upload ended early")
			return
		}
		u.Size, u.sum = n, sum
		s.finish(w, u)
	default:
		s.takePart(w, r, u, step)
	}
}

// takePart takes the next part of a file.
func (s *Server) takePart(w http.ResponseWriter, r *http.Request, u *opened, step string) {
	part, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPartBytes))
	n, bad := strconv.Atoi(step)
	if err != nil || bad != nil || r.ContentLength != int64(len(part)) {
		detail(w, http.StatusBadRequest, "Bad part")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n != len(u.etags)+1 {
		detail(w, http.StatusBadRequest, fmt.Sprintf("Part %d is not the next", n))
		return
	}
	_, _ = io.Copy(u.sum, bytes.NewReader(part)) // a hash does not fail
	u.Size += int64(len(part))
	u.etags = append(u.etags, fmt.Sprintf("etag-%d-%d", n, len(part)))
	reply(w, http.StatusOK, "", map[string]any{"partNumber": n, "etag": u.etags[n-1]})
}

// complete ends an upload in parts.
func (s *Server) complete(w http.ResponseWriter, r *http.Request, u *opened) {
	var ask struct {
		Parts []struct {
			Number int    `json:"partNumber"`
			ETag   string `json:"etag"`
		} `json:"parts"`
	}
	bad := json.NewDecoder(io.LimitReader(r.Body, maxBodyBytes)).Decode(&ask) != nil || len(ask.Parts) != len(u.etags)
	for i, p := range ask.Parts {
		bad = bad || p.Number != i+1 || p.ETag != u.etags[i]
	}
	if bad {
		detail(w, http.StatusBadRequest, "The parts are not those that came")
		return
	}
	s.finish(w, u)
}

// finish records a file.
func (s *Server) finish(w http.ResponseWriter, u *opened) {
	u.SHA256 = hex.EncodeToString(u.sum.Sum(nil))
	if err := s.ledger.AddUpload(u.Upload); err != nil {
		s.log.Error("ledger could not be written", "error", err)
		http.Error(w, "ledger", http.StatusInternalServerError)
		return
	}
	s.mu.Lock()
	delete(s.opened, u.ID)
	s.mu.Unlock()
	reply(w, http.StatusOK, "", map[string]string{"url": u.URL})
}

// missingFile returns a file of the storage that a body names and that is not there.
func (s *Server) missingFile(r *http.Request, body []byte) string {
	missing := ""
	emulator.Texts(body, func(text string) {
		if !strings.HasPrefix(text, s.mediaBase(r)+filesPath) {
			return
		}
		if _, ok := s.ledger.Upload(text, time.Now()); !ok {
			missing = text
		}
	})
	return missing
}
