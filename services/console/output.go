package console

import (
	"context"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"reelay/events"
)

const (
	// fileWait bounds the handing through of one file, fileStart the time until it begins.
	fileWait  = time.Hour
	fileStart = 20 * time.Second
	// maxShownLink is the longest link that a page shows; a longer one is a file in itself.
	maxShownLink = 4 << 10
)

// player returns the element that plays a type of media: video, audio or img; empty for what is not played, because it
// may be more than media or because browsers do not play it.
func player(contentType string) string {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return ""
	}
	switch kind {
	case "video/mp4", "video/webm", "video/quicktime", "video/ogg":
		return "video"
	case "audio/mpeg", "audio/mp4", "audio/x-m4a", "audio/wav", "audio/x-wav", "audio/wave", "audio/flac", "audio/x-flac",
		"audio/aac", "audio/ogg", "audio/webm":
		return "audio"
	case "image/png", "image/jpeg", "image/gif", "image/webp", "image/avif":
		return "img"
	}
	return ""
}

// An output is a file of a task as the page shows it.
type output struct {
	events.Output
	N int
	// Path is where the console hands the stored file through; empty while there is none. Player is the element that plays
	// it.
	Path, Player string
	// Link is the provider's own link, for as long as it lives.
	Link string
	// Key changes when the player has to.
	Key string
}

func outputs(t events.Task) (all []output) {
	if t.Result == nil {
		return nil
	}
	for i, o := range t.Result.Outputs {
		out := output{Output: o, N: i + 1}
		if o.IsStored() {
			out.Path = taskPath(t.Project, t.ID) + "/outputs/" + strconv.Itoa(i)
			out.Player = player(o.ContentType)
			out.Key = o.SHA256
		}
		if len(o.URL) <= maxShownLink {
			out.Link = shown(o.URL)
		}
		all = append(all, out)
	}
	return all
}

// output hands a stored file through from the archiver, with ranges, so that a page plays it from the console's own
// address.
func (s *Service) output(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.PathValue("output"))
	if err != nil {
		s.problem(w, r, http.StatusNotFound, "There is no such output.")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), fileWait)
	defer cancel()
	reply, err := s.client.Links(ctx, taskKey(r), fileWait)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	for _, l := range reply.Links {
		if l.Output == n {
			s.handThrough(ctx, w, r, l)
			return
		}
	}
	s.problem(w, r, http.StatusNotFound, "This output is not in the store, or no longer.")
}

// handThrough answers a request with a stored file. Its type is the one that the archiver found by its bytes; what no
// player is for is saved, never shown: it might be a page with a script.
func (s *Service) handThrough(ctx context.Context, w http.ResponseWriter, r *http.Request, l events.Link) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	late := time.AfterFunc(fileStart, cancel)
	ask, err := http.NewRequestWithContext(ctx, http.MethodGet, l.URL, nil)
	if err != nil || shown(l.URL) == "" {
		s.problem(w, r, http.StatusBadGateway, "The archiver's link cannot be used.")
		return
	}
	for _, name := range []string{"Range", "If-Range", "If-None-Match", "If-Modified-Since"} {
		if v := r.Header.Get(name); v != "" {
			ask.Header.Set(name, v)
		}
	}
	answer, err := s.files.Do(ask)
	if err != nil {
		s.o.Log.Warn("a stored file could not be fetched from the archiver", "task", taskKey(r).String(), "output", l.Output)
		s.problem(w, r, http.StatusBadGateway, "The stored file cannot be fetched from the archiver now.")
		return
	}
	defer answer.Body.Close()
	late.Stop()
	switch answer.StatusCode {
	case http.StatusOK, http.StatusPartialContent, http.StatusNotModified, http.StatusRequestedRangeNotSatisfiable:
	default:
		s.problem(w, r, http.StatusBadGateway, "The archiver answered "+answer.Status+".")
		return
	}
	header := w.Header()
	for _, name := range []string{"Content-Length", "Content-Range", "Accept-Ranges", "Etag", "Last-Modified"} {
		if v := answer.Header.Get(name); v != "" {
			header.Set(name, v)
		}
	}
	disposition := "inline"
	header.Set("Content-Type", l.ContentType)
	if player(l.ContentType) == "" || r.FormValue("save") != "" {
		disposition = "attachment"
	}
	if player(l.ContentType) == "" {
		header.Set("Content-Type", "application/octet-stream")
	}
	header.Set("Content-Disposition", mime.FormatMediaType(disposition, map[string]string{"filename": fileName(l)}))
	header.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	header.Set("Cache-Control", "private, max-age=3600")
	w.WriteHeader(answer.StatusCode)
	_, _ = io.Copy(w, answer.Body) // whoever has gone does not need it
}

func fileName(l events.Link) string {
	if l.FileName == "" || strings.ContainsAny(l.FileName, `/\`) {
		return "output-" + strconv.Itoa(l.Output+1)
	}
	return l.FileName
}
