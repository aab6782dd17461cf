package minimax

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strconv"
	"time"

	"reelay/internal/emulator"
)

// urlLife is how long a link to a result works, by V1's download page. For V2 it is not documented.
const urlLife = time.Hour

// base is the server's own URL as its client has it.
func base(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

// mediaURL makes a link to the result of a job that works from now on for a while.
func (s *Server) mediaURL(base, id string) string {
	name, life := "output.mp4", s.o.LinkLife
	if j, ok := s.o.Ledger.Job(id); ok {
		name = fileName(j)
		if ms := emulator.ReadScript(j.Input).LinkLifeMS; ms > 0 {
			life = time.Duration(ms) * time.Millisecond
		}
	}
	expires := strconv.FormatInt(time.Now().Add(life).Unix(), 10)
	return base + "/media/" + id + "/" + name + "?Expires=" + expires + "&Signature=" + signature(id, expires)
}

// fileName is the last part of the link to what a job has made.
func fileName(j emulator.Job) string {
	switch api := j.Extra[emulator.ExtraAPI]; api {
	case "v1", "v2":
		return "output.mp4"
	case "image_generation":
		return "output.png"
	case apiSpeech:
		return "output.tar"
	}
	format, _, _ := soundOf(bodyOf(j), "speech")
	return "output." + format
}

// signature ties a link to its end. It guards nothing, so it needs no secret, and links outlive a restart.
func signature(id, expires string) string {
	sum := sha256.Sum256([]byte("reelay emulator " + id + " " + expires))
	return hex.EncodeToString(sum[:12])
}

// media serves a result, with ranges, until the link expires.
func (s *Server) media(w http.ResponseWriter, r *http.Request) {
	s.o.Ledger.Call("media")
	id, q := r.PathValue("id"), r.URL.Query()
	end, err := strconv.ParseInt(q.Get("Expires"), 10, 64)
	switch {
	case err != nil || q.Get("Signature") != signature(id, q.Get("Expires")):
		denied(w, "SignatureDoesNotMatch")
	case time.Now().Unix() >= end:
		denied(w, "Request has expired.")
	default:
		j, ok := s.o.Ledger.Job(id)
		if api := j.Extra[emulator.ExtraAPI]; ok && api != "v1" && api != "v2" {
			serveAudio(w, r, j)
			return
		}
		emulator.ServeLink(w, r, "video", emulator.ReadScript(j.Input), s.count(id, "links")-1)
	}
}

// denied answers as the storage behind MiniMax's links does.
func denied(w http.ResponseWriter, why string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(http.StatusForbidden)
	_, _ = io.WriteString(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code><Message>`+why+
		"</Message></Error>\n")
}
