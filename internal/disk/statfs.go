//go:build linux || darwin

package disk

import (
	"fmt"
	"syscall"
)

// Space asks for the room on the disk of dir. Where the system cannot be asked it fails with errors.ErrUnsupported.
func Space(dir string) (Disk, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return Disk{}, fmt.Errorf("room on the disk of %s: %w", dir, err)
	}
	size := uint64(s.Bsize)
	// What is kept for root counts neither as free nor as part of the disk.
	return Disk{Free: s.Bavail * size, Total: (s.Blocks - s.Bfree + s.Bavail) * size}, nil
}
