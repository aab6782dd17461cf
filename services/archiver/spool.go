package archiver

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"reelay/events"
	"reelay/internal/media"
)

// A spool is the directory of files that are on their way. Each has a note beside it of how far it is; both outlive the
// process. A file that no process may take for whole is not.
type spool struct{ dir string }

func openSpool(dir string) (spool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return spool{}, fmt.Errorf("spool: %w", err)
	}
	return spool{dir}, nil
}

// path is the place of an output, whatever its link, which may change.
func (s spool) path(k events.Key, output int) string {
	sum := sha256.Sum256([]byte(k.String() + "/" + strconv.Itoa(output)))
	return filepath.Join(s.dir, hex.EncodeToString(sum[:16]))
}

// A note is what is kept of a spooled file.
type note struct {
	Part media.Part `json:"part"`
	// Others is how often a file of another kind has come.
	Others int `json:"others,omitempty"`
	// Name is the file's name in the store, and Planned the output once it is there.
	Name    string         `json:"name,omitempty"`
	Planned *events.Output `json:"planned,omitempty"`
}

// A spooled is one file of the spool that is open.
type spooled struct {
	path  string
	data  *os.File
	state note
	// failed is an error of the spool itself.
	failed error
}

// open opens the file of an output, with what has come of it.
func (s spool) open(k events.Key, output int) (*spooled, error) {
	f := &spooled{path: s.path(k, output)}
	text, err := os.ReadFile(f.path + ".json")
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case json.Unmarshal(text, &f.state) != nil:
		f.state = note{} // it is fetched anew
	}
	f.data, err = os.OpenFile(f.path, os.O_RDWR|os.O_CREATE, 0o600)
	return f, err
}

func (f *spooled) close() { _ = f.data.Close() }

// save notes how much has come, after it is on disk.
func (f *spooled) save(p media.Part) error {
	if p.Have > 0 {
		if err := f.data.Sync(); err != nil {
			f.failed = err
			return err
		}
	}
	return f.write(note{Part: p, Others: f.state.Others})
}

// plan notes what the output will be, before the store has it.
func (f *spooled) plan(name string, o events.Output) error {
	return f.write(note{Part: f.state.Part, Name: name, Planned: &o})
}

// write replaces the note in one step.
func (f *spooled) write(n note) error {
	text, err := json.Marshal(n)
	if err == nil {
		err = os.WriteFile(f.path+".new", text, 0o600)
	}
	if err == nil {
		err = os.Rename(f.path+".new", f.path+".json")
	}
	if err != nil {
		f.failed = err
		return err
	}
	f.state = n
	return nil
}

// remove forgets an output that is settled.
func (s spool) remove(k events.Key, output int) {
	path := s.path(k, output)
	for _, name := range []string{path, path + ".json", path + ".new"} {
		_ = os.Remove(name) // what stays is only room
	}
}

// counted counts the bytes that come.
type counted struct {
	*os.File
	bytes prometheus.Counter
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.File.Write(p)
	c.bytes.Add(float64(n))
	return n, err
}
