package archiver

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"reelay/events"
	"reelay/internal/api"
	"reelay/internal/bus"
	"reelay/internal/secret"
)

// Files that requests name come in here: by a link that the upload verb gives to whoever may ask for its project, and
// without any key. They go straight into the object store bucket events.InputBucket.

const (
	// inputsPath is where files are handed in.
	inputsPath = "/inputs/"
	// maxUploads is how many files are handed in at once. Each takes two chunks of memory.
	maxUploads = 16
	// uploadStall cuts an upload of which nothing comes, uploadWait one that does not end.
	uploadStall = 30 * time.Second
	uploadWait  = time.Hour
)

// The parameters of an upload link, beside those of any link.
const (
	paramSize   = "size"
	paramSHA256 = "sha256"
	paramType   = "type"
)

var (
	errTooLarge = errors.New("the file is larger than was asked for, or than a file may be")
	errTooShort = errors.New("the file is empty, or shorter than was asked for")
	errOtherSum = errors.New("the file has another SHA-256 than was asked for")
	errStalled  = errors.New("the upload has ended before its end, or stood still")
)

// uploadEndpoint gives the links of uploads.
func (s *Service) uploadEndpoint() api.Endpoint {
	return api.Endpoint{
		Verb: events.VerbUpload, Tokens: []string{api.Project},
		About:   "a link at which whoever has it can hand in one file, which requests of the project name",
		Request: `{"name":"frame.png"}, with size, sha256 and content_type if they are known`,
		Answer:  `{"url":"https://...","method":"PUT","expires_at":"...","max_bytes":268435456}`,
		Handle:  func(_ context.Context, c api.Call) (any, error) { return s.upload(c) },
	}
}

func (s *Service) upload(c api.Call) (*events.UploadReply, error) {
	ask, err := events.DecodeUploadRequest(c.Data)
	if err != nil {
		return nil, err
	}
	expires := now().Add(events.UploadAge).Truncate(time.Second)
	reply := &events.UploadReply{
		URL: s.uploadLink(c.Key.Project, ask, expires), Method: http.MethodPut, ExpiresAt: expires, MaxBytes: ask.Size,
	}
	if reply.MaxBytes == 0 {
		reply.MaxBytes = events.MaxInputBytes
	}
	return reply, nil
}

// uploadLink returns a link by which one file can be handed in until it expires.
func (s *Service) uploadLink(project string, r events.UploadRequest, expires time.Time) string {
	q := url.Values{paramExpires: {strconv.FormatInt(expires.Unix(), 10)}}
	for name, value := range map[string]string{paramSHA256: r.SHA256, paramType: r.ContentType} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if r.Size > 0 {
		q.Set(paramSize, strconv.FormatInt(r.Size, 10))
	}
	object := events.InputObject(project, r.Name)
	q.Set(paramMAC, uploadMAC(s.o.Keys[0], object, q))
	return s.o.PublicURL + inputsPath + object + "?" + q.Encode()
}

// uploadMAC signs what an upload link is for.
func uploadMAC(key secret.Value, object string, q url.Values) string {
	h := hmac.New(sha256.New, []byte(key.Reveal()))
	_, _ = fmt.Fprintf(h, "input\n%s\n%s\n%s\n%s\n%s", object, q.Get(paramExpires), q.Get(paramSize), q.Get(paramSHA256),
		q.Get(paramType)) // a hash does not fail
	return hex.EncodeToString(h.Sum(nil))
}

// checkUpload returns what an upload link is for, or the status that refuses it.
func (s *Service) checkUpload(object string, q url.Values, at time.Time) (r events.UploadRequest, status int) {
	for _, key := range s.o.Keys {
		if !hmac.Equal([]byte(q.Get(paramMAC)), []byte(uploadMAC(key, object, q))) {
			continue
		}
		expires, err := strconv.ParseInt(q.Get(paramExpires), 10, 64)
		if err != nil || at.Unix() >= expires {
			return r, http.StatusGone
		}
		r.Size, _ = strconv.ParseInt(q.Get(paramSize), 10, 64) // 0 where it was left open
		r.SHA256, r.ContentType = q.Get(paramSHA256), q.Get(paramType)
		return r, 0
	}
	return r, http.StatusForbidden
}

// takeFile stores the body of a request as the file that its link names.
func (s *Service) takeFile(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPut {
		w.Header().Set("Allow", http.MethodPut)
		http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
		return
	}
	project, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, inputsPath), "/")
	if !events.ValidToken(project) || !events.ValidInputName(name) {
		http.NotFound(w, r)
		return
	}
	ask, status := s.checkUpload(events.InputObject(project, name), r.URL.Query(), time.Now())
	if status != 0 {
		http.Error(w, http.StatusText(status), status)
		return
	}
	// The store is told to forget what has come of a file that breaks off, so its context outlives the client.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), uploadWait)
	defer cancel()
	body := &arriving{from: r.Body, control: http.NewResponseController(w), ends: time.Now().Add(uploadWait), ask: ask, sum: sha256.New()}
	file, err := s.o.Bus.PutInput(ctx, project, name, ask.ContentType, body)
	if err != nil {
		s.refuseFile(w, err)
		return
	}
	s.log.Info("a file was handed in", "project", project, "name", name, "bytes", file.Size)
	answer, err := events.Marshal(file)
	if err != nil {
		s.refuseFile(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write(append(answer, '\n')) // the file is stored all the same
}

// refuseFile says why a file was not stored.
func (s *Service) refuseFile(w http.ResponseWriter, err error) {
	for _, row := range []struct {
		err    error
		status int
	}{
		{errTooLarge, http.StatusRequestEntityTooLarge},
		{errTooShort, http.StatusBadRequest},
		{errOtherSum, http.StatusBadRequest},
		{errStalled, http.StatusRequestTimeout},
		{bus.ErrFull, http.StatusInsufficientStorage},
	} {
		if errors.Is(err, row.err) {
			http.Error(w, row.err.Error(), row.status)
			return
		}
	}
	s.log.Warn("a file could not be stored", "error", err)
	http.Error(w, "the file could not be stored; try again", http.StatusServiceUnavailable)
}

// arriving is the body of an upload. It fails where what comes is not what was asked for.
type arriving struct {
	from    io.Reader
	control *http.ResponseController
	ends    time.Time
	ask     events.UploadRequest
	sum     hash.Hash
	size    int64
}

func (a *arriving) Read(p []byte) (int, error) {
	stalled := time.Now().Add(uploadStall)
	if stalled.After(a.ends) {
		stalled = a.ends
	}
	if err := a.control.SetReadDeadline(stalled); err != nil {
		return 0, err
	}
	n, err := a.from.Read(p)
	a.sum.Write(p[:n])
	a.size += int64(n)
	limit := a.ask.Size
	if limit == 0 {
		limit = events.MaxInputBytes
	}
	switch {
	case a.size > limit:
		return 0, errTooLarge
	case errors.Is(err, io.EOF) && a.size < max(1, a.ask.Size):
		return 0, errTooShort
	case errors.Is(err, io.EOF) && a.ask.SHA256 != "" && hex.EncodeToString(a.sum.Sum(nil)) != a.ask.SHA256:
		return 0, errOtherSum
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, os.ErrDeadlineExceeded):
		return 0, fmt.Errorf("%w: %w", errStalled, err)
	}
	return n, err
}
