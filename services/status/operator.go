package status

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/events/operator"
	"reelay/internal/api"
	"reelay/internal/bus"
	"reelay/internal/letters"
	"reelay/internal/settings"
)

// operatorEndpoints are the verbs of operators. Those that write have no token, see operator.VerbLanes.
func (s *Service) operatorEndpoints() []api.Endpoint {
	const (
		lane = `{"lane":"...","provider":"...","pause":{"paused":false},"pause_revision":0,"limits":{},"limits_revision":0,` +
			`"dispatcher":{"holder":"...","since":"..."},"learned":{"*":{"rate":{"limit":17}}},"blocked":[{"reason":"cap",` +
			`"message":"..."}]}`
		pause = `{"lane":"..., or _all for every lane","reason":"...","by":"...","revision":0}, revision for ` +
			`compare-and-set only`
		paused  = `{"lane":"...","pause":{"paused":true,"reason":"...","by":"...","at":"..."},"revision":7}`
		capping = `{"scope":"all, project.demo or lane.<lane>","daily_usd":20,"unknown_usd":1,"by":"...","revision":0}, ` +
			`unknown_usd and revision optional`
		capped = `{"scope":"project.demo","cap":{"scope":"project.demo","daily_usd":20,"unknown_usd":1,` +
			`"reserved_usd":0.84,"revision":7}}`
		message = `empty or {"limit":50,"before":0}, or {"id":7} for one with its header and body`
		replay  = `{"id":7}`
		replays = `{"subject":"...","stream":"...","sequence":7,"project":"...","task_id":"..."}`
		atLeast = " again, at least once"
	)
	settle := func(v events.Verb, paused bool) func(context.Context, api.Call) (any, error) {
		return func(ctx context.Context, c api.Call) (any, error) { return s.pause(ctx, v, c, paused) }
	}
	stored := letters.Stored{Bus: s.o.Bus, Log: s.log}
	return []api.Endpoint{
		{
			Verb: operator.VerbLanes, About: "what is set for each lane, what keeps it and who sends", Request: "empty",
			Answer: `{"lanes":[` + lane + `]}`, Handle: s.lanes,
		},
		{
			Verb: operator.VerbLanesPause, About: "send no more paid requests", Request: pause, Answer: paused,
			Handle: settle(operator.VerbLanesPause, true),
		},
		{
			Verb: operator.VerbLanesResume, About: "send paid requests again", Request: pause, Answer: paused,
			Handle: settle(operator.VerbLanesResume, false),
		},
		{
			Verb: operator.VerbLanesLimit, About: "replace the limits of a lane",
			Request: `{"lane":"...","limits":{"models":{"*":{"requests":20,"window":"1m","in_flight":5,"spacing":"1s"}},` +
				`"projects":{"demo":{"weight":3}},` +
				`"polls":{"spacing":"30s","per_second":5},"reason":"...","by":"..."},"revision":0}, revision for ` +
				`compare-and-set only`,
			Answer: `{"lane":"...","limits":{...},"revision":7}`, Handle: s.limit,
		},
		{
			Name: "caps-all", Verb: operator.VerbCaps, About: "the caps on spending, with today's use", Request: "empty",
			Answer: `{"caps":[{...}]}`, Handle: s.showCaps,
		},
		{
			Verb: operator.VerbCaps, Tokens: []string{api.Project}, About: "the caps that count for a project",
			Request: "empty", Answer: `{"caps":[{...}]}`, Handle: s.showCaps,
		},
		{Verb: operator.VerbCapsSet, About: "set a cap", Request: capping, Answer: capped, Handle: s.setCap},
		{
			Verb: operator.VerbCapsUnset, About: "take a cap away", Request: `{"scope":"project.demo","revision":0}`,
			Answer: `{"scope":"...","cap":null}`, Handle: s.unsetCap,
		},
		{
			Verb: operator.VerbDead, About: "messages that could not be processed, newest first", Request: message,
			Answer: `{"letters":[{...}],"next_before":0}`, Handle: stored.Dead,
		},
		{
			Verb: operator.VerbDeadReplay, About: "publish one" + atLeast, Request: replay, Answer: replays,
			Handle: stored.ReplayDead,
		},
		{
			Verb: operator.VerbCallbacks, About: "what providers have called back with, newest first",
			Request: message + `; "lane" for one lane`, Answer: `{"callbacks":[{...}],"next_before":0}`, Handle: stored.Callbacks,
		},
		{
			Verb: operator.VerbCallbacksReplay, About: "hand one to the pipeline" + atLeast, Request: replay, Answer: replays,
			Handle: stored.ReplayCallback,
		},
	}
}

