package emulator

import (
	"compress/gzip"
	"io"
	"net/http"
)

// The ways in which a healthy answer can be odd, as HTTP allows it and real servers do it. A script asks for one by
// name, see Script.Polls.
const (
	OddGzip     = "gzip"     // compressed, though nobody asked for that
	OddBOM      = "bom"      // begins with a byte order mark
	OddRedirect = "redirect" // a 307 to the same server comes first
)

// again marks a call that was redirected.
const again = "redirected"

// Oddly lets next give its answer in that way, or as it is where how is none of the odd ones.
func Oddly(w http.ResponseWriter, r *http.Request, how string, next func(http.ResponseWriter)) {
	switch {
	case how == OddRedirect && r.URL.Query().Get(again) == "":
		q := r.URL.Query()
		q.Set(again, "1")
		http.Redirect(w, r, r.URL.Path+"?"+q.Encode(), http.StatusTemporaryRedirect)
	case how == OddGzip:
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		next(rewriter{w, z})
		_ = z.Close() // the client has gone
	case how == OddBOM:
		next(rewriter{w, &marked{w: w}})
	default:
		next(w)
	}
}

// A rewriter sends a body through another writer.
type rewriter struct {
	http.ResponseWriter
	body io.Writer
}

func (w rewriter) Write(p []byte) (int, error) { return w.body.Write(p) }

// marked writes a byte order mark first.
type marked struct {
	w    io.Writer
	done bool
}

func (m *marked) Write(p []byte) (int, error) {
	if !m.done {
		m.done = true
		if _, err := io.WriteString(m.w, "\ufeff"); err != nil {
			return 0, err
		}
	}
	return m.w.Write(p)
}
