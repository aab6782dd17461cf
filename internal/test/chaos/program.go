//go:build unix

package chaos

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	// maxStop is how long a process may take to end after SIGTERM before it is killed.
	maxStop = 8 * time.Second
	// restartPause keeps a process that ends by itself from being started in a tight loop.
	restartPause = 200 * time.Millisecond
	// maxTroubles is how many unexpected exits are reported.
	maxTroubles = 5
	// tailBytes is how much of a log is shown.
	tailBytes = 3 << 10
)

// A program is one process of a cluster. It is started again whenever it ends, until it is stopped for good.
type program struct {
	name string
	path string
	args []string
	env  []string
	log  *os.File
	done chan struct{}
	gone chan struct{} // closed when it must not run again

	mu      sync.Mutex
	process *os.Process
	signals int // that were to end the current process
	starts  int
	stopped bool
	// down is until when it is not started again.
	down     time.Time
	troubles []string // unexpected exits
}

// launch starts a program and keeps it running until the end of the test.
func launch(t testing.TB, logs, name, path string, env []string, args ...string) *program {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(logs, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	p := &program{
		name: name, path: path, args: args, env: env, log: log, done: make(chan struct{}),
		gone: make(chan struct{}),
	}
	go p.keep()
	t.Cleanup(func() {
		p.stop()
		_ = log.Close()
	})
	return p
}

func (p *program) keep() {
	defer close(p.done)
	for {
		ended, err := p.start()
		if errors.Is(err, os.ErrProcessDone) {
			return
		}
		if err != nil {
			p.trouble(fmt.Sprintf("start: %v", err))
			time.Sleep(restartPause)
			continue
		}
		err = ended()
		p.mu.Lock()
		asked, code := p.signals > 0, exitCode(err)
		p.process = nil
		down := time.Until(p.down)
		p.mu.Unlock()
		select {
		case <-p.gone:
		case <-time.After(down):
		}
		if !asked || code > 0 {
			p.trouble(fmt.Sprintf("ended with %v, asked to end: %v", err, asked))
			time.Sleep(restartPause)
		}
	}
}

// start starts the process once; os.ErrProcessDone says that it must not run again.
func (p *program) start() (ended func() error, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return nil, os.ErrProcessDone
	}
	p.starts++
	fmt.Fprintf(p.log, "---- start %d, %s\n", p.starts, time.Now().Format("15:04:05.000"))
	cmd := exec.Command(p.path, p.args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = filepath.Dir(p.log.Name()), p.env, p.log, p.log,
		attributes()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p.process, p.signals = cmd.Process, 0
	return cmd.Wait, nil
}

// exitCode is that of a process that ended by itself; 0 for one that a signal ended.
func exitCode(err error) int {
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() < 0 {
		return 0
	}
	return exit.ExitCode()
}

func (p *program) trouble(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.troubles) < maxTroubles {
		p.troubles = append(p.troubles, p.name+" (start "+fmt.Sprint(p.starts)+") "+text)
	}
}

// signal sends sig to the running process; false if none runs.
func (p *program) signal(sig syscall.Signal) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process == nil {
		return false
	}
	if sig == syscall.SIGKILL || sig == syscall.SIGTERM {
		p.signals++
	}
	return p.process.Signal(sig) == nil
}

// kill ends the process at once; it is started again.
func (p *program) kill() bool { return p.signal(syscall.SIGKILL) }

// killFor ends the process at once; it is started again after d.
func (p *program) killFor(d time.Duration) bool {
	p.mu.Lock()
	p.down = time.Now().Add(d)
	p.mu.Unlock()
	return p.kill()
}

// pause stops the process for d.
func (p *program) pause(d time.Duration) bool {
	if !p.signal(syscall.SIGSTOP) {
		return false
	}
	time.AfterFunc(d, func() { p.signal(syscall.SIGCONT) })
	return true
}

// terminate asks the process to end, and kills it if it does not.
func (p *program) terminate() bool {
	p.mu.Lock()
	start := p.starts
	p.mu.Unlock()
	if !p.signal(syscall.SIGTERM) {
		return false
	}
	time.AfterFunc(maxStop, func() {
		p.mu.Lock()
		same := p.starts == start && p.process != nil
		p.mu.Unlock()
		if same {
			p.kill()
		}
	})
	return true
}

// stop ends the process for good.
func (p *program) stop() {
	p.mu.Lock()
	p.stopped = true
	close(p.gone)
	p.mu.Unlock()
	p.kill()
	<-p.done
}

// tail returns the end of the log.
func (p *program) tail() string {
	text, err := os.ReadFile(p.log.Name())
	if err != nil {
		return err.Error()
	}
	if len(text) > tailBytes {
		text = text[len(text)-tailBytes:]
		text = text[bytes.IndexByte(text, '\n')+1:]
	}
	return string(text)
}
