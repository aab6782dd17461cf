package console

import (
	"context"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"reelay/events"
	"reelay/events/client"
)

const (
	// nowTasks is how many tasks of a kind the first page shows, nowEvents how many events.
	nowTasks  = 8
	nowEvents = 14
)

func nowParts() []string {
	return []string{"now-counts", "now-attention", "now-lanes", "now-waiting", "now-working", "now-ended", "now-plots", "now-events"}
}

// nowData is what the first page shows.
type nowData struct {
	Queue events.QueueReply
	// Doubt are tasks in doubt or parked, Waiting those in our queue, Working those at a provider,
	// Ended the last ones that were asked for of those that have ended.
	Doubt, Waiting, Working, Ended []events.Task
	// Blocked are the lanes that something keeps which is more than a limit at work.
	Blocked []blockedLane
	// CompletedHour and FailedHour count the ends of the last hour.
	CompletedHour, FailedHour, Parked, Queued, InProgress int
	SpentUSD                                              float64
	Throughput, Spend                                     plot
	Events                                                []client.StoredEvent
}

type blockedLane struct {
	Lane string
	events.Blocked
}

func (s *Service) now(ctx context.Context, _ *http.Request) (string, any, error) {
	var d nowData
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { d.Queue, err = s.client.Queue(ctx, ""); return err })
	for _, want := range []struct {
		into   *[]events.Task
		phases []events.Phase
	}{
		{&d.Doubt, []events.Phase{events.PhaseParked, events.PhaseInDoubt}},
		{&d.Waiting, []events.Phase{events.PhaseWaiting}},
		{&d.Ended, []events.Phase{events.PhaseDone}},
		{&d.Working, []events.Phase{
			events.PhaseSubmitting, events.PhaseProviderQueued, events.PhaseRunning, events.PhaseFetching,
			events.PhaseStoring, events.PhaseCancelling,
		}},
	} {
		g.Go(func() error {
			r, err := s.client.List(ctx, "", events.ListRequest{Phase: want.phases, Limit: nowTasks})
			*want.into = r.Tasks
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return "", nil, err
	}
	d.Queued, d.InProgress = d.Queue.ByStatus[events.StatusQueued], d.Queue.ByStatus[events.StatusInProgress]
	for _, l := range d.Queue.Lanes {
		d.CompletedHour += l.CompletedLastHour
		d.FailedHour += l.FailedLastHour
		d.Parked += l.ByPhase[events.PhaseParked]
		for _, b := range l.Blocked {
			if !b.Reason.Normal() {
				d.Blocked = append(d.Blocked, blockedLane{l.Lane, b})
			}
		}
	}
	bars := s.feed.bars(time.Now())
	for _, c := range bars {
		d.SpentUSD += c.USD
	}
	d.Throughput, d.Spend = throughput(bars), spending(bars)
	d.Events = s.feed.newest(nowEvents)
	return "Now", d, nil
}
