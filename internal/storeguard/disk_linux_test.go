package storeguard

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestFullDisk uses a disk of its own for the journal's directory, which only root may mount.
func TestFullDisk(t *testing.T) {
	bubble(t, func(b *bench) {
		if err := syscall.Mount("tmpfs", b.dir, "tmpfs", 0, "size=48m"); err != nil {
			b.Skipf("a disk of our own cannot be mounted here: %v", err)
		}
		defer func() { b.ok(syscall.Unmount(b.dir, syscall.MNT_DETACH)) }()
		g := b.open(Options{})
		stop := b.run(g)
		defer stop()
		stopped(b, g, "", nil)
		ballast := filepath.Join(b.dir, "ballast")
		b.ok(os.WriteFile(ballast, make([]byte, 42<<20), 0o600))
		time.Sleep(usualWait + time.Second)
		stopped(b, g, "", nil) // 12 % are left
		b.ok(os.WriteFile(ballast, make([]byte, 44<<20), 0o600))
		time.Sleep(usualWait + time.Second)
		stopped(b, g, ReasonDisk, errDiskSpace)
		b.ok(os.Remove(ballast))
		time.Sleep(troubledWait + time.Second)
		stopped(b, g, "", nil)
	})
}
