package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	// readyWait bounds the start of the processes, readyTick is how often they are asked.
	readyWait = time.Minute
	readyTick = 50 * time.Millisecond
	// stopWait is how long a process may take to end before it is killed.
	stopWait = 10 * time.Second
	// tailBytes is how much of the log of a process is shown that has failed.
	tailBytes = 2 << 10
)

// A world is the processes of one run.
type world struct {
	dir string
	all []*process
}

// A process is one of them, with an operations listener.
type process struct {
	name string
	ops  string
	log  string
	cmd  *exec.Cmd
	done chan struct{}
}

// start starts a command. It gets no setting from the environment.
func (w *world) start(command ...string) (*process, error) {
	ops, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	name := strings.TrimSuffix(filepath.Base(command[0]), ".exe")
	p := &process{name: name, ops: ops[0], log: filepath.Join(w.dir, name+".log"), done: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the process has its own
	p.cmd = exec.Command(command[0], append(command[1:], "--ops-listen", p.ops)...)
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Dir = log, log, w.dir
	for _, v := range []string{"PATH", "HOME", "TMPDIR", "SYSTEMROOT"} {
		p.cmd.Env = append(p.cmd.Env, v+"="+os.Getenv(v))
	}
	p.cmd.Env = append(p.cmd.Env, "REELAY_EPOCH_DIR="+filepath.Join(w.dir, "epochs"))
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w (go build -o bin ./cmd/... builds it, --bin names its directory)", name, err)
	}
	go func() { _ = p.cmd.Wait(); close(p.done) }() // how it ended matters only if it was not asked to
	w.all = append(w.all, p)
	return p, nil
}

// stop ends every process, the services before the broker.
func (w *world) stop() {
	for i := range w.all {
		w.all[len(w.all)-1-i].stop()
	}
}

func (p *process) stop() {
	if p.cmd.Process.Signal(os.Interrupt) != nil {
		_ = p.cmd.Process.Kill() // it may have ended
	}
	select {
	case <-p.done:
	case <-time.After(stopWait):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// awaitReady waits until every process that runs is ready.
func (w *world) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyWait, errors.New("it was not ready in time"))
	defer cancel()
	for _, p := range w.all {
		for !p.ready(ctx) {
			select {
			case <-p.done:
				if p.cmd.ProcessState.Success() {
					break
				}
				return fmt.Errorf("%s has ended: %v\n%s", p.name, p.cmd.ProcessState, p.tail())
			case <-ctx.Done():
				return fmt.Errorf("%s: %w\n%s", p.name, context.Cause(ctx), p.tail())
			case <-time.After(readyTick):
				continue
			}
			break
		}
	}
	return nil
}

func (p *process) ready(ctx context.Context) bool {
	res, err := p.get(ctx, "/readyz")
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}

func (p *process) get(ctx context.Context, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.ops+path, nil)
	if err != nil {
		return nil, err
	}
	return http.DefaultClient.Do(req)
}

// profile keeps what the processor does for the process in the next seconds.
func (p *process) profile(ctx context.Context, path string) error {
	res, err := p.get(ctx, "/debug/pprof/profile")
	if err != nil {
		return fmt.Errorf("profile of %s: %w", p.name, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("profile of %s: %s", p.name, res.Status)
	}
	profile, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("profile of %s: %w", p.name, err)
	}
	return os.WriteFile(path, profile, 0o644)
}

// tail returns the end of the log.
func (p *process) tail() string {
	text, _ := os.ReadFile(p.log)
	return string(text[max(0, len(text)-tailBytes):])
}

// usage is what processes have used since they were started, by the name of the metric, and their processor time by
// their own name.
type usage struct {
	metrics map[string]float64
	cpu     map[string]float64
}

// The metrics that are read.
const (
	metricCPU      = "process_cpu_seconds_total"
	metricMemory   = "process_resident_memory_bytes"
	metricIn       = "reelay_broker_received_messages_total"
	metricInBytes  = "reelay_broker_received_bytes_total"
	metricOut      = "reelay_broker_sent_messages_total"
	metricOutBytes = "reelay_broker_sent_bytes_total"
)

// usageOf asks the processes what they have used.
func usageOf(ctx context.Context, all []*process) (usage, error) {
	u := usage{metrics: map[string]float64{}, cpu: map[string]float64{}}
	for _, p := range all {
		res, err := p.get(ctx, "/metrics")
		if err != nil {
			return u, fmt.Errorf("metrics of %s: %w", p.name, err)
		}
		lines := bufio.NewScanner(res.Body)
		for lines.Scan() {
			name, rest, _ := strings.Cut(lines.Text(), " ")
			name, _, _ = strings.Cut(name, "{") // no label of these has a space
			value, err := strconv.ParseFloat(rest, 64)
			if err != nil {
				continue
			}
			u.metrics[name] += value
			if name == metricCPU {
				u.cpu[p.name] = value
			}
		}
		if err := errors.Join(lines.Err(), res.Body.Close()); err != nil {
			return u, fmt.Errorf("metrics of %s: %w", p.name, err)
		}
	}
	return u, nil
}

// freePorts returns addresses on loopback at which nobody listens.
func freePorts(n int) ([]string, error) {
	var all []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // only at the end, so that all differ
		all = append(all, l.Addr().String())
	}
	return all, nil
}