// lanes answers with the state of every lane that is configured, has tasks or has a setting.
func (s *Service) lanes(ctx context.Context, _ api.Call) (any, error) {
	set, err := s.o.Bus.Bucket(bucket.Lanes, "").All(ctx)
	if err != nil {
		return nil, err
	}
	leases, err := s.o.Bus.Bucket(bucket.Leases, "").All(ctx)
	if err != nil {
		return nil, err
	}
	held := map[string][]byte{}
	for _, e := range leases {
		held[e.Key] = e.Value
	}
	states := map[string]*operator.LaneState{}
	state := func(lane string) *operator.LaneState {
		if states[lane] == nil {
			states[lane] = &operator.LaneState{Lane: lane}
		}
		return states[lane]
	}
	queue := s.index.queue("", s.o.Lanes, time.Now()).Lanes
	s.fillBlocked(ctx, queue)
	for _, l := range queue {
		known := state(l.Lane)
		known.Provider, known.Blocked = l.Provider, l.Blocked
	}
	for _, l := range s.o.Lanes {
		state(l.Name).Defaults = l.Limits
	}
	for _, e := range set {
		if lane, ok := bucket.LaneOfLimits(e.Key); ok {
			setLimits(state(lane), e)
			continue
		}
		known := state(e.Key)
		known.Pause, known.PauseRevision = bucket.DecodeLanePause(e.Value), e.Revision
	}
	reply := operator.LanesReply{Lanes: []operator.LaneState{}}
	for lane, known := range states {
		setDispatcher(known, held[lane], held[bucket.HandOverKey(lane)])
		reply.Lanes = append(reply.Lanes, *known)
	}
	slices.SortFunc(reply.Lanes, func(a, b operator.LaneState) int { return strings.Compare(a.Lane, b.Lane) })
	return reply, nil
}

func setLimits(l *operator.LaneState, e bus.Entry) {
	l.LimitsRevision = e.Revision
	limits, err := events.DecodeLaneLimits(e.Value)
	if err != nil {
		l.LimitsError = err.Error()
		return
	}
	l.Limits = limits
}

// setDispatcher says who sends for a lane, by its lease, and what was learned of the provider.
func setDispatcher(l *operator.LaneState, lease, handOver []byte) {
	var err error
	if lease != nil {
		var h bucket.Holder
		if err = json.Unmarshal(lease, &h); err == nil && h.Name != "" {
			l.Dispatcher = &h
		}
	}
	if handOver != nil {
		var h bucket.HandOver
		err = errors.Join(err, json.Unmarshal(handOver, &h))
		l.Learned = h.Groups
	}
	if err != nil {
		l.DispatcherError = err.Error()
	}
}

// pause pauses a lane, or has it send again.
func (s *Service) pause(ctx context.Context, v events.Verb, c api.Call, paused bool) (any, error) {
	r, err := operator.DecodePauseRequest(v, c.Data)
	if err != nil {
		return nil, err
	}
	p := bucket.LanePause{Paused: paused, Reason: r.Reason, By: r.By, At: time.Now().UTC().Truncate(time.Second)}
	revision, err := settings.Write(ctx, s.o.Bus, bucket.Lanes, r.Lane, p, r.Revision)
	if err != nil {
		return nil, err
	}
	s.log.Info("a lane was paused or resumed", "lane", r.Lane, "paused", paused, "by", r.By, "reason", r.Reason)
	return operator.PauseReply{Lane: r.Lane, Pause: p, Revision: revision}, nil
}

// limit replaces the limits of a lane.
func (s *Service) limit(ctx context.Context, c api.Call) (any, error) {
	r, err := operator.DecodeLimitsRequest(c.Data)
	if err != nil {
		return nil, err
	}
	r.Limits.At = time.Now().UTC().Truncate(time.Second)
	revision, err := settings.Write(ctx, s.o.Bus, bucket.Lanes, bucket.LimitsKey(r.Lane), r.Limits, r.Revision)
	if err != nil {
		return nil, err
	}
	s.log.Info("the limits of a lane were set", "lane", r.Lane, "by", r.Limits.By, "reason", r.Limits.Reason)
	return operator.LimitsReply{Lane: r.Lane, Limits: r.Limits, Revision: revision}, nil
}

// showCaps answers with the caps that count for a project, or with all.
func (s *Service) showCaps(ctx context.Context, c api.Call) (any, error) {
	caps, err := s.caps(ctx, c.Key.Project)
	return operator.CapsReply{Caps: caps}, err
}

// setCap sets a cap. It counts as soon as what was spent today is counted, see countSpending.
func (s *Service) setCap(ctx context.Context, c api.Call) (any, error) {
	r, err := operator.DecodeCapRequest(operator.VerbCapsSet, c.Data)
	if err != nil {
		return nil, err
	}
	limit := r.Cap()
	if limit.Revision, err = settings.Write(ctx, s.o.Bus, bucket.Caps, string(r.Scope), limit, r.Revision); err != nil {
		return nil, err
	}
	limit.SetAt = time.Now()
	s.log.Info("a cap was set", "scope", r.Scope.String(), "daily_usd", limit.DailyUSD, "by", r.By)
	shown, err := s.cap(ctx, r.Scope, limit)
	return operator.CapReply{Scope: r.Scope, Cap: &shown}, err
}

// unsetCap takes a cap away.
func (s *Service) unsetCap(ctx context.Context, c api.Call) (any, error) {
	r, err := operator.DecodeCapRequest(operator.VerbCapsUnset, c.Data)
	if err != nil {
		return nil, err
	}
	if _, err = settings.Write(ctx, s.o.Bus, bucket.Caps, string(r.Scope), nil, r.Revision); err != nil {
		return nil, err
	}
	s.log.Info("a cap was taken away", "scope", r.Scope.String(), "by", r.By)
	return operator.CapReply{Scope: r.Scope}, nil
}
