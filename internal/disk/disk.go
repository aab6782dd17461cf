// Package disk is what can be known of a directory's disk: how much room it has, and whether files can be written
// there.
package disk

import (
	"errors"
	"fmt"
	"os"
)

// A Disk is the room on a file system in bytes, as far as an ordinary user may fill it.
type Disk struct{ Free, Total uint64 }

// Under reports whether less than percent of the disk is free, and less than bytes as well: a hundredth of a big disk
// is a lot.
func (d Disk) Under(percent, bytes uint64) bool {
	return d.Free < bytes && d.Free < d.Total/100*percent
}

// String tells the room for people.
func (d Disk) String() string {
	return fmt.Sprintf("%d of %d MiB are free", d.Free>>20, d.Total>>20)
}

// probeBytes is more than one page, so that a full disk has no room for it by chance.
const probeBytes = 16 << 10

// Probe writes a small file in dir and removes it. Its error says why dir cannot be written.
func Probe(dir string) error {
	f, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, probeBytes))
	return errors.Join(err, f.Close(), os.Remove(f.Name()))
}
