package media

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"reelay/internal/address"
)

var (
	// ErrTooLarge says that a file is over the limit.
	ErrTooLarge = errors.New("the file is over the limit")
	// ErrChecksum says that a file has another SHA-256 than was said.
	ErrChecksum = errors.New("the file is not what the record says")
	// ErrShort says that a file ended before its length.
	ErrShort = errors.New("the file ends early")
	// ErrStalled says that no bytes came for a while.
	ErrStalled = errors.New("no bytes came")
	// ErrRefused says that a server does not hand out the file, as when its link has expired.
	ErrRefused = errors.New("the link is refused")
)

// checkpointBytes is after how many bytes of a download its caller is told how far it is.
const checkpointBytes = 64 << 20

// maxRetryAfter bounds what a server may ask to wait before the next try.
const maxRetryAfter = time.Minute

// A Fetcher downloads files. It sends no credentials but Header. Its fields are not changed while it is used.
type Fetcher struct {
	// Own is the base URL of a server that a person has named, with a slash at its end; empty for none. A link below it may
	// be plain http, and is asked for with Header.
	Own    string
	Header http.Header
	// Client makes the calls; NewFetcher's refuses redirects to links that are not safe.
	Client *http.Client
	// MaxBytes bounds one file.
	MaxBytes int64
	// Tries is how often a file is tried; unlike a submit it is free. Pause is before the second try and doubles with
	// each: a link may work only seconds after it was given out.
	Tries int
	Pause time.Duration
	// Stall is for how long no bytes may come. Timeout bounds a file with all its tries.
	Stall, Timeout time.Duration
}

// A File takes the bytes of a download; *os.File is one.
type File interface {
	io.Writer
	io.ReaderAt
	io.Seeker
	Truncate(size int64) error
}

// A Fetched says what has come.
type Fetched struct {
	Type   Type
	Size   int64
	SHA256 string
	// Ext is the end of a name for the file.
	Ext string
	// Other says that the file is of another kind than was said, as a picture in place of a video.
	Other bool
	// Warning is a sentence for people about a file that is another than was said; most often empty.
	Warning string
}

// Fetch downloads a file into an empty one. What is broken off is resumed if the server can, else repeated. It fails
// with ErrUnsafe, ErrTooLarge, ErrShort, ErrStalled, ErrChecksum or ErrNotMedia, with what a server answered in its
// place, with the error of into, or when ctx ends. No error holds the link, which may be a pass to the file.
func (f *Fetcher) Fetch(ctx context.Context, w Wanted, into File) (Fetched, error) {
	return f.Resume(ctx, w, into, Part{}, func(Part) error { return nil })
}

// A Part is how much of a file has come, and by what its server knows that file. It outlives the process that fetched
// it; the zero Part is that of nothing.
type Part struct {
	// Tag is the server's strong ETag, or else its Last-Modified; without one the rest cannot be asked for later.
	Tag  string `json:"tag,omitempty"`
	Have int64  `json:"have,omitempty"`
	// Whole says that Have bytes are all, and were checked.
	Whole bool `json:"whole,omitempty"`
	// Served is the Content-Type of the answer.
	Served string `json:"served,omitempty"`
}

// Resume is Fetch into a file that has a part of it already, be it by another link. save is called with what has come,
// now and then and after each try: what it says is to be on disk when it returns. An error of save ends the download.
func (f *Fetcher) Resume(ctx context.Context, w Wanted, into File, part Part, save func(Part) error) (Fetched, error) {
	link, err := parseLink(w.URL, f.Own)
	if err != nil {
		return Fetched{}, err
	}
	bounded, cancel := context.WithTimeout(ctx, f.Timeout)
	defer cancel()
	d := &download{f: f, wanted: w, link: link, into: into, save: save, sum: sha256.New(), total: -1}
	if err := d.take(part); err != nil {
		return Fetched{}, err
	}
	if part.Whole && d.have == part.Have {
		if got, err := d.finish(part.Served); err == nil {
			return got, nil
		}
	}
	return d.fetch(ctx, bounded)
}

