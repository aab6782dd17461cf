package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"regexp"
	"strings"
	"time"

	"reelay/events"
)

var (
	// ErrNotFound says that the store has no such file.
	ErrNotFound = errors.New("it is not in the store")
	// ErrExists says that a name is taken.
	ErrExists = errors.New("it is in the store already")
	// ErrChecksum says that content is not what its name says.
	ErrChecksum = errors.New("the content is not what its name says")
	// ErrName says that a text names no file of a store.
	ErrName = errors.New("it is no name of a stored file")
)

// A Name is the name of one file: the project it belongs to, the SHA-256 of its bytes in hex, and an ending that tells
// its type, such as ".mp4".
type Name struct {
	Project, SHA256, Ext string
}

// String returns the name as stores have it.
func (n Name) String() string { return n.Project + "/" + n.SHA256 + n.Ext }

var namePattern = regexp.MustCompile(`^([A-Za-z0-9_-]{1,64})/([0-9a-f]{64})((?:\.[a-z0-9]{1,12})?)$`)

// ParseName reads what String has written. No name leads out of a store. It fails with ErrName.
func ParseName(s string) (Name, error) {
	m := namePattern.FindStringSubmatch(s)
	if m == nil {
		return Name{}, fmt.Errorf("%w: %.200q", ErrName, s)
	}
	return Name{Project: m[1], SHA256: m[2], Ext: m[3]}, nil
}

// A File is what a store knows of a file without reading it.
type File struct {
	Name     Name
	Size     int64
	StoredAt time.Time
}

// A Driver keeps files in one kind of store. It is safe for concurrent use.
type Driver interface {
	// Put stores all of content. An error of content, or of ctx, leaves nothing under the name. A name that is taken keeps
	// what it has: ErrExists.
	Put(ctx context.Context, name string, content io.Reader) error
	// Open reads from an offset on; one at or behind the end reads nothing. It fails with ErrNotFound.
	Open(ctx context.Context, name string, offset int64) (io.ReadCloser, error)
	// Stat returns size and time. It fails with ErrNotFound.
	Stat(ctx context.Context, name string) (size int64, storedAt time.Time, err error)
	// Delete removes a file. One that is not there is no error.
	Delete(ctx context.Context, name string) error
	// List calls visit with every file whose name begins with prefix, in any order, until it fails.
	List(ctx context.Context, prefix string, visit func(name string, size int64, storedAt time.Time) error) error
}

// A Linker is a driver whose store hands out files itself: whoever has the link can read the file until it expires.
type Linker interface {
	Link(ctx context.Context, name, fileName string, age time.Duration) (string, error)
}

// An Adopter is a driver that can take a file of this machine as it is, better than as a stream.
type Adopter interface {
	// Adopt puts a file that is complete, synced and never written to again, and whose sum is that of its name. It fails with
	// ErrExists, or with errors.ErrUnsupported where it has to be streamed.
	Adopt(ctx context.Context, n Name, path string) error
}

// A Store is a driver under the rules of this package.
type Store struct {
	url    string
	driver Driver
}

// New returns the store of a driver. Its URL holds no credentials; it is where stored files are said to be.
func New(url string, d Driver) *Store {
	return &Store{url: strings.TrimRight(url, "/"), driver: d}
}

// URL returns the place of a file: the URL of the store and the name.
func (s *Store) URL(n Name) string { return s.url + "/" + n.String() }

// Put stores a file of size bytes. A file that is there already is no error. It fails with ErrChecksum if content has
// another sum or size; nothing is stored then.
func (s *Store) Put(ctx context.Context, n Name, size int64, content io.Reader) error {
	if there, err := s.has(ctx, n, size); there || err != nil {
		return err
	}
	checked := &checking{from: content, sum: sha256.New(), want: n.SHA256, size: size}
	return s.done(n, s.driver.Put(ctx, n.String(), checked))
}

