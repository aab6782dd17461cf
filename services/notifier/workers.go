package notifier

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/internal/bus"
)

// maxStrays is how many names are looked after at once that the file does not define.
const maxStrays = 64

// A worker delivers to one endpoint; of a name that the file does not define it waits, and ends what is too old.
type worker struct {
	stop     context.CancelFunc
	endpoint *endpoint
}

// deliverLoop runs a worker for each endpoint, keeps up with the file, and counts what waits, until ctx ends.
func (s *Service) deliverLoop(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	workers := map[string]worker{}
	read := s.settings.Load().state
	seen := read
	file, survey := time.NewTicker(fileTick), time.NewTicker(surveyTick)
	defer file.Stop()
	defer survey.Stop()
	s.survey(ctx)
	for {
		s.assign(ctx, &running, workers)
		select {
		case <-ctx.Done():
			return nil
		case <-file.C:
			now := stateOf(s.o.File)
			if now == seen && now != read && s.o.File != "" { // not while it is being written
				read = now
				s.reload()
			}
			seen = now
		case <-survey.C:
			s.survey(ctx)
		case <-s.strayed:
		}
	}
}

// reload reads the file again. What cannot be read leaves everything as it is, aloud.
func (s *Service) reload() {
	read, err := s.read()
	s.mu.Lock()
	s.fileError = ""
	if err != nil {
		s.fileError = err.Error()
	}
	s.mu.Unlock()
	if err != nil {
		s.log.Error("the changed file of webhooks (REELAY_NOTIFY_FILE) is wrong; what it said before goes on", "error", err)
		return
	}
	s.settings.Store(read)
	for name := range read.endpoints {
		s.gate(name).reopen()
	}
	s.log.Info("the file of webhooks was read again", "endpoints", len(read.endpoints))
}

// assign starts and ends workers, so that each name has the one it needs.
func (s *Service) assign(ctx context.Context, running *sync.WaitGroup, workers map[string]worker) {
	wanted := maps.Clone(s.settings.Load().endpoints)
	if wanted == nil {
		wanted = map[string]*endpoint{}
	}
	s.mu.Lock()
	for name := range s.strays {
		if _, defined := wanted[name]; !defined {
			wanted[name] = nil
		}
	}
	maps.DeleteFunc(s.gates, func(name string, _ *gate) bool { _, ok := wanted[name]; return !ok })
	s.mu.Unlock()
	for name, w := range workers {
		if e, ok := wanted[name]; !ok || !e.sameWork(w.endpoint) {
			w.stop()
			delete(workers, name)
		}
		if wanted[name] == nil {
			s.metrics.queued.DeleteLabelValues(name)
			s.metrics.oldest.DeleteLabelValues(name)
		}
	}
	for name, e := range wanted {
		if _, ok := workers[name]; ok || ctx.Err() != nil {
			continue
		}
		stop, cancel := context.WithCancel(ctx)
		workers[name] = worker{stop: cancel, endpoint: e}
		inFlight := defaultInFlight
		if e != nil {
			inFlight = e.inFlight
		}
		running.Go(func() {
			defer cancel()
			err := s.o.Bus.Consume(stop, events.NotifyConsumer(name), inFlight, func(ctx context.Context, m bus.Message) bus.Outcome {
				return s.deliver(ctx, stop, name, m)
			})
			if err != nil {
				s.log.Warn("deliveries to an endpoint did not end in time", "endpoint", name, "error", err)
			}
		})
	}
}

// survey counts what waits, and finds the names that notifications wait for and the file does not define.
func (s *Service) survey(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*requestWait)
	defer cancel()
	known := 0
	defined := s.settings.Load().endpoints
	for _, name := range s.names() {
		n, oldest, err := s.waiting(ctx, name)
		if err != nil {
			continue // its consumer is about to be made
		}
		known += n
		if defined[name] == nil {
			s.leaveStray(name, n)
			continue
		}
		s.metrics.queued.WithLabelValues(name).Set(float64(n))
		age := 0.0
		if oldest != nil {
			age = time.Since(*oldest).Seconds()
		}
		s.metrics.oldest.WithLabelValues(name).Set(age)
	}
	info, err := s.tickets.Info(ctx)
	if err == nil && int(info.State.Msgs) > known {
		info, err = s.tickets.Info(ctx, jetstream.WithSubjectFilter(events.NotifyFilter("*")))
	}
	if err != nil {
		if ctx.Err() == nil {
			s.log.Warn("it could not be counted what waits for webhooks", "error", err)
		}
		return
	}
	s.addStrays(info.State.Subjects)
}

// leaveStray ends the care for a name that the file does not define once nothing waits for it.
func (s *Service) leaveStray(name string, waiting int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if waiting == 0 {
		delete(s.strays, name)
	}
}

// addStrays takes the names of the notifications that are stored. Those that are looked after stay, however many come.
func (s *Service) addStrays(subjects map[string]uint64) {
	defined := s.settings.Load().endpoints
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.strays, func(name string, _ bool) bool { return defined[name] != nil })
	for subject := range subjects {
		name, _, _, err := events.ParseNotifySubject(subject)
		if err == nil && defined[name] == nil && len(s.strays) < maxStrays {
			s.strays[name] = true
		}
	}
}

// waiting counts the notifications of an endpoint, and says how old the oldest is.
func (s *Service) waiting(ctx context.Context, name string) (n int, oldest *time.Time, err error) {
	if n, err = s.o.Bus.Backlog(ctx, events.NotifyConsumer(name)); err != nil || n == 0 {
		return 0, nil, err
	}
	m, err := s.tickets.GetMsg(ctx, 1, jetstream.WithGetMsgSubject(events.NotifyFilter(name)))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil, nil
	}
	if err != nil {
		return n, nil, err
	}
	return n, &m.Time, nil
}

// names returns those that have a worker, in order.
func (s *Service) names() []string {
	all := map[string]bool{}
	for name := range s.settings.Load().endpoints {
		all[name] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.strays {
		all[name] = true
	}
	return slices.Sorted(maps.Keys(all))
}