// fetch tries until the file is there. bounded ends with ctx or with the time for all tries.
func (d *download) fetch(ctx, bounded context.Context) (Fetched, error) {
	f, link := d.f, d.link
	for try, pause := 1, f.Pause; ; try, pause = try+1, 2*pause {
		got, err := d.try(bounded)
		if failed := d.checkpoint(err == nil); failed != nil {
			return Fetched{}, failed
		}
		if err == nil {
			return got, nil
		}
		if ctx.Err() != nil {
			return Fetched{}, ctx.Err()
		}
		var last *lastError
		switch {
		case errors.As(err, &last), isFileError(err):
			return Fetched{}, fmt.Errorf("download from %s: %w", link.Host, err)
		case try >= f.Tries || bounded.Err() != nil:
			return Fetched{}, fmt.Errorf("download from %s: %w (%d tries)", link.Host, err, try)
		}
		select {
		case <-bounded.Done():
		case <-time.After(max(pause, retryAfter(err))):
		}
	}
}

// A lastError is one that another try does not mend.
type lastError struct{ error }

func (e *lastError) Unwrap() error { return e.error }

// A statusError is an answer without the file.
type statusError struct {
	code int
	wait time.Duration
}

func (e *statusError) Error() string {
	text := fmt.Sprintf("HTTP %d", e.code)
	if e.code >= 400 && e.code < 500 && e.code != http.StatusTooManyRequests {
		text += "; the link may have expired"
	}
	return text
}

// Is matches ErrRefused where asking the same server again for the same link may not help.
func (e *statusError) Is(target error) bool {
	return target == ErrRefused && e.code >= 400 && e.code < 500 && e.code != http.StatusTooManyRequests &&
		e.code != http.StatusRequestTimeout && e.code != http.StatusTooEarly
}

// retryAfter is how long a server has asked to wait, within maxRetryAfter.
func retryAfter(err error) time.Duration {
	var status *statusError
	if !errors.As(err, &status) {
		return 0
	}
	return min(max(status.wait, 0), maxRetryAfter)
}

// isFileError reports an error of the local file system, which another download does not mend.
func isFileError(err error) bool {
	var pe *fs.PathError
	var le *os.LinkError
	return errors.As(err, &pe) || errors.As(err, &le)
}

// A download is one file on its way, through its tries.
type download struct {
	f      *Fetcher
	wanted Wanted
	link   *url.URL
	into   File
	save   func(Part) error
	// served is the Content-Type of the last answer.
	served string
	// have is how many bytes of the file are there, sum their digest.
	have int64
	sum  hash.Hash
	// total is the length of the whole file as its server tells it, -1 if it has not; tag marks the version of the file:
	// its strong ETag, or else its Last-Modified.
	total int64
	tag   string
	// encoded says that what comes is decoded on the way, so that its rest cannot be asked for.
	encoded bool
}

// try asks once for what is still missing.
func (d *download) try(ctx context.Context) (Fetched, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(d.f.Stall, func() { cancel(fmt.Errorf("%w for %v", ErrStalled, d.f.Stall)) })
	defer stall.Stop()
	res, err := d.ask(ctx)
	if err != nil {
		return Fetched{}, err
	}
	defer res.Body.Close()
	body, err := d.begin(res)
	if err != nil {
		return Fetched{}, err
	}
	d.served = res.Header.Get("Content-Type")
	err = d.copy(io.LimitReader(&watched{body, stall, d.f.Stall}, d.f.MaxBytes-d.have+1))
	switch {
	case d.have > d.f.MaxBytes:
		return Fetched{}, &lastError{fmt.Errorf("%w of %d bytes", ErrTooLarge, d.f.MaxBytes)}
	case err != nil && ctx.Err() != nil:
		return Fetched{}, d.broken(context.Cause(ctx))
	case err != nil:
		return Fetched{}, d.broken(err)
	case d.total >= 0 && d.have < d.total:
		return Fetched{}, d.broken(ErrShort)
	}
	return d.finish(d.served)
}

// copy takes a body to its end.
func (d *download) copy(body io.Reader) error {
	both := io.MultiWriter(d.into, d.sum)
	for {
		n, err := io.CopyN(both, body, checkpointBytes)
		d.have += n
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := d.checkpoint(false); err != nil {
			return err
		}
	}
}

