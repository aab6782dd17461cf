package media

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/ffmpeg"
	"reelay/internal/media"
	"reelay/internal/provider"
	"reelay/internal/task"
	"reelay/internal/trace"
)

const (
	// maxRetryDelay bounds the wait between two tries of a task.
	maxRetryDelay = time.Minute
	// refusedTries is how often an input is asked for whose server refuses it.
	refusedTries = 5
	// tellEvery is how often the record is told how far the work is, and asked whether it shall go on.
	tellEvery = 2 * time.Second
	// maxWork bounds the work of one task, its inputs included.
	maxWork = 30 * time.Minute
)

var (
	// errStop says that the record wants the work no more.
	errStop = errors.New("the work is not wanted any more")
	// errTooLong says that maxWork has passed.
	errTooLong = fmt.Errorf("the work takes longer than %v", maxWork)
)

// A job is one delivery of a message.
type job struct {
	*Service
	worker Worker
	task   events.Task
	op     string
	tries  uint64
}

// handle does the work of one task.
func (s *Service) handle(ctx context.Context, m bus.Message, worker Worker) bus.Outcome {
	op, key, err := events.ParseWorkSubject(m.Subject)
	if err != nil {
		return bus.Terminate(err.Error())
	}
	t, err := s.records.Get(ctx, key)
	if err == nil {
		t, err = s.accept(ctx, t, op)
	}
	switch {
	case errors.Is(err, bus.ErrNotFound):
		return bus.Done()
	case err != nil:
		return s.records.Redeliver(ctx, key, err)
	}
	j := job{Service: s, worker: worker, task: t, op: op, tries: m.Delivered}
	switch t.Phase {
	case events.PhaseWaiting: // it was sent, and its sender knows of no answer: it will be sent again
		return bus.RetryAfter(j.delay())
	case events.PhaseProviderQueued, events.PhaseRunning, events.PhaseFetching:
		return j.do(ctx)
	}
	return j.tell(ctx, provider.Snapshot{State: provider.Cancelled}) // of an ended task, what a crash may have left out
}

// accept records that a task was sent, if its sender has not done that yet.
func (s *Service) accept(ctx context.Context, t events.Task, op string) (events.Task, error) {
	switch t.Phase {
	case events.PhaseSubmitting, events.PhaseInDoubt, events.PhaseParked:
	default:
		return t, nil
	}
	c, err := s.records.Apply(ctx, t.Key(), task.Accepted{
		Meta: meta(), Attempt: t.Attempt().N, Ref: events.WorkRef(op, t.Key()), ID: t.Key().String(),
		Source: events.SourceCallback, Note: "the media service has it",
	})
	return c.Task, err
}

func meta() task.Meta { return task.Meta{At: now(), By: name} }

// do works, and says what becomes of the message.
func (j job) do(ctx context.Context) bus.Outcome {
	begun := time.Now()
	ctx, span := j.o.Tracer.Start(ctx, trace.Step(j.op), &j.task)
	defer span.End()
	output, err := j.work(ctx)
	var refused *provider.Error
	switch {
	case err == nil:
		j.seconds.WithLabelValues(j.op).Observe(time.Since(begun).Seconds())
		return j.tell(ctx, provider.Snapshot{State: provider.Succeeded, Outputs: []events.Output{output}})
	case ctx.Err() != nil:
		return bus.RetryAfter(0) // the service is stopping: another does it
	case errors.Is(err, errStop):
		return j.tell(ctx, provider.Snapshot{State: provider.Cancelled})
	case errors.As(err, &refused):
		span.Fail(string(refused.Kind))
		return j.tell(ctx, provider.Snapshot{State: provider.Failed, Err: refused})
	}
	span.Fail(string(events.KindInternal))
	j.log.WarnContext(ctx, "work could not be done yet; it is tried again", "task", j.task.Key(), "op", j.op, "try", j.tries,
		"again_in", j.delay(), "error", err)
	return bus.RetryAfter(j.delay())
}

// delay is the wait until the next try.
func (j job) delay() time.Duration { return min(time.Second<<min(j.tries, 10), maxRetryDelay) }

// tell records what has come of the work. On a task that has ended it changes nothing, and stores the events that a
// crash may have left out.
func (j job) tell(ctx context.Context, snap provider.Snapshot) bus.Outcome {
	c, err := j.records.Apply(ctx, j.task.Key(), task.PollResult{
		Meta: meta(), ID: j.task.ProviderID, Snapshot: snap,
	})
	switch {
	case errors.Is(err, bus.ErrNotFound):
	case err != nil:
		return j.records.Redeliver(ctx, j.task.Key(), err)
	case c.Written:
		j.Service.done.WithLabelValues(j.op, string(snap.State)).Inc()
		j.log.InfoContext(ctx, "work has ended", "task", j.task.Key(), "op", j.op, "outcome", snap.State)
	}
	return bus.Done()
}

