package journal

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
)

// largePath is the file of an answer with a large result.
func (j *Journal) largePath(owner string) string {
	return filepath.Join(j.dir, filepath.Base(owner)+largeSuffix)
}

// writeLarge stores an answer in one step, synced: a file of that name is whole.
func (j *Journal) writeLarge(owner string, a Answer) error {
	data, err := json.Marshal(a)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(j.dir, "new-*"+largeSuffix)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return errors.Join(os.Rename(f.Name(), j.largePath(owner)), syncDir(j.dir))
}

func (j *Journal) readLarge(owner string) (a Answer, err error) {
	data, err := os.ReadFile(j.largePath(owner))
	if err != nil {
		return a, err
	}
	return a, json.Unmarshal(data, &a)
}

// removeLarge removes the file of an answer that is recorded.
func (j *Journal) removeLarge(owner string) {
	if err := os.Remove(j.largePath(owner)); err != nil && !errors.Is(err, os.ErrNotExist) {
		j.log.Warn("an answer that is recorded could not be removed from the journal's directory", "owner", owner, "error", err)
	}
}
