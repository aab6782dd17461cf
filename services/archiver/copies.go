package archiver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"reelay/events"
	"reelay/internal/api"
	"reelay/internal/artifact"
	"reelay/internal/bus"
)

// Objects of buckets
//
// A request may name an object of a bucket that the operator allows. The archiver, which alone has drivers and keys for
// it, copies it into events.InputBucket; from then on it is a file as any other. The copy is named by the object's URL and
// ETag, so that it is made once, and what comes later under the same URL is another file.

const (
	// maxCopies is how many objects are copied at once, maxProjectCopies how many of them for one project. Each takes two
	// chunks of memory.
	maxCopies        = 8
	maxProjectCopies = maxCopies / 2
	// copyAnswer is for how long a request of the API waits for a copy; one that is not there by then is asked for again.
	copyAnswer = 4 * time.Second
	// copyAge is how old a copy gets that tasks are still given.
	copyAge = events.InputAge / 2
)

// Objects reads objects in buckets of others. Its errors are ErrNotAllowed, ErrNotFound and ErrRefused of package artifact,
// or may pass.
type Objects interface {
	Stat(ctx context.Context, object string) (artifact.Object, error)
	Open(ctx context.Context, object string) (io.ReadCloser, error)
}

// copyEndpoint copies objects.
func (s *Service) copyEndpoint() api.Endpoint {
	return api.Endpoint{
		Verb: events.VerbCopy, Tokens: []string{api.Project},
		About:   "copy an object of a bucket that the operator allows, for requests of the project; submitters ask for it",
		Request: `{"url":"s3://bucket/frame.png"}`,
		Answer:  `{"project":"demo","name":"copy-9f86...png","size":1024,"sha256":"...","stored_at":"..."}`,
		Handle:  s.copyObject,
	}
}

func (s *Service) copyObject(ctx context.Context, c api.Call) (any, error) {
	r, err := events.DecodeCopyRequest(c.Data)
	if err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, copyAnswer)
	defer cancel()
	o, err := s.o.Inputs.Stat(wait, r.URL)
	if err == nil && (o.Size == 0 || o.Size > events.MaxInputBytes) {
		return nil, notCopied(events.CodeUnsuitableFile, fmt.Errorf("it has %d bytes, and must have 1 to %d", o.Size,
			events.MaxInputBytes))
	}
	if err != nil {
		return nil, copyError(err)
	}
	project, name := c.Key.Project, events.CopyName(r.URL, o.ETag)
	file, err := s.o.Bus.Input(wait, project, name)
	if err == nil && time.Since(file.StoredAt) < copyAge {
		return file, nil
	}
	done := s.copies.DoChan(events.InputObject(project, name), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), uploadWait)
		defer cancel()
		defer context.AfterFunc(c.Stop, cancel)()
		return s.copyNow(ctx, project, name, r.URL, o)
	})
	select {
	case d := <-done:
		if d.Err != nil {
			return nil, copyError(d.Err)
		}
		return d.Val, nil
	case <-wait.Done():
		return nil, api.Unavailable("%d bytes are being copied", o.Size)
	}
}

// copyNow copies an object, or fails at once where enough are being copied.
func (s *Service) copyNow(ctx context.Context, project, name, object string, o artifact.Object) (events.Input, error) {
	if !s.copying.begin(project) {
		return events.Input{}, errors.New("too many objects are being copied")
	}
	defer s.copying.end(project)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	content, err := s.o.Inputs.Open(ctx, object)
	if err != nil {
		return events.Input{}, err
	}
	defer content.Close()
	stalled := time.AfterFunc(uploadStall, cancel)
	defer stalled.Stop()
	// The bucket is told to forget what has come of an object that breaks off, so its context outlives the reading.
	file, err := s.o.Bus.PutInput(context.WithoutCancel(ctx), project, name, o.ContentType,
		&copied{from: content, stalled: stalled, want: o.Size})
	if err != nil {
		s.log.WarnContext(ctx, "an object that a request names could not be copied", "project", project, "object", object, "error", err)
		return file, err
	}
	s.log.InfoContext(ctx, "an object that a request names was copied", "project", project, "object", object, "bytes", file.Size)
	return file, nil
}

// copying counts what is being copied.
type copying struct {
	mu  sync.Mutex
	all int
	of  map[string]int
}

// begin reports whether there is room for a copy of a project.
func (c *copying) begin(project string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all >= maxCopies || c.of[project] >= maxProjectCopies {
		return false
	}
	c.all++
	c.of[project]++
	return true
}

// end makes room again.
func (c *copying) end(project string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	if c.of[project]--; c.of[project] == 0 {
		delete(c.of, project)
	}
}

// copied is the content of an object. It fails where more or less comes than there was, as while it is overwritten.
type copied struct {
	from    io.Reader
	stalled *time.Timer
	want    int64
	size    int64
}

func (c *copied) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.stalled.Reset(uploadStall)
	c.size += int64(n)
	if c.size > c.want || errors.Is(err, io.EOF) && c.size != c.want {
		return 0, fmt.Errorf("%d bytes came of an object of %d", c.size, c.want)
	}
	return n, err
}

// copyError answers why an object was not copied: for good, or for now.
func copyError(err error) error {
	if errors.Is(err, artifact.ErrNotAllowed) || errors.Is(err, artifact.ErrNotFound) || errors.Is(err, artifact.ErrRefused) {
		return notCopied(events.CodeUnknownFile, err)
	}
	if errors.Is(err, bus.ErrFull) {
		return api.Unavailable("there is no room for a copy")
	}
	return api.Unavailable("%v", err)
}

func notCopied(code string, err error) error {
	return api.Fail(422, code, events.KindInvalid, "%v", err)
}