// work makes the output and puts it into the object store. Its error is a *provider.Error where trying again does not
// help, or errStop.
func (j job) work(ctx context.Context) (events.Output, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	ctx, cancel := context.WithTimeoutCause(ctx, maxWork, errTooLong)
	defer cancel()
	var percent atomic.Uint64
	if !j.running(ctx, 0) {
		return events.Output{}, errStop
	}
	told := make(chan struct{})
	go func() {
		defer close(told)
		tick := time.NewTicker(tellEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if !j.running(ctx, math.Float64frombits(percent.Load())) {
				stop(errStop)
			}
		}
	}()
	output, err := j.make(ctx, func(p float64) { percent.Store(math.Float64bits(p)) })
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	stop(nil)
	<-told
	if errors.Is(err, errTooLong) {
		err = failure(events.KindDeadline, "work_too_long", err)
	}
	return output, err
}

// running records how far the work is, and reports whether it shall go on. It reads the record for that: a step that
// leaves nothing to write may be decided on an older one.
func (j job) running(ctx context.Context, percent float64) bool {
	t, err := j.records.Get(ctx, j.task.Key())
	if err != nil {
		return !errors.Is(err, bus.ErrNotFound)
	}
	switch t.Phase {
	case events.PhaseProviderQueued, events.PhaseRunning, events.PhaseFetching:
	default:
		return false
	}
	_, err = j.records.Apply(ctx, j.task.Key(), task.PollResult{
		Meta: meta(), ID: j.task.ProviderID, Snapshot: provider.Snapshot{State: provider.Running, Progress: &percent},
	})
	if err != nil && ctx.Err() == nil {
		j.log.DebugContext(ctx, "progress is not recorded", "task", j.task.Key(), "error", err)
	}
	return true
}

// make fetches the inputs, has the file made and puts it into the object store.
func (j job) make(ctx context.Context, progress func(float64)) (events.Output, error) {
	input, err := j.records.Input(ctx, j.task)
	if err != nil {
		return events.Output{}, err
	}
	wanted, err := ffmpeg.ParseJob(j.task.Model, input)
	if err != nil {
		return events.Output{}, failure(events.KindInvalid, events.CodeInvalidRequest, err)
	}
	dir, err := os.MkdirTemp(j.o.Dir, "work-")
	if err != nil {
		return events.Output{}, err
	}
	defer os.RemoveAll(dir)
	var files []string
	for i, link := range wanted.Links {
		name := fmt.Sprint("in", i)
		if err := j.fetch(ctx, link, filepath.Join(dir, name)); err != nil {
			return events.Output{}, j.fetchFailure(i, err)
		}
		files = append(files, name)
	}
	made, err := j.worker.Do(ctx, wanted, dir, files, progress)
	var input0 *ffmpeg.InputError
	switch {
	case errors.As(err, &input0):
		return events.Output{}, failure(events.KindInvalid, "ffmpeg_failed", err)
	case errors.Is(err, ffmpeg.ErrTooLarge):
		return events.Output{}, failure(events.KindInvalid, "too_large", err)
	case err != nil:
		return events.Output{}, err
	}
	return j.store(ctx, filepath.Join(dir, made.Name), made)
}

// fetch gets one input.
func (j job) fetch(ctx context.Context, link, path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if media.IsDataURL(link) {
		_, content, err := media.DecodeDataURL(link)
		if err == nil {
			_, err = f.Write(content)
		}
		return err
	}
	_, err = j.o.Fetcher.Fetch(ctx, media.Wanted{URL: link}, f)
	return err
}

// fetchFailure says whether an input that could not be had may be had later.
func (j job) fetchFailure(i int, err error) error {
	refused := errors.Is(err, media.ErrRefused) || errors.Is(err, media.ErrNotMedia)
	if errors.Is(err, media.ErrUnsafe) || errors.Is(err, media.ErrTooLarge) || refused && j.tries >= refusedTries {
		return failure(events.KindInvalid, "input_unavailable", fmt.Errorf("input %d: %w", i+1, err))
	}
	return fmt.Errorf("input %d: %w", i+1, err)
}

// store puts what was made into the object store.
func (j job) store(ctx context.Context, path string, made ffmpeg.Made) (events.Output, error) {
	f, err := os.Open(path)
	if err != nil {
		return events.Output{}, err
	}
	defer f.Close()
	name, sum := events.WorkObject(j.task.Key()), sha256.New()
	size := &counter{}
	if err := j.o.Bus.PutFile(ctx, name, io.TeeReader(f, io.MultiWriter(sum, size))); err != nil {
		return events.Output{}, err
	}
	return events.Output{
		Object: name, ContentType: made.ContentType, FileName: j.op + filepath.Ext(made.Name), Size: size.n,
		SHA256: hex.EncodeToString(sum.Sum(nil)), Width: made.Width, Height: made.Height, DurationS: made.DurationS,
	}, nil
}

// counter counts bytes.
type counter struct{ n int64 }

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

// failure is why the work can never be done. It has cost nothing.
func failure(kind events.Kind, code string, err error) error {
	return &provider.Error{Kind: kind, Code: code, Message: err.Error(), Charge: events.ChargeNone}
}
