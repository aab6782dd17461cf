//go:build !unix

package ffmpeg

// lowPriority does nothing here.
func lowPriority(int) {}
