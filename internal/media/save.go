package media

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// maxNames is how many names are tried for one file before giving up.
const maxNames = 1000

// A Saver puts files into a directory, which is created if need be. No name ever stands for half a file, and no file is
// ever overwritten.
type Saver struct {
	Dir     string
	Fetcher *Fetcher
	// Progress, if set, is told how many bytes of a download there are, of how many; 0 for a size that nobody has said.
	Progress func(have, total int64)
}

// Save downloads a file, or decodes a data: URL, under the first free name of base.ext, base_2.ext and so on, and
// returns its path. Its errors are those of Fetch, of DecodeDataURL and of the file system.
func (s *Saver) Save(ctx context.Context, base string, w Wanted) (string, Fetched, error) {
	if IsDataURL(w.URL) {
		said, content, err := DecodeDataURL(w.URL)
		if err != nil {
			return "", Fetched{}, err
		}
		if w.ContentType == "" {
			w.ContentType = said
		}
		return s.SaveFrom(base, w, bytes.NewReader(content))
	}
	return s.write(base, func(tmp *os.File) (Fetched, error) {
		if s.Progress == nil {
			return s.Fetcher.Fetch(ctx, w, tmp)
		}
		return s.Fetcher.Fetch(ctx, w, &counted{File: tmp, total: w.Size, tell: s.Progress})
	})
}

// A counted file tells how far its end is.
type counted struct {
	*os.File
	have, total int64
	tell        func(have, total int64)
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.File.Write(p)
	c.have += int64(n)
	c.tell(c.have, c.total)
	return n, err
}

// Seek is where the next try goes on.
func (c *counted) Seek(offset int64, whence int) (int64, error) {
	at, err := c.File.Seek(offset, whence)
	if err == nil {
		c.have = at
	}
	return at, err
}

// SaveFrom is Save for bytes that are here already.
func (s *Saver) SaveFrom(base string, w Wanted, from io.Reader) (string, Fetched, error) {
	return s.write(base, func(tmp *os.File) (Fetched, error) {
		d := &download{f: s.Fetcher, wanted: w, into: tmp, sum: sha256.New(), total: -1, save: func(Part) error { return nil }}
		n, err := io.Copy(io.MultiWriter(tmp, d.sum), io.LimitReader(from, s.Fetcher.MaxBytes+1))
		d.have = n
		switch {
		case err != nil:
			return Fetched{}, d.broken(err)
		case n > s.Fetcher.MaxBytes:
			return Fetched{}, fmt.Errorf("%w of %d bytes", ErrTooLarge, s.Fetcher.MaxBytes)
		}
		return d.finish("")
	})
}

// write lets fill make a temporary file beside its place and then gives it a free name.
func (s *Saver) write(base string, fill func(tmp *os.File) (Fetched, error)) (string, Fetched, error) {
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return "", Fetched{}, err
	}
	tmp, err := os.CreateTemp(s.Dir, ".reelay-*")
	if err != nil {
		return "", Fetched{}, err
	}
	defer os.Remove(tmp.Name()) // gone already if all went well
	defer tmp.Close()
	got, err := fill(tmp)
	if err != nil {
		return "", Fetched{}, err
	}
	// The provider's link dies; what is reported as saved must survive a crash.
	if err := errors.Join(tmp.Chmod(0o644), tmp.Sync(), tmp.Close()); err != nil {
		return "", Fetched{}, err
	}
	name, err := s.reserve(base, got.Ext)
	if err != nil {
		return "", Fetched{}, err
	}
	if err := os.Rename(tmp.Name(), name); err != nil {
		return "", Fetched{}, errors.Join(err, os.Remove(name))
	}
	return name, got, nil
}

// reserve creates an empty file under the first free name of base.ext, base_2.ext, base_3.ext and so on.
func (s *Saver) reserve(base, ext string) (string, error) {
	for n := 1; n <= maxNames; n++ {
		name := base + ext
		if n > 1 {
			name = fmt.Sprintf("%s_%d%s", base, n, ext)
		}
		name = filepath.Join(s.Dir, name)
		f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if err == nil {
			return name, f.Close()
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", err
		}
	}
	return "", fmt.Errorf("%s: no free name in %s", base+ext, s.Dir)
}

// IsDataURL reports whether a link holds its file itself (RFC 2397).
func IsDataURL(link string) bool { return len(link) >= 5 && strings.EqualFold(link[:5], "data:") }

// DecodeDataURL returns what a data: URL holds and the media type that it names. Base64 may be of either alphabet, with
// padding or without, and escaped.
func DecodeDataURL(link string) (contentType string, content []byte, err error) {
	head, data, ok := strings.Cut(link, ",")
	if !ok || !IsDataURL(link) {
		return "", nil, errors.New("it is no data: URL")
	}
	const mark = ";base64"
	encoded := strings.HasSuffix(strings.ToLower(head), mark)
	if encoded {
		head = head[:len(head)-len(mark)]
	}
	contentType = head[len("data:"):]
	if text, err := url.PathUnescape(data); err == nil {
		data = text
	}
	if !encoded {
		return contentType, []byte(data), nil
	}
	data = strings.NewReplacer("-", "+", "_", "/", "\n", "", "\r", "", " ", "", "=", "").Replace(data)
	content, err = base64.RawStdEncoding.DecodeString(data)
	if err != nil {
		return "", nil, errors.New("the base64 of the data: URL cannot be read")
	}
	return contentType, content, nil
}

// DescribeDataURL says what a data: URL holds in place of all its bytes.
func DescribeDataURL(link string) string {
	said, content, err := DecodeDataURL(link)
	if err != nil {
		return fmt.Sprintf("data: URL of %d bytes that cannot be read", len(link))
	}
	if said == "" {
		said = Sniff(content).String()
	}
	return fmt.Sprintf("data: %s, %d bytes", said, len(content))
}