// PutSpooled is Put for a file of this machine whose sum was just taken, which is synced and never written to again. The
// store may keep that very file.
func (s *Store) PutSpooled(ctx context.Context, n Name, size int64, path string, content io.Reader) error {
	if there, err := s.has(ctx, n, size); there || err != nil {
		return err
	}
	if a, ok := s.driver.(Adopter); ok {
		if err := a.Adopt(ctx, n, path); !errors.Is(err, errors.ErrUnsupported) {
			return s.done(n, err)
		}
	}
	return s.Put(ctx, n, size, content)
}

// has reports whether a file is stored. One of another size under its name is damaged.
func (s *Store) has(ctx context.Context, n Name, size int64) (bool, error) {
	f, err := s.Stat(ctx, n)
	switch {
	case errors.Is(err, ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	case f.Size != size:
		return false, fmt.Errorf("%s: %w: the store has %d of its %d bytes", n, ErrChecksum, f.Size, size)
	}
	return true, nil
}

func (s *Store) done(n Name, err error) error {
	if err == nil || errors.Is(err, ErrExists) { // another archiver was faster, with the same bytes
		return nil
	}
	return fmt.Errorf("put of %s: %w", n, err)
}

// Open reads a file from an offset on. It fails with ErrNotFound.
func (s *Store) Open(ctx context.Context, n Name, offset int64) (io.ReadCloser, error) {
	r, err := s.driver.Open(ctx, n.String(), offset)
	if err != nil {
		return nil, fmt.Errorf("read of %s: %w", n, err)
	}
	return r, nil
}

// Stat returns what is known of a file. It fails with ErrNotFound.
func (s *Store) Stat(ctx context.Context, n Name) (File, error) {
	size, at, err := s.driver.Stat(ctx, n.String())
	if err != nil {
		return File{}, fmt.Errorf("stat of %s: %w", n, err)
	}
	return File{Name: n, Size: size, StoredAt: at}, nil
}

// Delete removes a file. One that is not there is no error.
func (s *Store) Delete(ctx context.Context, n Name) error {
	if err := s.driver.Delete(ctx, n.String()); err != nil {
		return fmt.Errorf("delete of %s: %w", n, err)
	}
	return nil
}

// List calls visit with the files of a project, or of all for "", until it fails. What is no file of reelay's is left
// out.
func (s *Store) List(ctx context.Context, project string, visit func(File) error) error {
	prefix := ""
	if project != "" {
		prefix = project + "/"
	}
	return s.driver.List(ctx, prefix, func(name string, size int64, at time.Time) error {
		n, err := ParseName(name)
		if err != nil {
			return nil
		}
		return visit(File{Name: n, Size: size, StoredAt: at})
	})
}

// Verify reads a file and fails with ErrChecksum if it is damaged, with ErrNotFound if it is not there.
func (s *Store) Verify(ctx context.Context, n Name) error {
	r, err := s.Open(ctx, n, 0)
	if err != nil {
		return err
	}
	defer r.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, r); err != nil {
		return fmt.Errorf("read of %s: %w", n, err)
	}
	if hex.EncodeToString(sum.Sum(nil)) != n.SHA256 {
		return fmt.Errorf("%s: %w", n, ErrChecksum)
	}
	return nil
}

// Link returns a link by which the store itself hands out a file under a file name; ok is false for a store that cannot.
// It does not say that the file is there.
func (s *Store) Link(ctx context.Context, n Name, fileName string, age time.Duration) (link string, ok bool, err error) {
	l, ok := s.driver.(Linker)
	if !ok {
		return "", false, nil
	}
	link, err = l.Link(ctx, n.String(), fileName, age)
	if errors.Is(err, errors.ErrUnsupported) {
		return "", false, nil
	}
	return link, true, err
}

// Valid reports whether a file may belong to a project.
func (n Name) Valid() bool {
	_, err := ParseName(n.String())
	return err == nil && events.ValidToken(n.Project)
}

// checking fails at the end of content that is not what its name says.
type checking struct {
	from io.Reader
	sum  hash.Hash
	want string
	size int64
	read int64
}

func (c *checking) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.sum.Write(p[:n])
	c.read += int64(n)
	if c.read > c.size || errors.Is(err, io.EOF) && (c.read != c.size || hex.EncodeToString(c.sum.Sum(nil)) != c.want) {
		return 0, ErrChecksum
	}
	return n, err
}
