package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"sync"

	"reelay/events"
	"reelay/internal/forecast"
	"reelay/internal/group"
	"reelay/internal/provider"
	"reelay/internal/spend/price"
	"reelay/internal/want"
)

// A Pricer says what a paid request costs.
type Pricer interface {
	Quote(provider, model string, input json.RawMessage) price.Quote
	Rates(provider, model string) []price.Rate
}

// A Forecaster says how long tasks like one take.
type Forecaster interface {
	Forecast(t events.Task) *forecast.Forecast
}

// Schemas are those that the providers serve of their models' inputs, by which requests are checked.
type Schemas interface {
	// Kept are those that are at hand; Of may have one fetched.
	Kept(ctx context.Context) want.Served
	Of(ctx context.Context, provider, model string) (want.Schema, bool)
}

// A Catalog answers questions about models.
type Catalog struct {
	// Wants maps what requests want; nil knows of no model.
	Wants *want.Planner
	// Prices tells what a task may cost; nil knows of none.
	Prices Pricer
	// Forecasts are the learned ones.
	Forecasts Forecaster
	// Schemas are the served ones; nil knows of none, and the copies of Wants are told.
	Schemas Schemas
	// Lanes are what a request can name as its provider.
	Lanes []provider.Lane
	// Groups are groups of those, which it can name as well.
	Groups []group.Group
}

// Models returns the sheets of the models that are asked for; with those of one model in full. Its error is an
// *events.Error.
func (c Catalog) Models(ctx context.Context, r events.ModelsRequest) (events.ModelsReply, error) {
	if c.Wants == nil {
		return events.ModelsReply{Models: []events.ModelSheet{}}, nil
	}
	wanted, id := c.providerOf(r.Provider), ""
	if r.Model != "" {
		m, ok := c.Wants.Find(wanted, r.Model)
		if !ok {
			return events.ModelsReply{}, refusal(
				events.NewFieldError("model", "%.200q is none that a want is known for", r.Model))
		}
		wanted, id = m.Provider, m.ID
	}
	reply := events.ModelsReply{Models: []events.ModelSheet{}}
	for _, sheet := range c.Wants.Sheets(c.served(ctx, wanted, id)) {
		named := id == "" || id == sheet.Model || slices.ContainsFunc(sheet.Forms, func(f events.ModelForm) bool {
			return f.Model == id
		})
		if wanted != "" && wanted != sheet.Provider || !named ||
			r.TaskType != "" && !slices.Contains(sheet.TaskTypes, r.TaskType) {
			continue
		}
		c.fill(&sheet)
		if id == "" {
			sheet.Forms = nil
		}
		reply.Models = append(reply.Models, sheet)
	}
	return reply, nil
}

// served returns the schemas that the sheets are made by: of one model those that its requests are checked against, of
// all those that are at hand.
func (c Catalog) served(ctx context.Context, provider, id string) want.Served {
	if c.Schemas == nil {
		return nil
	}
	kept := c.Schemas.Kept(ctx)
	m, ok := c.Wants.Find(provider, id)
	if id == "" || !ok {
		return kept
	}
	var mu sync.Mutex // guards known
	known := map[string]want.Schema{}
	var asked sync.WaitGroup
	for _, e := range m.Endpoints {
		asked.Go(func() {
			if s, ok := c.Schemas.Of(ctx, provider, e.ID); ok {
				mu.Lock()
				known[e.ID] = s
				mu.Unlock()
			}
		})
	}
	asked.Wait()
	return func(of, id string) (want.Schema, bool) {
		if s, ok := known[id]; ok && of == provider {
			return s, true
		}
		return kept(of, id)
	}
}

// providerOf returns the provider that a request names by itself, by one of its lanes or by a group of them.
func (c Catalog) providerOf(name string) string {
	for _, g := range c.Groups {
		if g.Name == name {
			name = g.Members[0].Lane
			break
		}
	}
	for _, l := range c.Lanes {
		if l.Name == name {
			return l.Provider
		}
	}
	return name
}

// fill fills in what a model costs and how long it takes, by the first of its forms of which that is known.
func (c Catalog) fill(sheet *events.ModelSheet) {
	for _, f := range sheet.Forms {
		if len(sheet.Prices) == 0 && c.Prices != nil {
			for _, r := range c.Prices.Rates(sheet.Provider, f.Model) {
				sheet.Prices = append(sheet.Prices, events.ModelPrice{
					Unit: string(r.Unit), USD: r.USD, When: r.When, Source: r.Source, AsOf: r.AsOf,
				})
			}
		}
		if sheet.Typical == nil {
			sheet.Typical = c.Typical(events.Task{Provider: sheet.Provider, TaskType: sheet.TaskTypes[0], Model: f.Model})
		}
	}
}

