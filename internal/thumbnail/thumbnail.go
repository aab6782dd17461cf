// Package thumbnail makes small pictures of stored pictures and videos, for agents that can see. It keeps the last ones.
package thumbnail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"reelay/internal/ffmpeg"
)

const (
	// MaxBytes is the largest picture; anything larger would flood an agent.
	MaxBytes = 100 << 10
	// maxSource is the largest file of which one is made, wait how long that may take, its way from the store included.
	maxSource = 64 << 20
	wait      = 5 * time.Second
	// maxAtOnce bounds how many are made at once, maxKept how many are kept.
	maxAtOnce = 2
	maxKept   = 64
	// failedFor is how long a file of which none could be made is not tried again.
	failedFor = 10 * time.Minute
	// prefix is that of the directories in which they are made; one older than abandonedAfter was left by a process that died.
	prefix         = "reelay-thumbnail-"
	abandonedAfter = time.Hour
)

// ErrNone says that there is no thumbnail of a file: it is no picture and no video, or too large, or none was made yet.
var ErrNone = errors.New("no thumbnail")

// A Tool makes pictures small; that of package ffmpeg is one.
type Tool interface {
	Preview(ctx context.Context, dir, file string, video bool, maxBytes int64) (ffmpeg.Made, error)
}

// A File is one that can be read without a key.
type File struct {
	// Name tells it from every other, as a task and a number do.
	Name, URL, ContentType string
	// Size is in bytes, 0 where it is not known.
	Size int64
}

// Shows reports whether there may be a thumbnail of the file.
func (f File) Shows() bool { return f.picture() || f.video() }

func (f File) picture() bool { return strings.HasPrefix(f.ContentType, "image/") }
func (f File) video() bool   { return strings.HasPrefix(f.ContentType, "video/") }

// A Picture is a thumbnail.
type Picture struct {
	Data        []byte
	ContentType string
}

// A Maker makes thumbnails. It may be used from any goroutine.
type Maker struct {
	client *http.Client
	find   func() (Tool, error)
	slots  chan struct{}

	mu   sync.Mutex // guards the rest
	kept map[string]Picture
	// names are the keys of kept, the oldest first.
	names []string
	// failed are the failures of the last failedFor.
	failed map[string]failure

	flights singleflight.Group
}

// A failure is why there is no thumbnail of a file.
type failure struct {
	err   error
	until time.Time
}

// New returns a maker that gets files by a transport, nil for TCP, and makes pictures small with what find finds, nil for
// ffmpeg on this machine.
func New(transport http.RoundTripper, find func() (Tool, error)) *Maker {
	if find == nil {
		find = func() (Tool, error) { return ffmpeg.Find(maxSource, 1) }
	}
	removeAbandoned()
	return &Maker{
		client: &http.Client{Transport: transport}, find: find, slots: make(chan struct{}, maxAtOnce),
		kept: map[string]Picture{}, failed: map[string]failure{},
	}
}

// removeAbandoned removes what killed processes have left.
func removeAbandoned() {
	left, _ := filepath.Glob(filepath.Join(os.TempDir(), prefix+"*")) // the pattern is well formed
	for _, dir := range left {
		if info, err := os.Lstat(dir); err == nil && info.IsDir() && time.Since(info.ModTime()) > abandonedAfter {
			_ = os.RemoveAll(dir) // it may be another user's
		}
	}
}

// Of returns the thumbnail of a file: the file itself where it is a small picture, else one that was made before, or with
// making one that is made now. It fails with ErrNone, with ffmpeg.ErrMissing, or with what went wrong.
func (m *Maker) Of(ctx context.Context, f File, making bool) (Picture, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if f.picture() && f.Size > 0 && f.Size <= MaxBytes {
		var data bytes.Buffer
		err := m.get(ctx, f, &data, MaxBytes)
		return Picture{Data: data.Bytes(), ContentType: f.ContentType}, err
	}
	m.mu.Lock()
	p, ok := m.kept[f.Name]
	before := m.failed[f.Name]
	m.mu.Unlock()
	if ok {
		return p, nil
	}
	if time.Now().Before(before.until) {
		return p, before.err
	}
	if !making || !f.Shows() || f.Size > maxSource {
		return p, fmt.Errorf("%w of %s", ErrNone, f.Name)
	}
	tool, err := m.find()
	if err != nil {
		return p, err
	}
	made, err, _ := m.flights.Do(f.Name, func() (any, error) { return m.makeOnce(ctx, tool, f) })
	p, _ = made.(Picture)
	return p, err
}

// makeOnce makes one when it is its turn, and remembers what came of it.
func (m *Maker) makeOnce(ctx context.Context, tool Tool, f File) (p Picture, err error) {
	select {
	case m.slots <- struct{}{}:
		defer func() { <-m.slots }()
	case <-ctx.Done():
		return p, context.Cause(ctx)
	}
	switch p, err = m.make(ctx, tool, f); {
	case err == nil:
		m.keep(f.Name, p)
	case !errors.Is(ctx.Err(), context.Canceled): // else it is the caller who has left
		m.fail(f.Name, err)
	}
	return p, err
}

// make makes one in a directory of its own.
func (m *Maker) make(ctx context.Context, tool Tool, f File) (p Picture, err error) {
	const source = "source" // without an ending: its bytes tell what it is
	dir, err := os.MkdirTemp("", prefix)
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file, err := os.OpenFile(filepath.Join(dir, source), os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return p, err
	}
	if err := errors.Join(m.get(ctx, f, file, maxSource), file.Close()); err != nil {
		return p, err
	}
	made, err := tool.Preview(ctx, dir, source, f.video(), MaxBytes)
	if err != nil {
		return p, err
	}
	p = Picture{ContentType: made.ContentType}
	p.Data, err = os.ReadFile(filepath.Join(dir, made.Name))
	return p, err
}

// get copies the file to w. It fails where it has more than most bytes, or not as many as were said.
func (m *Maker) get(ctx context.Context, f File, w io.Writer, most int64) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, f.URL, nil)
	if err != nil {
		return fmt.Errorf("the link of %s cannot be asked for", f.Name) // its error has the link, which opens the file
	}
	res, err := m.client.Do(r)
	if err != nil {
		return fmt.Errorf("%s could not be read: %w", f.Name, errors.Unwrap(err))
	}
	defer res.Body.Close()
	n, err := io.Copy(w, io.LimitReader(res.Body, most+1))
	switch {
	case err != nil:
		return fmt.Errorf("%s could not be read: %w", f.Name, err)
	case res.StatusCode != http.StatusOK || n > most || f.Size > 0 && n != f.Size:
		return fmt.Errorf("%w of %s: answered with HTTP status %d and %d bytes", ErrNone, f.Name, res.StatusCode, n)
	}
	return nil
}

// fail remembers a failure, and forgets those that are over.
func (m *Maker) fail(name string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(m.failed, func(_ string, f failure) bool { return now.After(f.until) })
	m.failed[name] = failure{err: err, until: now.Add(failedFor)}
}

// keep remembers one, and forgets the oldest of too many.
func (m *Maker) keep(name string, p Picture) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.kept[name]; !ok {
		m.names = append(m.names, name)
	}
	m.kept[name] = p
	if len(m.names) > maxKept {
		delete(m.kept, m.names[0])
		m.names = slices.Delete(m.names, 0, 1)
	}
}
