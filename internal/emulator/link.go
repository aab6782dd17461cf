package emulator

import (
	"compress/gzip"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// The faults of the links to results (Script.Link).
const (
	linkCut      = "cut"      // the connection breaks in the middle
	linkStall    = "stall"    // no more bytes come from the middle on
	linkShort    = "short"    // the first half, sent as if it were all
	linkType     = "type"     // a picture, or a video for one, under the type of the file
	linkHTML     = "html"     // a page under 200
	linkRedirect = "redirect" // to the same file by another link
	linkLoop     = "loop"     // to itself
	linkBomb     = "bomb"     // a few bytes that are encoded and expand to bombBytes
)

// bombBytes is the size of what a link that is a bomb expands to.
const bombBytes = 64 << 20

// longStall is longer than any client waits for bytes.
const longStall = 10 * time.Minute

const linkPage = "<!doctype html><html><body>This link has expired</body></html>"

// LinkDead reports whether a link that has worked since a time does no more, by the job's script.
func (s Script) LinkDead(since, now time.Time) bool {
	return s.LinkLifeMS > 0 && !now.Before(since.Add(time.Duration(s.LinkLifeMS)*time.Millisecond))
}

// ServeLink is ServeMedia with the faults that a script asks for. reads is how often the link was read before.
func ServeLink(w http.ResponseWriter, r *http.Request, t string, s Script, reads int) {
	fault := s.Link
	if s.LinkFaults > 0 && reads >= s.LinkFaults {
		fault = ""
	}
	_, contentType, body := Media(t)
	switch fault {
	case linkCut, linkStall:
		ServeMedia(&halved{ResponseWriter: w, r: r, left: len(body) / 2, stall: fault == linkStall}, r, t)
	case linkShort:
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write(body[:len(body)/2])
	case linkType:
		other := "image"
		if t == other {
			other = "video"
		}
		_, _, body = Media(other)
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write(body)
	case linkHTML:
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(linkPage))
	case linkRedirect:
		if r.URL.Query().Has("moved") {
			ServeMedia(w, r, t)
			return
		}
		http.Redirect(w, r, r.URL.Path+"?"+url.Values{"moved": {"1"}}.Encode(), http.StatusFound)
	case linkLoop:
		http.Redirect(w, r, r.URL.RequestURI(), http.StatusFound)
	case linkBomb:
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		for range bombBytes >> 16 {
			if _, err := z.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
		_ = z.Close() // the client may be gone
	default:
		if code, err := strconv.Atoi(strings.TrimPrefix(fault, "refuse_")); err == nil && code >= 400 && code < 600 {
			http.Error(w, http.StatusText(code), code)
			return
		}
		ServeMedia(w, r, t)
	}
}

// halved breaks a response off, or stops it, after a number of bytes.
type halved struct {
	http.ResponseWriter
	r     *http.Request
	left  int
	stall bool
}

// Write implements http.ResponseWriter.
func (h *halved) Write(p []byte) (int, error) {
	n, err := h.ResponseWriter.Write(p[:min(len(p), h.left)])
	h.left -= n
	if err == nil && h.left == 0 {
		_ = http.NewResponseController(h.ResponseWriter).Flush()
		if h.stall {
			select {
			case <-h.r.Context().Done():
			case <-time.After(longStall):
			}
		}
		panic(http.ErrAbortHandler)
	}
	return n, err
}
