package ffmpeg

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ErrMissing says that the programs are not on this machine.
var ErrMissing = errors.New("ffmpeg and ffprobe are not installed (Debian, Ubuntu: apt-get install ffmpeg)")

// ErrTooLarge says that the file would be larger than is allowed.
var ErrTooLarge = errors.New("the file would be over the limit")

// An InputError says why nothing can be made of the inputs. Trying again does not help.
type InputError struct{ Text string }

func (e *InputError) Error() string { return e.Text }

const (
	// maxDiagnosis is how much of the end of what a program complains about is kept.
	maxDiagnosis = 2 << 10
	// maxProbe bounds what ffprobe tells of a file.
	maxProbe = 1 << 20
	// killWait is how long a killed program may hold on to its pipes.
	killWait = 5 * time.Second
	// formats are those that are read. None of them names other files.
	formats = "mov,mp4,matroska,webm,avi,mpegts,flv,mp3,wav,aac,flac,ogg"
)

// A Tool is the two programs.
type Tool struct {
	ffmpeg, ffprobe string
	// MaxBytes bounds a file that is made, Threads how many threads one run has.
	MaxBytes int64
	Threads  int
}

// Find finds the programs. It fails with ErrMissing.
func Find(maxBytes int64, threads int) (*Tool, error) {
	t := &Tool{MaxBytes: maxBytes, Threads: max(1, threads)}
	for name, path := range map[string]*string{"ffmpeg": &t.ffmpeg, "ffprobe": &t.ffprobe} {
		found, err := exec.LookPath(name)
		if err == nil {
			found, err = filepath.Abs(found)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMissing, err)
		}
		*path = found
	}
	return t, nil
}

// A Made is a file that was made.
type Made struct {
	// Name is the file's in the directory.
	Name        string
	ContentType string
	// DurationS is 0 for a picture.
	DurationS     float64
	Width, Height int
}

// Do does a job with the files in dir, which stand in the order of the job's links, and makes one file beside them.
// progress is told now and then how much is done, in percent. Do fails with an InputError or ErrTooLarge, with the cause
// of ctx, or with an error of the machine.
func (t *Tool) Do(ctx context.Context, j Job, dir string, files []string, progress func(percent float64)) (Made, error) {
	var inputs []info
	for _, name := range files {
		in, err := t.probe(ctx, dir, name)
		if err != nil {
			return Made{}, err
		}
		inputs = append(inputs, in)
	}
	p, err := j.plan(inputs, files)
	if err != nil {
		return Made{}, err
	}
	for name, text := range p.write {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return Made{}, err
		}
	}
	args := append([]string{"-nostdin", "-y", "-v", "error", "-nostats", "-progress", "pipe:1"}, p.args...)
	threads := strconv.Itoa(t.Threads)
	args = append(args, "-map_metadata", "-1", "-threads", threads, "-filter_threads", threads,
		"-fs", strconv.FormatInt(t.MaxBytes, 10), p.out)
	if err := t.run(ctx, t.ffmpeg, dir, &meter{seconds: p.seconds, progress: progress}, args...); err != nil {
		return Made{}, err
	}
	stat, err := os.Stat(filepath.Join(dir, p.out))
	switch {
	case err != nil:
		return Made{}, &InputError{"ffmpeg has made no file of the inputs"}
	case stat.Size() >= t.MaxBytes: // it stops there in silence
		return Made{}, fmt.Errorf("%w of %d bytes", ErrTooLarge, t.MaxBytes)
	}
	return t.made(ctx, dir, p)
}

// made describes the file.
func (t *Tool) made(ctx context.Context, dir string, p plan) (Made, error) {
	m := Made{Name: p.out, ContentType: p.contentType}
	if p.contentType != videoType {
		return m, nil
	}
	out, err := t.probe(ctx, dir, p.out)
	if err == nil && out.video == nil {
		err = &InputError{"ffmpeg has made a file without pictures of the inputs"}
	}
	if err != nil {
		return m, err
	}
	m.DurationS, m.Width, m.Height = out.seconds, out.video.Width, out.video.Height
	return m, nil
}

// safe are the arguments before an input: files alone, and formats that name no others.
func safe(before ...string) []string {
	return append(before, "-protocol_whitelist", "file", "-format_whitelist", formats)
}

// run runs one of the programs in dir, at low priority, with nothing of this process's environment. out takes what it
// prints.
func (t *Tool) run(ctx context.Context, program, dir string, out io.Writer, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.WaitDelay = dir, killWait
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	complaints := &tail{}
	cmd.Stdout, cmd.Stderr = out, complaints
	err := cmd.Start()
	if err == nil {
		lowPriority(cmd.Process.Pid)
		err = cmd.Wait()
	}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &exit) && exit.Exited():
		return &InputError{fmt.Sprintf("%s: %s", filepath.Base(program), complaints.last())}
	case err != nil:
		return fmt.Errorf("%s: %w: %s", filepath.Base(program), err, complaints.last())
	}
	return nil
}

// tail keeps the end of what is written to it.
type tail struct{ kept []byte }

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	t.kept = t.kept[max(0, len(t.kept)-maxDiagnosis):]
	return len(p), nil
}

// last returns the last lines on one.
func (t *tail) last() string {
	lines := strings.Split(strings.TrimSpace(string(t.kept)), "\n")
	return strings.Join(lines[max(0, len(lines)-2):], "; ")
}

// bounded keeps the beginning of what is written to it.
type bounded struct{ bytes.Buffer }

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	_, _ = b.Buffer.Write(p[:min(len(p), max(0, maxProbe-b.Len()))]) // a Buffer does not fail
	return len(p), nil
}

// A meter reads what ffmpeg tells of its progress: lines of key=value.
type meter struct {
	seconds  float64
	progress func(float64)
	line     bytes.Buffer
}

// Write implements io.Writer.
func (m *meter) Write(p []byte) (int, error) {
	m.line.Write(p)
	for {
		text, rest, ok := bytes.Cut(m.line.Bytes(), []byte("\n"))
		if !ok {
			break
		}
		value, found := strings.CutPrefix(string(bytes.TrimSpace(text)), "out_time_us=")
		if us, err := strconv.ParseFloat(value, 64); found && err == nil && m.seconds > 0 {
			m.progress(min(max(us/1e6/m.seconds*100, 0), 100))
		}
		m.line = *bytes.NewBuffer(bytes.Clone(rest))
	}
	if m.line.Len() > bufio.MaxScanTokenSize {
		m.line.Reset()
	}
	return len(p), nil
}
