package natsd

import "syscall"

// mountSmallDisk mounts an empty disk of 48 MB. Only root may.
func mountSmallDisk(dir string) error { return syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=48m") }

func unmount(dir string) error { return syscall.Unmount(dir, syscall.MNT_DETACH) }
