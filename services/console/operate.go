package console

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/events/operator"
)

// lanesData is what the page of the lanes shows.
type lanesData struct {
	// All is the pause that counts for every lane.
	All   operator.LaneState
	Lanes []laneView
}

// A laneView is a lane with its limits as a table.
type laneView struct {
	operator.LaneState
	Paused bool
	Groups []limitGroup
	// Limits is what is set, as JSON for the form.
	Limits string
}

// A limitGroup is one limit group of a lane: what counts, and what was learned of it.
type limitGroup struct {
	Name    string
	Default bool
	events.ModelLimits
	Learned bucket.LearnedLimits
}

func (s *Service) lanes(ctx context.Context, _ *http.Request) (string, any, error) {
	reply, err := s.client.Lanes(ctx)
	if err != nil {
		return "", nil, err
	}
	d := lanesData{All: operator.LaneState{Lane: bucket.AllLanes}}
	for _, l := range reply.Lanes {
		if l.Lane == bucket.AllLanes {
			d.All = l
			continue
		}
		v := laneView{LaneState: l, Paused: l.Pause.Paused, Limits: formLimits(l.Limits)}
		count := l.Limits.Over(l.Defaults).Models
		for name := range l.Learned {
			if _, ok := count[name]; !ok {
				if count == nil {
					count = map[string]events.ModelLimits{}
				}
				count[name] = events.ModelLimits{}
			}
		}
		for _, name := range slices.Sorted(maps.Keys(count)) {
			_, set := l.Limits.Models[name]
			v.Groups = append(v.Groups, limitGroup{name, !set, count[name], l.Learned[name]})
		}
		d.Lanes = append(d.Lanes, v)
	}
	return "Lanes", d, nil
}

// formLimits writes limits as the form has them, without who has set them.
func formLimits(l events.LaneLimits) string {
	l.By, l.Reason, l.At = "", "", time.Time{}
	return indented(l)
}

// spendData is what the page of the money shows.
type spendData struct {
	events.SpendReply
	By     events.SpendGroup
	Groups []events.SpendGroup
	Days   plot
	// Most is the largest sum of a row, for the bars beside the rows.
	Most    float64
	AllCaps []events.SpendCap
}

func (s *Service) spend(ctx context.Context, r *http.Request) (string, any, error) {
	d := spendData{By: events.SpendGroup(r.FormValue("by")), Groups: events.SpendGroups()}
	if d.By == "" {
		d.By = events.SpendByDay
	}
	var days events.SpendReply
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		d.SpendReply, err = s.client.Spend(ctx, "", events.SpendRequest{By: []events.SpendGroup{d.By}})
		return err
	})
	g.Go(func() (err error) {
		days, err = s.client.Spend(ctx, "", events.SpendRequest{By: []events.SpendGroup{events.SpendByDay}})
		return err
	})
	g.Go(func() error {
		caps, err := s.client.Caps(ctx, "")
		d.AllCaps = caps.Caps
		return err
	})
	if err := g.Wait(); err != nil {
		return "", nil, err
	}
	d.Days = daily(days)
	for _, row := range d.Rows {
		d.Most = max(d.Most, row.SpentUSD+row.ReservedUSD)
	}
	return "Spend", d, nil
}

// daily plots the money of each day.
func daily(r events.SpendReply) plot {
	until, err := time.Parse(time.DateOnly, r.Until)
	since, bad := time.Parse(time.DateOnly, r.Since)
	if err != nil || bad != nil {
		return plot{Empty: true}
	}
	var all []column
	for day := since; !day.After(until); day = day.AddDate(0, 0, 1) {
		c := column{name: day.Format(time.DateOnly), values: []float64{0, 0, 0}}
		for _, row := range r.Rows {
			if row.Day == c.name {
				c.values = []float64{row.SpentUSD, 0, row.ReservedUSD}
				c.text = usd(row.SpentUSD) + " spent, " + usd(row.ReservedUSD) + " reserved"
			}
		}
		all = append(all, c)
	}
	return stacked(all, "Money by day, spent and reserved", func(top float64) string { return usd(top) + " a day" })
}

// batchData is what the page of a batch shows.
type batchData struct {
	Batch events.Batch
	treeData
}

func (s *Service) batch(ctx context.Context, r *http.Request) (string, any, error) {
	k := events.Key{Project: r.PathValue("project"), ID: r.PathValue("batch")}
	b, err := s.client.Batch(ctx, k)
	if err != nil {
		return "", nil, err
	}
	list, err := s.client.List(ctx, k.Project, events.ListRequest{
		BatchID: k.ID, Cursor: r.FormValue("cursor"), Limit: events.MaxListLimit,
	})
	d := batchData{b, newTree(k.Project, list.Tasks, "No task of it was taken in.")}
	if list.NextCursor != "" {
		d.Next = batchPath(k.Project, k.ID) + "?cursor=" + url.QueryEscape(list.NextCursor)
	}
	return "Batch " + k.ID, d, err
}

// storedRequest is what an address says of a list of stored messages, or of one of them.
func storedRequest(r *http.Request) (ask operator.StoredRequest, err error) {
	ask.Lane = r.FormValue("lane")
	if r.PathValue("id") != "" {
		ask.ID, err = storedID(r)
	} else if before := r.FormValue("before"); before != "" {
		if ask.Before, err = strconv.ParseUint(before, 10, 64); err != nil {
			err = events.NewFieldError("before", "is no number")
		}
	}
	return ask, err
}

func (s *Service) dead(ctx context.Context, r *http.Request) (string, any, error) {
	ask, err := storedRequest(r)
	if err != nil {
		return "", nil, err
	}
	reply, err := s.client.DeadLetters(ctx, ask)
	return "Dead letters", reply, err
}

func (s *Service) callbacks(ctx context.Context, r *http.Request) (string, any, error) {
	ask, err := storedRequest(r)
	if err != nil {
		return "", nil, err
	}
	reply, err := s.client.Callbacks(ctx, ask)
	return "Callbacks", reply, err
}
