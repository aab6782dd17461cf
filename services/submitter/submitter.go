// Package submitter takes requests and commands in, and sends each task to its provider once.
//
// An answer that is itself the result is kept the same way: in the journal with its bytes, then in the object store, then
// in the record, which so is submitted and has ended in one step.
//
// Intake turns a request into a record, or refuses it by a rejected event; nothing stays in the stream. Dispatch takes
// the waiting tasks of each lane in fair order and within its limits, records the intent, sends the paid request with
// the permit that the record's acknowledgement gives, and records what came back. What it cannot classify as accepted
// or refused is in doubt, and is never sent again by itself. Any number of submitters may run: one at a time dispatches
// a lane, by a lease, and should two ever think so, the record's compare-and-set decides who sends.
//
// Whoever dispatches a lane also answers, on events.LanePositionsSubject, how many tasks go before each that waits,
// when the limits let it through, and what blocks it: a pause, the breaker, a provider that is unreachable or refuses,
// a cap on spending, a limit that is used up. Package dispatch decides all that; this package asks it, and does what
// takes a clock, a broker and a provider.
package submitter

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nuid"
	"github.com/oklog/run"
	"github.com/prometheus/client_golang/prometheus"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/dependency"
	"reelay/internal/dispatch"
	"reelay/internal/forecast/learner"
	"reelay/internal/group"
	"reelay/internal/inputs"
	"reelay/internal/journal"
	"reelay/internal/paid"
	"reelay/internal/provider"
	"reelay/internal/quota"
	"reelay/internal/schemas"
	"reelay/internal/spend"
	"reelay/internal/taskstore"
	"reelay/internal/trace"
	"reelay/internal/turns"
	"reelay/internal/want"
)

// name is what the submitter signs transitions with.
const name = "submitter"

// A Callback makes the URLs at which providers call back.
type Callback interface {
	// CallbackURL names lane, task and paid attempt, from 1, and counts until a time. The last segment of its path is unguessable and kept secret:
	// whoever knows it can speak for a provider that signs nothing.
	CallbackURL(lane string, k events.Key, attempt int, until time.Time) string
}

// Options configure a Service.
type Options struct {
	Bus   *bus.Bus
	Lanes []provider.Lane
	// Groups are lanes that stand for each other under one name, each of one provider.
	Groups []group.Group
	// Known lists the providers of this build; a request for one without a lane is refused as not configured.
	Known []string
	// IgnoredProxy names the variable of a proxy that is set and not used; it is told of a provider that cannot be reached.
	IgnoredProxy string
	// Journal is what this process itself knows of its paid requests.
	Journal *journal.Journal
	// Spending is asked before money is spent; nil always allows it.
	Spending Spending
	// Witness remembers what was sent apart from the store; nil for nobody.
	Witness Witness
	// Callback makes the callback URLs; nil for none.
	Callback Callback
	// Prices tells what a task may cost; nil knows of none.
	Prices Pricer
	// Wants maps what requests want; nil for the models of the program and their defaults.
	Wants *want.Planner
	// Timeout is the total time of a task whose request names none; 30 minutes if 0.
	Timeout time.Duration
	// MaxSends is how many tasks of a lane may be on their way to the provider at once; ramp.Most if 0.
	MaxSends int
	// Dial opens the connections of paid requests; nil dials TCP.
	Dial paid.Dialer
	// LeaseTTL is how long a lane's dispatcher may be silent before another takes over: whole seconds, 3 at least;
	// bucket.LeaseTTL if 0.
	LeaseTTL   time.Duration
	Log        *slog.Logger
	Registerer prometheus.Registerer
	Tracer     trace.Tracer
}

const (
	defaultTimeout = 30 * time.Minute
	intakeInFlight = 64
)