// FillTypical fills in how long the providers take.
func (c Catalog) FillTypical(lanes []events.LaneQueue) {
	for i := range lanes {
		l := &lanes[i]
		for _, of := range events.TaskTypes() {
			t := c.Typical(events.Task{Provider: l.Provider, TaskType: of})
			if t == nil {
				continue
			}
			if l.Typical == nil {
				l.Typical = map[events.TaskType]events.Typical{}
			}
			l.Typical[of] = *t
		}
	}
}

// Typical returns how long tasks like t take, nil if nothing was learned of any.
func (c Catalog) Typical(t events.Task) *events.Typical {
	f := c.Forecasts.Forecast(t)
	if f.Samples() == 0 {
		return nil
	}
	seconds := func(stage forecast.Stage, share float64) float64 {
		if !f.Learned(stage) {
			return 0
		}
		return math.Round(f.Curve(stage).Remaining(0, share).Seconds()*10) / 10
	}
	return &events.Typical{
		Samples: f.Samples(), WaitS: seconds(forecast.Wait, 0.5), RunS: seconds(forecast.Run, 0.5),
		WholeS: seconds(forecast.Whole, 0.5), LateS: seconds(forecast.Whole, 0.9),
	}
}

// Quote returns what a request would be sent as, what it would cost and how long it would take. Its error is an
// *events.Error.
func (c Catalog) Quote(ctx context.Context, q events.QuoteRequest) (events.QuoteReply, error) {
	r, err := q.Request.PlaceFiles()
	if err != nil {
		return events.QuoteReply{}, refusal(err)
	}
	reply := events.QuoteReply{Provider: c.providerOf(r.Provider), Model: r.Model, Input: r.Input}
	if r.Want != nil {
		question := want.Question{
			TaskType: q.TaskType, Provider: reply.Provider, Model: r.Model, Want: *r.Want, Lenient: r.Lenient,
		}
		question.Emulated = len(c.Lanes) > 0
		for _, l := range c.Lanes {
			question.Configured = append(question.Configured, l.Provider)
			question.Emulated = question.Emulated && l.Emulated
		}
		if c.Wants == nil {
			return reply, refusal(events.NewFieldError("want", "no model is known"))
		}
		var served want.Served
		if c.Schemas != nil {
			served = func(provider, model string) (want.Schema, bool) { return c.Schemas.Of(ctx, provider, model) }
		}
		plan, err := c.Wants.Plan(question, served)
		if err != nil {
			return reply, refusal(err)
		}
		reply = events.QuoteReply{Provider: plan.Provider, Model: plan.Model, Input: plan.Input, Warnings: plan.Warnings}
	}
	switch {
	case slices.ContainsFunc(c.Lanes, func(l provider.Lane) bool { return l.Provider == reply.Provider && l.Free }):
		reply.Cost = &events.Cost{EstimatedUSD: new(0.0), FixedUSD: new(0.0), Basis: reply.Provider + " is free"}
	case c.Prices != nil:
		if p := c.Prices.Quote(reply.Provider, reply.Model, reply.Input); p.Known {
			reply.Cost = &events.Cost{EstimatedUSD: &p.USD, FixedUSD: &p.FixedUSD, Basis: p.Basis}
			if p.ByUnits {
				reply.Cost.UnitUSD = &p.UnitUSD
			}
		}
	}
	reply.Typical = c.Typical(events.Task{
		Provider: reply.Provider, TaskType: q.TaskType, Model: reply.Model, Input: reply.Input,
	})
	return reply, nil
}

// refusal says what the submitter would say in a rejection.
func refusal(err error) *events.Error {
	e := &events.Error{Code: events.CodeInvalidRequest, Kind: events.KindInvalid, Message: err.Error(), Charge: events.ChargeNone}
	var u *want.Unsupported
	var fe *events.FieldError
	switch {
	case errors.As(err, &u):
		e.Code, e.Field, e.Allowed = events.CodeUnsupported, "want."+u.Field, u.Allowed
	case errors.As(err, &fe):
		e.Field = fe.Field
		if fe.Field == "model" {
			e.Code = events.CodeUnknownModel
		}
	}
	return e
}