// take goes on with a part of the file, as far as it is there.
func (d *download) take(part Part) error {
	if part.Have <= 0 || part.Tag == "" && !part.Whole {
		return d.into.Truncate(0)
	}
	n, err := io.Copy(d.sum, io.NewSectionReader(d.into, 0, part.Have))
	if err != nil || n != part.Have {
		return d.restart()
	}
	if err := d.into.Truncate(n); err != nil {
		return err
	}
	if _, err := d.into.Seek(n, io.SeekStart); err != nil {
		return err
	}
	d.have, d.tag = n, part.Tag
	return nil
}

// checkpoint tells the caller how much has come.
func (d *download) checkpoint(whole bool) error {
	part := Part{Tag: d.tag, Have: d.have, Whole: whole, Served: d.served}
	if d.encoded && !whole {
		part = Part{}
	}
	if err := d.save(part); err != nil {
		return &lastError{err}
	}
	return nil
}

// broken says how far a try has come and what the bytes so far are.
func (d *download) broken(err error) error {
	if isFileError(err) {
		return err
	}
	of := ""
	if total := max(d.total, d.wanted.Size); total > 0 {
		of = fmt.Sprintf(" of %d", total)
	}
	return fmt.Errorf("%w after %d%s bytes (%s)", err, d.have, of, d.sniff())
}

// ask sends one request; its answer has status 200, or 206 to a request for the rest.
func (d *download) ask(ctx context.Context) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.link.String(), nil)
	if err != nil {
		return nil, &lastError{fmt.Errorf("%w: it is no URL", ErrUnsafe)}
	}
	if isBelow(d.link, d.f.Own) {
		maps.Copy(req.Header, d.f.Header)
	}
	req.Header.Set("Accept-Encoding", "identity")
	resume := d.have > 0 && !d.encoded
	if resume {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", d.have))
		if d.tag != "" {
			req.Header.Set("If-Range", d.tag)
		}
	}
	res, err := d.f.Client.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // without the URL
		}
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		switch {
		case errors.Is(err, address.ErrGuarded):
			err = &lastError{fmt.Errorf("%w: %w", ErrUnsafe, err)}
		case errors.Is(err, ErrUnsafe):
			err = &lastError{err}
		}
		return nil, err
	}
	switch {
	case res.StatusCode == http.StatusOK || res.StatusCode == http.StatusPartialContent && resume:
		return res, nil
	case res.StatusCode == http.StatusRequestedRangeNotSatisfiable && resume:
		err = errors.Join(d.broken(ErrShort), d.restart())
	default:
		err = d.refused(res)
	}
	return nil, errors.Join(err, res.Body.Close())
}

// refused makes an error of a status. A server that has just been given the file may not have it yet, so that 403 and
// 404 are tried again, too.
func (d *download) refused(res *http.Response) error {
	refused := &statusError{code: res.StatusCode, wait: parseRetryAfter(res.Header.Get("Retry-After"), time.Now())}
	switch c := res.StatusCode; {
	case c >= 500, c == http.StatusTooManyRequests, c == http.StatusRequestTimeout, c == http.StatusTooEarly:
		return refused
	case c == http.StatusForbidden, c == http.StatusNotFound, c == http.StatusPartialContent:
		return errors.Join(refused, d.restart())
	default:
		return &lastError{refused}
	}
}

// parseRetryAfter reads seconds or a date; 0 if it is neither.
func parseRetryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(strings.TrimSpace(value), 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return at.Sub(now)
	}
	return 0
}

// begin makes the file ready for the body of an answer, and returns the body as it is to be written.
func (d *download) begin(res *http.Response) (io.Reader, error) {
	if res.StatusCode == http.StatusPartialContent {
		from, total := contentRange(res.Header.Get("Content-Range"))
		if from != d.have || d.total >= 0 && total >= 0 && total != d.total {
			return nil, errors.Join(errors.New("the server sent another part of the file than was asked for"), d.restart())
		}
		d.total = max(d.total, total)
		return res.Body, nil
	}
	if err := d.restart(); err != nil {
		return nil, err
	}
	if d.tag = res.Header.Get("ETag"); d.tag == "" || strings.HasPrefix(d.tag, "W/") {
		d.tag = res.Header.Get("Last-Modified")
	}
	if res.ContentLength > d.f.MaxBytes {
		return nil, &lastError{fmt.Errorf("%w of %d bytes: it has %d", ErrTooLarge, d.f.MaxBytes, res.ContentLength)}
	}
	if encoding := res.Header.Get("Content-Encoding"); strings.EqualFold(encoding, "gzip") {
		d.encoded = true
		return gunzip(res.Body)
	}
	d.total = res.ContentLength
	return res.Body, nil
}

