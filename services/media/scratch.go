package media

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"
	"github.com/nats-io/nuid"
)

// lockSuffix is that of the lock beside each directory, which its service holds.
const lockSuffix = ".lock"

// scratch makes a directory for the files of one service, and removes those of services that have died: their locks are
// free. What remove leaves, the next does.
func scratch(parent string) (dir string, remove func() error, err error) {
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return "", nil, err
	}
	old, err := filepath.Glob(filepath.Join(parent, "*"+lockSuffix))
	if err != nil {
		return "", nil, err
	}
	for _, path := range old {
		lock := flock.New(path)
		if dead, err := lock.TryLock(); err != nil || !dead {
			continue
		}
		if err := discard(lock); err != nil {
			return "", nil, err
		}
	}
	lock := flock.New(filepath.Join(parent, nuid.Next()+lockSuffix), flock.SetPermissions(0o600))
	if ok, err := lock.TryLock(); err != nil || !ok {
		return "", nil, fmt.Errorf("lock %s: %w", lock.Path(), err)
	}
	dir = strings.TrimSuffix(lock.Path(), lockSuffix)
	return dir, func() error { return discard(lock) }, os.Mkdir(dir, 0o700)
}

// discard removes a directory and its lock, which is held. Another service that starts may have removed them as well.
func discard(lock *flock.Flock) error {
	err := os.RemoveAll(strings.TrimSuffix(lock.Path(), lockSuffix))
	removed := os.Remove(lock.Path())
	if errors.Is(removed, fs.ErrNotExist) {
		removed = nil
	}
	return errors.Join(err, lock.Unlock(), removed)
}
