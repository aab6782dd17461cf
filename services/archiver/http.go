package archiver

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"reelay/internal/artifact"
	"reelay/internal/secret"
)

const (
	// artifactsPath is where files are handed out.
	artifactsPath = "/artifacts/"
	// maxServed is how many files are handed out at once.
	maxServed = 256
	// headerWait, idleWait and serveWait bound a request's head, a connection between requests and a whole answer.
	headerWait = 10 * time.Second
	idleWait   = time.Minute
	serveWait  = 6 * time.Hour
	stopWait   = 5 * time.Second
)

// The parameters of a link.
const (
	paramExpires = "expires"
	paramFile    = "file"
	paramMAC     = "mac"
)

// mac signs what a link is for.
func mac(key secret.Value, name, expires, file string) string {
	h := hmac.New(sha256.New, []byte(key.Reveal()))
	_, _ = fmt.Fprintf(h, "artifact\n%s\n%s\n%s", name, expires, file) // a hash does not fail
	return hex.EncodeToString(h.Sum(nil))
}

// ownLink returns a link of the archiver itself to a file. It works until it expires, for GET and HEAD.
func (s *Service) ownLink(n artifact.Name, file string, expires time.Time) string {
	at := strconv.FormatInt(expires.Unix(), 10)
	query := url.Values{paramExpires: {at}, paramFile: {file}, paramMAC: {mac(s.o.Keys[0], n.String(), at, file)}}
	return s.o.PublicURL + artifactsPath + n.String() + "?" + query.Encode()
}

// serveHTTP hands files out, and takes them in, until ctx ends.
func (s *Service) serveHTTP(ctx context.Context) error {
	server := &http.Server{
		Handler: s.handler(), ReadHeaderTimeout: headerWait, ReadTimeout: headerWait, IdleTimeout: idleWait,
		WriteTimeout: serveWait, MaxHeaderBytes: 16 << 10,
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(s.o.Listener) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWait)
	defer cancel()
	if err := server.Shutdown(stop); err != nil {
		_ = server.Close() // a download can be resumed
	}
	<-done
	return nil
}

// handler hands the files of the store out, and takes files in, for whoever has a link.
func (s *Service) handler() http.Handler {
	download, upload := atMost(maxServed, s.serveFile), atMost(maxUploads, s.takeFile)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, inputsPath) {
			upload(w, r)
		} else {
			download(w, r)
		}
	})
}

// atMost bounds how many requests are handled at once.
func atMost(n int, handle http.HandlerFunc) http.HandlerFunc {
	handled := make(chan struct{}, n)
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case handled <- struct{}{}:
			defer func() { <-handled }()
			handle(w, r)
		default:
			w.Header().Set("Retry-After", "5")
			http.Error(w, "too many files are under way", http.StatusServiceUnavailable)
		}
	}
}

func (s *Service) serveFile(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
		return
	}
	path, ok := strings.CutPrefix(r.URL.Path, artifactsPath)
	n, err := artifact.ParseName(path)
	if !ok || err != nil {
		http.NotFound(w, r)
		return
	}
	file, status := s.checkLink(n, r.URL.Query(), time.Now())
	if status != 0 {
		http.Error(w, http.StatusText(status), status)
		return
	}
	stat, err := s.o.Store.Stat(r.Context(), n)
	if errors.Is(err, artifact.ErrNotFound) {
		http.NotFound(w, r)
		return
	}
	if err != nil {
		s.log.Warn("a stored file could not be read", "name", n, "error", err)
		http.Error(w, http.StatusText(http.StatusBadGateway), http.StatusBadGateway)
		return
	}
	h := w.Header()
	h.Set("Content-Type", artifact.ContentType(n.String()))
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": file}))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("Cache-Control", "private, max-age=31536000, immutable")
	h.Set("ETag", `"`+n.SHA256+`"`)
	content := &seekable{ctx: r.Context(), store: s.o.Store, name: n, size: stat.Size}
	defer content.close()
	http.ServeContent(w, r, "", stat.StoredAt, content)
}

// checkLink returns the file name of a link, or the status that refuses it.
func (s *Service) checkLink(n artifact.Name, q url.Values, at time.Time) (file string, status int) {
	file = q.Get(paramFile)
	for _, key := range s.o.Keys {
		if !hmac.Equal([]byte(q.Get(paramMAC)), []byte(mac(key, n.String(), q.Get(paramExpires), file))) {
			continue
		}
		expires, err := strconv.ParseInt(q.Get(paramExpires), 10, 64)
		if err != nil || at.Unix() >= expires {
			return "", http.StatusGone
		}
		return file, 0
	}
	return "", http.StatusForbidden
}

// seekable reads a stored file from anywhere, and opens it only where it is read.
type seekable struct {
	ctx    context.Context
	store  *artifact.Store
	name   artifact.Name
	size   int64
	offset int64
	open   io.ReadCloser
}

// Seek implements io.Seeker.
func (s *seekable) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.offset
	case io.SeekEnd:
		offset += s.size
	}
	if offset < 0 {
		return 0, errors.New("seek before the beginning")
	}
	if offset != s.offset {
		s.close()
	}
	s.offset = offset
	return offset, nil
}

// Read implements io.Reader.
func (s *seekable) Read(p []byte) (int, error) {
	if s.open == nil {
		var err error
		if s.open, err = s.store.Open(s.ctx, s.name, s.offset); err != nil {
			return 0, err
		}
	}
	n, err := s.open.Read(p)
	s.offset += int64(n)
	return n, err
}

func (s *seekable) close() {
	if s.open != nil {
		_ = s.open.Close()
		s.open = nil
	}
}
