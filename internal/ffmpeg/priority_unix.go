//go:build unix

package ffmpeg

import "syscall"

// nice is the priority of the programs: whatever else the machine does goes before.
const nice = 10

// lowPriority lowers the priority of a process. Where that is not allowed it runs as it is.
func lowPriority(pid int) { _ = syscall.Setpriority(syscall.PRIO_PROCESS, pid, nice) }