// restart forgets what has come so far, and has the caller forget it before the bytes change.
func (d *download) restart() error {
	if d.have > 0 {
		if err := d.save(Part{}); err != nil {
			return err
		}
	}
	d.have, d.total, d.tag, d.encoded = 0, -1, "", false
	d.sum.Reset()
	if err := d.into.Truncate(0); err != nil {
		return err
	}
	_, err := d.into.Seek(0, io.SeekStart)
	return err
}

// contentRange reads "bytes 5-9/10", where the total may be *. What it cannot read is -1.
func contentRange(header string) (from, total int64) {
	span, whole, _ := strings.Cut(strings.TrimPrefix(header, "bytes "), "/")
	first, _, _ := strings.Cut(span, "-")
	from, total = -1, -1
	if n, err := strconv.ParseInt(first, 10, 64); err == nil && n >= 0 {
		from = n
	}
	if n, err := strconv.ParseInt(whole, 10, 64); err == nil && n >= 0 {
		total = n
	}
	return from, total
}

// finish checks the file when its server says that it is whole. One that fails is begun anew by the next try, but for
// one that is too short, whose rest may come.
func (d *download) finish(served string) (Fetched, error) {
	got := Fetched{Type: d.sniff(), Size: d.have, SHA256: hex.EncodeToString(d.sum.Sum(nil))}
	w := d.wanted
	var err error
	if got.Warning, err = w.Check(got.Type, got.Size); err != nil {
		return Fetched{}, errors.Join(err, d.restart())
	}
	got.Other = got.Warning != "" && got.Type.Kind != KindEmpty
	if w.Size > 0 && w.Size != d.have && w.describes(got.Type) {
		if d.have < w.Size {
			err := d.broken(ErrShort)
			if d.have == d.total { // its server knows of no more
				err = errors.Join(err, d.restart())
			}
			return Fetched{}, err
		}
		got.Warning = fmt.Sprintf("it has %d bytes, and %d were announced", d.have, w.Size)
	}
	if w.SHA256 != "" && !strings.EqualFold(w.SHA256, got.SHA256) {
		err := fmt.Errorf("%w: its SHA-256 differs (%s, %d bytes)", ErrChecksum, got.Type, got.Size)
		return Fetched{}, errors.Join(err, d.restart())
	}
	got.Ext = w.Ext(got.Type, served)
	return got, nil
}

// sniff says what the bytes so far are.
func (d *download) sniff() Type {
	head := make([]byte, min(d.have, SniffBytes))
	n, _ := d.into.ReadAt(head, 0) // what cannot be read is not known
	return Sniff(head[:n])
}

// watched puts off the stall timer with every byte.
type watched struct {
	from  io.Reader
	stall *time.Timer
	after time.Duration
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.from.Read(p)
	if n > 0 {
		w.stall.Reset(w.after)
	}
	return n, err
}

const (
	// maxExpansion is how many times as large as what has come of an encoded body it may be decoded, beyond freeExpansion
	// bytes: media hardly shrink, and text shrinks less.
	maxExpansion  = 100
	freeExpansion = 1 << 20
)

// gunzip undoes an encoding that was not asked for. A body that only says that it is encoded stays as it is. Reading fails
// with ErrTooLarge of one that expands as no file does.
func gunzip(body io.Reader) (io.Reader, error) {
	coded := &counting{from: body}
	whole := bufio.NewReader(coded)
	head, err := whole.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if string(head) != "\x1f\x8b" {
		return whole, nil
	}
	plain, err := gzip.NewReader(whole)
	return &expanding{plain: &counting{from: plain}, coded: coded}, err
}

// expanding is a body that is decoded.
type expanding struct{ plain, coded *counting }

func (e *expanding) Read(p []byte) (int, error) {
	n, err := e.plain.Read(p)
	if e.plain.n > freeExpansion+maxExpansion*e.coded.n {
		return n, &lastError{fmt.Errorf("%w: %d bytes expand to %d and more", ErrTooLarge, e.coded.n, e.plain.n)}
	}
	return n, err
}

// counting counts the bytes that are read.
type counting struct {
	from io.Reader
	n    int64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.n += int64(n)
	return n, err
}
