// Package quota keeps what one project does from taking what others need: what each may do is set by the operator, and
// counted where it is done, by the submitter for requests and by package api for calls.
//
// Promise: who is over a quota is told which it is and how much it allows, and loses nothing that was acknowledged. What
// is counted is near the truth and not exact: it costs no write.
package quota

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/events/operator"
	"reelay/internal/api"
	"reelay/internal/bus"
	"reelay/internal/settings"
)

// Quotas are those that are set. It is safe for concurrent use. Before Watch has read them the defaults count.
type Quotas struct {
	bus *bus.Bus
	log *slog.Logger

	mu  sync.Mutex
	set map[string]operator.ProjectQuota
}

// New returns the quotas of a bus.
func New(b *bus.Bus, log *slog.Logger) *Quotas {
	return &Quotas{bus: b, log: log, set: map[string]operator.ProjectQuota{}}
}

// Watch keeps the quotas as they are set, until ctx ends.
func (q *Quotas) Watch(ctx context.Context) error {
	bus.KeepWatching(ctx, q.log, "the watch of the quotas was interrupted", func(ctx context.Context) error {
		fresh := map[string]operator.ProjectQuota{} // what was deleted while nobody watched is not there
		return q.bus.Bucket(bucket.Quotas, "").Watch(ctx, func(e *bus.Entry) {
			q.mu.Lock()
			defer q.mu.Unlock()
			if e == nil {
				q.set = fresh
				return
			}
			delete(fresh, e.Key)
			if set, ok := q.read(*e); ok {
				fresh[e.Key] = set
			}
		})
	})
	return nil
}

// read reads an entry; false where nothing is set by it.
func (q *Quotas) read(e bus.Entry) (operator.ProjectQuota, bool) {
	if !e.Present {
		return operator.ProjectQuota{}, false
	}
	set, err := bucket.DecodeQuota(e.Value)
	if err != nil {
		q.log.Error("a quota could not be read; the default counts", "project", e.Key, "error", err)
		return operator.ProjectQuota{}, false
	}
	return operator.ProjectQuota{Project: e.Key, Set: set, Revision: e.Revision}, true
}

// Of returns what a project may do.
func (q *Quotas) Of(project string) bucket.Quota { return q.of(project).Quota }

func (q *Quotas) of(project string) operator.ProjectQuota {
	q.mu.Lock()
	defer q.mu.Unlock()
	p := q.set[project]
	p.Project = project
	p.Quota = p.Set.Over(q.set[bucket.AllProjects].Set).Over(bucket.DefaultQuota())
	return p
}

// Calls returns how many calls of the API a project may have under way, and how many that wait.
func (q *Quotas) Calls(project string) (calls, waits int) {
	of := q.Of(project)
	return int(of.Calls), int(of.Waits)
}

// Endpoints are the verbs of quotas.
func (q *Quotas) Endpoints() []api.Endpoint {
	const quota = `{"waiting":0,"requests_per_second":0,"bytes_per_second":0,"calls":0,"waits":0,"rejections":0,"by":"..."}`
	const shown = `{"project":"demo","quota":` + quota + `,"set":{},"revision":7}`
	return []api.Endpoint{
		{
			Name: "quotas-all", Verb: operator.VerbQuotas, About: "what each project may do that has a quota, and all others (_all)",
			Request: "empty", Answer: `{"quotas":[` + shown + `]}`, Handle: q.show,
		},
		{
			Verb: operator.VerbQuotas, Tokens: []string{api.Project}, About: "what a project may do", Request: "empty",
			Answer: `{"quotas":[` + shown + `]}`, Handle: q.show,
		},
		{
			Verb: operator.VerbQuotasSet, About: "set what a project, or all without a quota of their own (_all), may do",
			Request: `{"project":"demo","quota":` + quota + `,"revision":0}, all optional but project and quota; 0 for the default`,
			Answer:  shown, Handle: q.write,
		},
	}
}

func (q *Quotas) show(ctx context.Context, c api.Call) (any, error) {
	entries, err := q.bus.Bucket(bucket.Quotas, "").All(ctx)
	if err != nil {
		return nil, err
	}
	now := New(q.bus, q.log) // as they are stored: a watch may be behind
	for _, e := range entries {
		if set, ok := now.read(e); ok {
			now.set[e.Key] = set
		}
	}
	reply := operator.QuotasReply{Quotas: []operator.ProjectQuota{}}
	if c.Key.Project != "" {
		reply.Quotas = append(reply.Quotas, now.of(c.Key.Project))
		return reply, nil
	}
	reply.Quotas = append(reply.Quotas, now.of(bucket.AllProjects))
	for project := range now.set {
		if project != bucket.AllProjects {
			reply.Quotas = append(reply.Quotas, now.of(project))
		}
	}
	slices.SortFunc(reply.Quotas, func(a, b operator.ProjectQuota) int { return strings.Compare(a.Project, b.Project) })
	return reply, nil
}

func (q *Quotas) write(ctx context.Context, c api.Call) (any, error) {
	r, err := operator.DecodeQuotaRequest(c.Data)
	if err != nil {
		return nil, err
	}
	var value any = r.Quota
	if r.Quota == (bucket.Quota{By: r.Quota.By}) {
		value = nil // nothing is set by it
	}
	revision, err := settings.Write(ctx, q.bus, bucket.Quotas, r.Project, value, r.Revision)
	if err != nil {
		return nil, err
	}
	q.log.Info("a quota was set", "project", r.Project, "by", r.Quota.By)
	shown, err := q.show(ctx, api.Call{Key: events.Key{Project: r.Project}})
	if err != nil {
		return nil, err
	}
	reply := shown.(operator.QuotasReply).Quotas[0]
	reply.Revision = revision
	return reply, nil
}
