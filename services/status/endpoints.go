package status

import (
	"slices"

	"reelay/events"
	"reelay/internal/api"
)

// endpoints is the whole API.
func (s *Service) endpoints() []api.Endpoint {
	const (
		empty    = "empty"
		task     = `{"task":{...}}`
		listing  = `{"tasks":[{...}],"next_cursor":""}`
		queueing = `{"total":3,"by_status":{"queued":1,"in_progress":1,"completed":1},"active_count":2,` +
			`"lanes":[{"lane":"...","provider":"...",` +
			`"by_phase":{"waiting":1},"active":2,"at_provider":1,"completed_last_hour":1,"failed_last_hour":0,` +
			`"oldest_waiting_s":4.2,"sent_per_minute":2.5,` +
			`"typical":{"video":{"samples":120,"wait_s":12.5,"run_s":240,"whole_s":255.5,"late_s":400}}}]}`
		filters = `empty or {"status":["queued"],"phase":["waiting"],"scene_id":"","provider":"","model":"","batch_id":"",` +
			`"since":"2026-01-02T15:04:05Z",` +
			`"limit":50,"cursor":"","after_request":0}`
		days = `empty or {"since":"2026-01-01","until":"2026-01-31","by":["day","project","provider","lane","model"]}, ` +
			`days in UTC`
		spending = `{"since":"...","until":"...","rows":[{"day":"2026-01-31","project":"...","provider":"...","lane":"...",` +
			`"model":"...","tasks":1,` +
			`"attempts":1,"spent_usd":0.84,"reserved_usd":0}],"total":{"tasks":1,"attempts":1,"spent_usd":0.84,` +
			`"reserved_usd":0},` +
			`"caps":[{"scope":"project.demo","daily_usd":20,"reserved_usd":0.84}]}`
	)
	var (
		one  = []string{api.Project, api.Task}
		each = []string{api.Project}
	)
	return append(slices.Concat(s.operatorEndpoints(), s.modelEndpoints(), s.quotas.Endpoints()), []api.Endpoint{
		{
			Name: "submit", Verb: events.VerbSubmit, Tokens: []string{api.Project, api.TaskType},
			About: "hand in a task and wait until it is accepted; the same id and body again is the same task",
			Request: `{"id":"optional","provider":"...","model":"...","input":{...} or "want":{...},"lenient":false,"scene_id":"","priority":0,` +
				`"timeout":"30m","start_timeout":"5m",` +
				`"on_in_doubt":"hold|fail|resubmit","max_paid_attempts":1,"estimated_cost_usd":0,"max_cost_usd":0,"batch_id":"",` +
				`"batch_size":0,"metadata":{"k":"v"}}`,
			Answer: task, Handle: s.submit,
		},
		{
			Name: "get", Verb: events.VerbGet, Tokens: one, Waits: s.seeks, About: "one task", Request: empty, Answer: task,
			Handle: s.get,
		},
		{
			Name: "list", Verb: events.VerbList, Tokens: each, About: "tasks of a project, newest first", Request: filters,
			Waits: follows, Answer: listing, Handle: s.list,
		},
		{
			Name: "list-all", Verb: events.VerbList, About: "tasks of all projects, newest first", Request: filters,
			Waits: follows, Answer: listing, Handle: s.list,
		},
		{
			Name: "queue", Verb: events.VerbQueue, Tokens: each, About: "how busy a project is", Request: empty,
			Answer: queueing, Handle: s.queue,
		},
		{
			Name: "queue-all", Verb: events.VerbQueue, About: "how busy everything is", Request: empty, Answer: queueing,
			Handle: s.queue,
		},
		{
			Name: "timeline", Verb: events.VerbTimeline, Tokens: one, About: "who decided what about a task, when",
			Request: empty, Answer: `{"task_id":"...","transitions":[{"version":1,"at":"...","name":"accept","to":"waiting",` +
				`"by":"submitter"}],"attempts":[{...}]}`,
			Handle: s.timeline,
		},
		{
			Name: "wait", Verb: events.VerbWait, Tokens: one, Waits: s.waits,
			About: "one task, as soon as it has ended or after the timeout; at once if nobody has asked for it", Request: `empty or {"timeout":"30s"}, at most 5m`,
			Answer: task, Handle: s.wait,
		},
		{
			Name: "cancel", Verb: events.VerbCancel, Tokens: one,
			About: "ask for the end of a task and wait until that is recorded", Request: `empty or {"reason":"..."}`,
			Answer: task, Handle: s.cancel,
		},
		{
			Name: "resolve", Verb: events.VerbResolve, Tokens: one, About: "decide about a task that is in doubt or parked",
			Request: `{"action":"adopt|resubmit|write_off","provider_id":"for adopt","reason":"..."}`, Answer: task,
			Handle: s.resolve,
		},
		{
			Name: "spend", Verb: events.VerbSpend, Tokens: each, About: "what a project has spent and reserved", Request: days,
			Answer: spending, Handle: s.spend,
		},
		{
			Name: "spend-all", Verb: events.VerbSpend, About: "what everything has spent and reserved", Request: days,
			Answer: spending, Handle: s.spend,
		},
		{
			Name: "batch", Verb: events.VerbBatch, Tokens: []string{api.Project, api.Batch}, About: "how far a batch is",
			Request: empty, Answer: `{"project":"...","batch_id":"...","announced":12,"total":11,"ended":3,"rejected":1,` +
				`"by_status":{"completed":3,"in_progress":8},` +
				`"cost_usd":4.2}`,
			Handle: s.batch,
		},
	}...)
}
