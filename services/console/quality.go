package console

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"reelay/events"
)

const (
	// qualityPages bounds the page of quality to the newest tasks that have ended: that many lists of MaxListLimit.
	qualityPages = 3
	// fewForecasts are too few to judge by, and badShare is the share of ends inside the band below which a person should
	// look: eight in ten is right.
	fewForecasts = 20
	badShare     = 0.6
)

// qualityData is how well reelay foretells and notices ends, as the newest ended tasks and the pollers tell it.
type qualityData struct {
	// Tasks counts the ended tasks that Models is made of, More says that there are older ones.
	Tasks  int
	More   bool
	Since  *time.Time
	Lanes  []events.LaneQueue
	Models []*modelQuality
	All    *modelQuality
}

// modelQuality is what ended tasks tell of one model at a lane.
type modelQuality struct {
	Lane, Model                   string
	Completed, Failed, Cancelled  int
	Early, Inside, Late           int
	CallbacksAsked, CallbacksCame int
	took                          []time.Duration
	SpentUSD                      float64
}

func (s *Service) quality(ctx context.Context, _ *http.Request) (string, any, error) {
	d := qualityData{All: &modelQuality{}}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		q, err := s.client.Queue(ctx, "")
		d.Lanes = q.Lanes
		return err
	})
	var ended []events.Task
	g.Go(func() error {
		ask := events.ListRequest{Phase: []events.Phase{events.PhaseDone}, Limit: events.MaxListLimit}
		for range qualityPages {
			r, err := s.client.List(ctx, "", ask)
			if err != nil {
				return err
			}
			ended = append(ended, r.Tasks...)
			if ask.Cursor = r.NextCursor; ask.Cursor == "" {
				break
			}
		}
		d.More = ask.Cursor != ""
		return nil
	})
	if err := g.Wait(); err != nil {
		return "", nil, err
	}
	d.Tasks = len(ended)
	d.Models = byModel(ended)
	for _, t := range ended {
		d.All.add(t)
		if d.Since == nil || t.CreatedAt.Before(*d.Since) {
			d.Since = &t.CreatedAt
		}
	}
	return "Quality", d, nil
}

// byModel sorts what ended tasks tell by model, those of the most tasks first.
func byModel(ended []events.Task) (all []*modelQuality) {
	type name struct{ lane, model string }
	found := map[name]*modelQuality{}
	for _, t := range ended {
		n := name{t.Lane, t.Model}
		if found[n] == nil {
			found[n] = &modelQuality{Lane: t.Lane, Model: t.Model}
			all = append(all, found[n])
		}
		found[n].add(t)
	}
	slices.SortStableFunc(all, func(a, b *modelQuality) int { return cmp.Compare(b.Ended(), a.Ended()) })
	return all
}

func (m *modelQuality) add(t events.Task) {
	m.SpentUSD += t.SpentUSD()
	switch t.Status {
	case events.StatusFailed:
		m.Failed++
	case events.StatusCancelled:
		m.Cancelled++
	case events.StatusCompleted:
		m.Completed++
		if t.SubmittedAt != nil && t.CompletedAt != nil {
			m.took = append(m.took, t.CompletedAt.Sub(*t.SubmittedAt))
		}
		m.addForecast(t)
	}
	if a := t.Attempt(); a != nil && a.Callback && t.Cancel == nil && t.SubmittedAt != nil {
		m.CallbacksAsked++
		if endedBy(t) == string(events.SourceCallback) {
			m.CallbacksCame++
		}
	}
}

func (m *modelQuality) addForecast(t events.Task) {
	if t.Forecast == nil || t.CompletedAt == nil {
		return
	}
	switch t.Forecast.Result(*t.CompletedAt) {
	case events.ForecastEarly:
		m.Early++
	case events.ForecastLate:
		m.Late++
	case events.ForecastInside:
		m.Inside++
	}
}

// endedBy is who has brought the end of a task's work at the provider.
func endedBy(t events.Task) string {
	for _, step := range t.Transitions {
		if step.To == events.PhaseDone || step.To == events.PhaseStoring {
			return step.By
		}
	}
	return ""
}

// Ended counts the tasks.
func (m *modelQuality) Ended() int { return m.Completed + m.Failed + m.Cancelled }

// Forecasts counts those whose forecast can be compared with their end.
func (m *modelQuality) Forecasts() int { return m.Early + m.Inside + m.Late }

// BeforeLate counts the forecasts that were not late.
func (m *modelQuality) BeforeLate() int { return m.Early + m.Inside }

// Success is the share, in percent, of those that were not cancelled; nil without any.
func (m *modelQuality) Success() *float64 { return share(m.Completed, m.Completed+m.Failed) }

// InsideShare is the share, in percent, of the ends that were inside the band; nil without any.
func (m *modelQuality) InsideShare() *float64 { return share(m.Inside, m.Forecasts()) }

// Came is the share of the ends that a callback brought, in percent, of those that had asked for one.
func (m *modelQuality) Came() *float64 { return share(m.CallbacksCame, m.CallbacksAsked) }

// Off says that the forecasts are wrong too often.
func (m *modelQuality) Off() bool {
	return m.Forecasts() >= fewForecasts && float64(m.Inside) < badShare*float64(m.Forecasts())
}

// Median is how long the middle one of the completed took at the provider.
func (m *modelQuality) Median() time.Duration {
	if len(m.took) == 0 {
		return 0
	}
	slices.Sort(m.took)
	return m.took[len(m.took)/2]
}

func share(part, whole int) *float64 {
	if whole == 0 {
		return nil
	}
	return new(100 * float64(part) / float64(whole))
}
