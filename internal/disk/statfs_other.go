//go:build !linux && !darwin

package disk

import (
	"errors"
)

// Space asks for the room on the disk of dir. Where the system cannot be asked it fails with errors.ErrUnsupported.
func Space(string) (Disk, error) { return Disk{}, errors.ErrUnsupported }
