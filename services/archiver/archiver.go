// Package archiver copies the outputs of tasks from the providers' links, which die, into reelay's own store, and hands
// them out.
//
// Its work is a queue with one message for each task that has outputs which are neither stored nor given up. The task
// whose link dies first is first. An output goes through a spool on local disk: what is broken off, or cut by a crash,
// is resumed there. It is checked by its bytes against what was asked for, put into the store under the SHA-256 of its
// bytes, and recorded as an allowed step after the end of the task. Only then is its message acknowledged, so that
// whatever dies in between is done again and finds its work done.
//
// A link that is refused or has expired is asked for again, by a free poll of the provider. What cannot be stored for
// good is recorded as given up, with the reason, and is an alarm; it never makes a failure of a task that was paid for.
//
// The archiver makes no paid call. Only it opens stores; everybody else asks it for links (links.go) or bytes (http.go), and
// operators for a list, a check or a collection of what is there (verify.go, collect.go). It erases tasks (erase.go).
// It also takes in the files that requests name, from whoever may not write to their bucket (uploads.go), and from the
// buckets of S3 and Azure that an operator allows (copies.go).
package archiver

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/oklog/run"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	"reelay/events"
	"reelay/internal/api"
	"reelay/internal/artifact"
	"reelay/internal/bus"
	"reelay/internal/media"
	"reelay/internal/provider"
	"reelay/internal/secret"
	"reelay/internal/taskstore"
	"reelay/internal/trace"
)

// name is what the archiver signs transitions with.
const name = "archiver"

const (
	// tasksInFlight is how many messages are held at once, in the order of the first death of their links; slots is how
	// many of them are worked on.
	tasksInFlight = 256
	slots         = 8
)

// Options configure a Service.
type Options struct {
	Bus   *bus.Bus
	Lanes []provider.Lane
	Store *artifact.Store
	// Inputs reads the objects that requests may name.
	Inputs Objects
	// SpoolDir is where files are until they are whole.
	SpoolDir string
	// Fetcher downloads from links of providers, Local from those of emulators.
	Fetcher, Local *media.Fetcher
	// Listener is where files are handed out; PublicURL, without a slash at its end, is how others reach it.
	Listener  net.Listener
	PublicURL string
	// Keys sign the links to files: the first signs, all verify. Each has 32 bytes.
	Keys []secret.Value
	// Limits are those of the projects' files.
	Limits     Limits
	Version    string
	Log        *slog.Logger
	Registerer prometheus.Registerer
	Tracer     trace.Tracer
}

// A fileServer is a driver whose provider is a server that an operator has named and that hands out its files itself: they
// are below baseURL, which has a slash at its end, and are asked for with header.
type fileServer interface {
	FileServer() (baseURL string, header http.Header)
}

// A Service is one archiver.
type Service struct {
	o       Options
	log     *slog.Logger
	records *taskstore.Store
	lanes   map[string]provider.Lane
	// own downloads from the servers of lanes that hand out their files themselves.
	own     map[string]*media.Fetcher
	spool   spool
	usage   *usage
	kept    keptFiles
	gate    *gate
	copies  singleflight.Group
	copying copying
	expiry  *expiries
	metrics metrics
	api     *api.Server
	ready   atomic.Bool
}

// New returns an archiver. It registers its metrics.
func New(o Options) (*Service, error) {
	if o.Store == nil || o.Inputs == nil || len(o.Keys) == 0 {
		return nil, errors.New("archiver: a store, buckets of inputs and a key for links are needed")
	}
	spool, err := openSpool(o.SpoolDir)
	if err != nil {
		return nil, err
	}
	s := &Service{
		o: o, log: o.Log.With("service", name), lanes: map[string]provider.Lane{}, own: map[string]*media.Fetcher{}, spool: spool, gate: newGate(slots),
		metrics: newMetrics(o.Registerer), usage: &usage{store: o.Store, max: o.Limits.MaxBytes, by: map[string]*projectUsage{}},
		copying: copying{of: map[string]int{}}, kept: keptFiles{all: map[events.Key][]artifact.Name{}},
	}
	s.api = api.New(api.Options{
		Conn: o.Bus.Conn(), Service: name, Description: "links to the stored outputs of tasks", Version: o.Version,
		MaxRequests: maxRequests, Log: s.log,
	})
	s.expiry = newExpiries(s.log, s.metrics.expiring)
	s.records = taskstore.New(o.Bus, s.log, o.Registerer)
	for _, l := range o.Lanes {
		s.lanes[l.Name] = l
		if server, ok := l.Driver.(fileServer); ok && !l.Emulated {
			base, header := server.FileServer()
			if s.own[l.Name], err = media.NewOwn(base, header, o.Fetcher.MaxBytes); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

// Ready reports whether the archiver takes messages and answers.
func (s *Service) Ready() bool { return s.ready.Load() && s.o.Bus.Connected() }

// Run works until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	defer s.ready.Store(false)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	interrupt := func(error) { cancel() }
	// Requests that are under way when ctx ends are finished.
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	if err := s.api.Serve(work, ctx, s.endpoints()); err != nil {
		return errors.Join(err, s.o.Listener.Close())
	}
	var g run.Group
	g.Add(func() error {
		return s.o.Bus.Consume(ctx, events.ArtifactConsumer(), tasksInFlight, s.handle)
	}, interrupt)
	g.Add(func() error { return s.serveHTTP(ctx) }, interrupt)
	g.Add(func() error { return s.expiry.watch(ctx) }, interrupt)
	g.Add(func() error { return s.collectLoop(ctx) }, interrupt)
	s.ready.Store(true)
	return errors.Join(g.Run(), s.api.Drain())
}

func now() time.Time { return time.Now().UTC() }