// A Service is one submitter.
type Service struct {
	o   Options
	log *slog.Logger
	// id tells this process from others, and from what it was before it was started.
	id      string
	store   *taskstore.Store
	poster  *paid.Poster
	spend   *spend.Reserver
	learner *learner.Learner
	schemas *schemas.Store
	files   *inputs.Files
	quota   *quota.Intake
	lanes   map[string]*lane
	groups  map[string]*group.Rotation
	// underWay are the tasks that are being sent by lanes of groups, each by one of them.
	underWay sync.Map
	metrics  metrics
	turns    *turns.Turns
	// dependents are the tasks that wait for others.
	dependents *dependency.Index
	pauses     dispatch.Pauses
	// pausesKnown is closed when all pauses and limits have been read once.
	pausesKnown chan struct{}
	pausesOnce  sync.Once
	ready       atomic.Bool
	// followed is the revision of the newest change of a record that the lanes know of.
	followed atomic.Uint64
}

// New returns a submitter. It registers its metrics.
func New(o Options) (*Service, error) {
	if len(o.Lanes) == 0 {
		return nil, errors.New("submitter: no lane is configured")
	}
	if o.Journal == nil {
		return nil, errors.New("submitter: no journal")
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Wants == nil {
		var err error
		if o.Wants, err = want.NewPlanner(); err != nil {
			return nil, err
		}
	}
	s := &Service{
		o: o, log: o.Log.With("service", name), id: nuid.Next(), pausesKnown: make(chan struct{}),
		dependents: dependency.NewIndex(), poster: paid.NewPoster(o.Dial), lanes: map[string]*lane{},
		groups: map[string]*group.Rotation{}, metrics: newMetrics(o.Registerer),
	}
	s.turns = turns.New(turns.Of(o.Bus), intakeInFlight, s.intake, s.log)
	s.store = taskstore.New(o.Bus, s.log, o.Registerer)
	s.learner = learner.New(learner.Options{Bus: o.Bus, Log: s.log}) // it learns nothing here
	s.schemas, s.files = schemas.New(o.Bus, s.log), inputs.New(o.Bus, s.log)
	s.quota = quota.NewIntake(quota.New(o.Bus, s.log))
	s.spend = spend.New(o.Bus, s.log, o.Registerer)
	for _, l := range o.Lanes {
		s.lanes[l.Name] = newLane(l, o.MaxSends, s.log)
	}
	return s, s.joinGroups()
}

// Ready reports whether the submitter takes requests in and dispatches.
func (s *Service) Ready() bool { return s.ready.Load() && s.o.Bus.Connected() }

// Run works until ctx ends. Then it takes nothing new in, sends nothing that is not yet under way, and waits for the
// answers of what is.
func (s *Service) Run(ctx context.Context) error {
	defer s.ready.Store(false)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	interrupt := func(error) { cancel() }
	var g run.Group
	g.Add(func() error {
		return s.o.Bus.Consume(ctx, events.IntakeConsumer(), intakeInFlight, s.turns.Handle)
	}, interrupt)
	g.Add(func() error { return s.turns.Run(ctx) }, interrupt)
	g.Add(func() error { return s.o.Bus.CollectDead(ctx) }, interrupt)
	g.Add(func() error {
		return s.o.Bus.Consume(ctx, events.DeadRequestConsumer(), deadInFlight, s.answerDead)
	}, interrupt)
	// First of all what a former process has paid for: it must not be dispatched again as if nothing were known.
	s.recover(ctx)
	g.Add(func() error { return s.followPauses(ctx) }, interrupt)
	g.Add(func() error { return s.spend.Watch(ctx) }, interrupt)
	g.Add(func() error { return s.quota.Watch(ctx) }, interrupt)
	g.Add(func() error { return s.learner.Run(ctx) }, interrupt)
	g.Add(func() error { return s.follow(ctx) }, interrupt)
	g.Add(func() error { return s.releaseDependents(ctx) }, interrupt)
	for _, l := range s.lanes {
		g.Add(func() error { return s.dispatch(ctx, l) }, interrupt)
	}
	return g.Run()
}
