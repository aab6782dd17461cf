// Package turns has requests and commands taken in out of turn while somebody has sent a burst. All stand in one line.
// While it is long, each project has a few of its own taken in now and then, wherever they stand; the consumer of the
// line comes upon them later, and finds them done.
package turns

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"reelay/internal/bus"
)

const (
	// perTurn is how many messages of one project are taken in at its turn, in maxTurn; atOnce is of how many projects at
	// the same time.
	perTurn, maxTurn, atOnce = 16, time.Second, 8
	// pause is before a long line is counted again, or counting times as long as that has taken, calm before one that was
	// short.
	pause, counting, calm = 100 * time.Millisecond, 4, time.Second
	// tries is how often a message is tried at turns, at least againAfter apart, that cannot be taken in yet. Of maxAgain
	// of a project that is remembered; any more are left to the consumer.
	tries, againAfter, maxAgain = 5, time.Second, 16
)

// A Line is where the messages stand; Of makes one of a bus.
type Line interface {
	// Count counts what waits if it is at least long.
	Count(ctx context.Context, long uint64) (Count, error)
	// NextRequest returns the oldest message of a project at a sequence or behind it; its Sequence is 0 for none.
	NextRequest(ctx context.Context, project string, from uint64) (bus.Message, error)
}

// Turns are those of one process. It is safe for concurrent use.
type Turns struct {
	line Line
	// long is the length from which on a line is not soon through.
	long  uint64
	take  bus.Handler
	log   *slog.Logger
	begun chan struct{}

	mu sync.Mutex
	// done are the messages that were taken in at a turn, until the consumer comes upon them.
	done map[id]bool
	// places are those of the projects that wait.
	places map[string]*place
	// created and last are of the line as it was last: they say when it is another one.
	created time.Time
	last    uint64
}

// An id tells a message from that which gets its sequence when the stream is made anew.
type id struct {
	sequence uint64
	stored   int64
}

func idOf(m bus.Message) id { return id{m.Sequence, m.Time.UnixNano()} }

// A place is where a project's turns have got. But for underway and had, it belongs to the turn that is under way.
type place struct {
	underway bool
	// had is when the last turn ended.
	had time.Time
	// next is where the next turn goes on, again what is tried again before that, the soonest first.
	next  uint64
	again []failed
}

// failed is a message that could not be taken in yet.
type failed struct {
	sequence, tries uint64
	at              time.Time
}

// New returns the turns beside a consumer that has take take in up to inFlight messages at once.
func New(line Line, inFlight int, take bus.Handler, log *slog.Logger) *Turns {
	return &Turns{
		line: line, long: 2 * uint64(inFlight), take: take, log: log, begun: make(chan struct{}, 1), done: map[id]bool{},
		places: map[string]*place{},
	}
}

// Handle is the handler of the consumer: it takes in what was not taken in at a turn.
func (t *Turns) Handle(ctx context.Context, m bus.Message) bus.Outcome {
	t.wake()
	if t.isDone(m) {
		return bus.Done()
	}
	return t.take(ctx, m)
}

func (t *Turns) isDone(m bus.Message) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.done[idOf(m)]
}

func (t *Turns) wake() {
	select {
	case t.begun <- struct{}{}:
	default:
	}
}

// Run gives turns while the line is long, until ctx ends. A consumer that is given nothing costs nothing.
func (t *Turns) Run(ctx context.Context) error {
	var underway errgroup.Group
	underway.SetLimit(atOnce)
	for {
		select {
		case <-ctx.Done():
			return underway.Wait()
		case <-t.begun:
		}
		select {
		case <-ctx.Done():
		case <-time.After(t.round(ctx, &underway)):
		}
	}
}

// round counts the line, gives turns if it is long, and returns how long it is before the next round.
func (t *Turns) round(ctx context.Context, underway *errgroup.Group) time.Duration {
	wait, began := calm, time.Now()
	line, err := t.line.Count(ctx, t.long)
	if err != nil {
		t.log.Debug("the requests that wait could not be counted", "error", err)
		t.wake()
		return wait
	}
	if line.Messages >= t.long {
		wait = max(pause, counting*time.Since(began))
		t.wake()
	}
	for _, project := range t.whose(line) {
		if underway.Go(func() error { t.turn(ctx, project); return nil }); time.Since(began) > maxTurn {
			break // whoever has come since goes before the rest
		}
	}
	return wait
}

// whose returns the projects that have a turn now, and forgets what is over. First are those whose last turn is longest
// ago, and of those that had none, that with the fewest messages.
func (t *Turns) whose(line Count) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !line.Created.Equal(t.created) || line.Last < t.last {
		clear(t.done)
		clear(t.places)
	}
	t.created, t.last = line.Created, line.Last
	maps.DeleteFunc(t.done, func(m id, _ bool) bool { return m.sequence < line.First })
	maps.DeleteFunc(t.places, func(project string, p *place) bool { return line.Waiting[project] == 0 && !p.underway })
	if len(line.Waiting) < 2 {
		return nil
	}
	byCount := func(x, y string) int { return cmp.Compare(line.Waiting[x], line.Waiting[y]) }
	projects := slices.SortedFunc(maps.Keys(line.Waiting), byCount)
	for _, project := range projects {
		if t.places[project] == nil {
			t.places[project] = &place{}
		}
	}
	// Of the project with the most, the consumer has a good deal in hand.
	if most := t.places[projects[len(projects)-1]]; !most.underway {
		most.next = max(most.next, line.Delivered+1)
	}
	slices.SortStableFunc(projects, func(x, y string) int { return t.places[x].had.Compare(t.places[y].had) })
	return slices.DeleteFunc(projects, func(project string) bool { return t.places[project].underway })
}

// turn takes in the next messages of a project.
func (t *Turns) turn(ctx context.Context, project string) {
	p := t.begin(project)
	if p == nil {
		return
	}
	defer t.end(p)
	end := time.Now().Add(maxTurn)
	for n := 0; n < perTurn && time.Now().Before(end); n++ {
		from, tried := p.next, uint64(0)
		if len(p.again) > 0 && !time.Now().Before(p.again[0].at) {
			from, tried = p.again[0].sequence, p.again[0].tries
			p.again = p.again[1:]
		}
		m, err := t.line.NextRequest(ctx, project, from)
		if err != nil || m.Sequence == 0 && tried == 0 {
			return
		}
		if tried > 0 && m.Sequence != from {
			continue // the consumer is done with it
		}
		p.next = max(p.next, m.Sequence+1)
		m.Delivered = tried + 1
		if !t.takeIn(ctx, m) && m.Delivered < tries && len(p.again) < maxAgain {
			p.again = append(p.again, failed{m.Sequence, m.Delivered, time.Now().Add(againAfter)})
		}
	}
}

// begin returns the place of a project whose turn begins; nil if it has none any more.
func (t *Turns) begin(project string) *place {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.places[project]
	if p == nil || p.underway {
		return nil
	}
	p.underway = true
	return p
}

func (t *Turns) end(p *place) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p.underway, p.had = false, time.Now()
}

// takeIn reports whether a message is taken in, and notes that.
func (t *Turns) takeIn(ctx context.Context, m bus.Message) (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			t.log.Error("the intake of a request panicked at its project's turn", "panic", fmt.Sprint(p), "stack",
				string(debug.Stack()))
		}
	}()
	if t.isDone(m) {
		return true
	}
	if !t.take(ctx, m).Acknowledges() {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done[idOf(m)] = true
	return true
}
