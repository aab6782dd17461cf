package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// tempDir is the directory, in that of a store, of files that are not complete. tempAge is for how long one may belong
// to a put under way.
const (
	tempDir = ".incomplete"
	tempAge = 24 * time.Hour
)

// Dir keeps files in a directory. A file gets its name in one step, by a hard link, once it is complete and synced.
type Dir struct{ root string }

// OpenDir returns the store of a directory, which is created if need be, and removes what puts that were cut off have
// left behind.
func OpenDir(root string) (*Dir, error) {
	d := &Dir{root: root}
	temp := filepath.Join(root, tempDir)
	if err := os.MkdirAll(temp, 0o700); err != nil {
		return nil, fmt.Errorf("artifact store: %w", err)
	}
	old, err := os.ReadDir(temp)
	if err != nil {
		return nil, fmt.Errorf("artifact store: %w", err)
	}
	for _, e := range old {
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > tempAge {
			_ = os.Remove(filepath.Join(temp, e.Name())) // it is only room
		}
	}
	return d, nil
}

// path is where a file is; only names that ParseName accepts are ever asked for.
func (d *Dir) path(name string) string { return filepath.Join(d.root, filepath.FromSlash(name)) }

// Put implements Driver.
func (d *Dir) Put(ctx context.Context, name string, content io.Reader) error {
	f, err := os.CreateTemp(filepath.Join(d.root, tempDir), "put-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = io.Copy(f, &bounded{ctx, content})
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return d.link(name, f.Name())
}

// Adopt implements Adopter.
func (d *Dir) Adopt(_ context.Context, n Name, path string) error {
	err := d.link(n.String(), path)
	// Another file system, or one without hard links.
	if errors.Is(err, syscall.EXDEV) || errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOTSUP) {
		return errors.ErrUnsupported
	}
	return err
}

func (d *Dir) link(name, from string) error {
	to := d.path(name)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	err := os.Link(from, to)
	if errors.Is(err, fs.ErrExist) {
		return ErrExists
	}
	if err != nil {
		return err
	}
	return errors.Join(os.Chmod(to, 0o444), syncDir(filepath.Dir(to)))
}

// syncDir makes a new name of a directory last.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Open implements Driver.
func (d *Dir) Open(_ context.Context, name string, offset int64) (io.ReadCloser, error) {
	f, err := os.Open(d.path(name))
	if err != nil {
		return nil, notFound(err)
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Stat implements Driver.
func (d *Dir) Stat(_ context.Context, name string) (int64, time.Time, error) {
	info, err := os.Stat(d.path(name))
	if err != nil {
		return 0, time.Time{}, notFound(err)
	}
	return info.Size(), info.ModTime(), nil
}

// Delete implements Driver.
func (d *Dir) Delete(_ context.Context, name string) error {
	if err := os.Remove(d.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// List implements Driver.
func (d *Dir) List(ctx context.Context, prefix string,
	visit func(name string, size int64, storedAt time.Time) error,
) error {
	return filepath.WalkDir(d.root, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case e.IsDir() && e.Name() == tempDir:
			return fs.SkipDir
		case e.IsDir():
			return nil
		}
		rel, err := filepath.Rel(d.root, path)
		if err != nil {
			return err
		}
		info, err := e.Info()
		name := filepath.ToSlash(rel)
		if errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(name, prefix) {
			return nil
		}
		if err != nil {
			return err
		}
		return visit(name, info.Size(), info.ModTime())
	})
}

func notFound(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotFound
	}
	return err
}

// bounded ends content with its context.
type bounded struct {
	ctx  context.Context
	from io.Reader
}

func (b *bounded) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	return b.from.Read(p)
}
