// Package media does the work that costs nothing and is done here: ffmpeg puts sound under a video, joins videos and
// takes pictures out of them.
//
// Its work is a queue with one message for each task that was sent to the lane. The inputs are fetched by their links,
// as the archiver hands them out or a provider does, into a directory of the task's own; ffmpeg works there, on files
// alone. What it makes goes into the object store, then into the record as the result, and only then is the message
// acknowledged: whatever dies in between is done again. The archiver stores the output as any other.
//
// The service writes into the record itself how far it is, and sees there that it shall stop. A task whose sender has
// died before it could record that it had sent it is recorded as sent by the service.
//
// Without ffmpeg it takes no work, and the lane says so (package provider/local).
package media

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/ffmpeg"
	"reelay/internal/media"
	"reelay/internal/taskstore"
	"reelay/internal/trace"
)

// name is what the service signs transitions with.
const name = "media"

// findAgain is how soon a machine without ffmpeg is asked for it again.
const findAgain = 30 * time.Second

// A Worker makes one file of others; *ffmpeg.Tool is one.
type Worker interface {
	Do(ctx context.Context, j ffmpeg.Job, dir string, files []string, progress func(percent float64)) (ffmpeg.Made, error)
}

// Options configure a Service.
type Options struct {
	Bus *bus.Bus
	// Find returns what does the work, or why there is none on this machine.
	Find func() (Worker, error)
	// Fetcher downloads the inputs.
	Fetcher *media.Fetcher
	// Dir is where the directories of the tasks under way are. Start has one made in there that ends with the service.
	Dir string
	// Slots is how many tasks are worked on at once, 1 if 0.
	Slots      int
	Log        *slog.Logger
	Registerer prometheus.Registerer
	Tracer     trace.Tracer
}

// A Service is one media service.
type Service struct {
	o       Options
	log     *slog.Logger
	records *taskstore.Store
	done    *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	ready   atomic.Bool
}

// New returns a media service. It registers its metrics.
func New(o Options) *Service {
	o.Slots = max(1, o.Slots)
	s := &Service{
		o: o, log: o.Log.With("service", name),
		done: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reelay_media_work_total", Help: "Work that came to an end, by what was done and its outcome.",
		}, []string{"op", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "reelay_media_work_seconds", Help: "How long work took, inputs included.",
			Buckets: prometheus.ExponentialBuckets(0.25, 2, 13),
		}, []string{"op"}),
	}
	o.Registerer.MustRegister(s.done, s.seconds)
	s.records = taskstore.New(o.Bus, s.log, o.Registerer)
	return s
}

// Ready reports whether the service runs. Whether it has ffmpeg its lane tells.
func (s *Service) Ready() bool { return s.ready.Load() && s.o.Bus.Connected() }

// Run works until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	defer s.ready.Store(false)
	s.ready.Store(true)
	worker := s.find(ctx)
	if worker == nil {
		return nil
	}
	return s.o.Bus.Consume(ctx, events.WorkConsumer(), s.o.Slots, func(ctx context.Context, m bus.Message) bus.Outcome {
		return s.handle(ctx, m, worker)
	})
}

// find returns what does the work, as soon as it is there; nil when ctx ends.
func (s *Service) find(ctx context.Context) Worker {
	for told := false; ; told = true {
		worker, err := s.o.Find()
		if err == nil {
			return worker
		}
		if !told {
			s.log.ErrorContext(ctx, "no work is taken", "reason", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(findAgain):
		}
	}
}

func now() time.Time { return time.Now().UTC() }
