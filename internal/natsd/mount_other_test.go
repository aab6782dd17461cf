//go:build !linux

package natsd

import "errors"

func mountSmallDisk(string) error { return errors.ErrUnsupported }

func unmount(string) error { return nil }
