package chaos

import "syscall"

// attributes has a child killed when the test process ends in a way that runs no clean-up, such as its timeout.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
