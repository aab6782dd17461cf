package status

import (
	"cmp"
	"context"
	"errors"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"reelay/events"
)

const (
	serviceName = "reelay"
	// noVersion stands for a version that is not a semantic one.
	noVersion = "0.0.0"
)

// Tokens of a subject after its verb.
const (
	tokenProject  = "project"
	tokenTask     = "task"
	tokenBatch    = "batch"
	tokenTaskType = "task_type"
)

// A call is one request.
type call struct {
	key      events.Key // the id is empty where the subject names no task
	taskType events.TaskType
	header   micro.Headers
	data     []byte
	// stop ends when the service is told to stop, before the context of the call does.
	stop context.Context
}

// An endpoint is one verb on one subject.
type endpoint struct {
	// name is the verb's where it is empty.
	name   string
	verb   events.Verb
	tokens []string
	// waits says that it counts as a wait, not as a request.
	waits bool
	// about, request and answer document it in `nats micro info`.
	about, request, answer string
	handle                 func(context.Context, call) (any, error)
}

func (e endpoint) subject() string {
	return events.APISubject(e.verb, slices.Repeat([]string{"*"}, len(e.tokens))...)
}

// endpoints is the whole API.
func (s *Service) endpoints() []endpoint {
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
			`"limit":50,"cursor":""}`
		days = `empty or {"since":"2026-01-01","until":"2026-01-31","by":["day","project","provider","lane","model"]}, ` +
			`days in UTC`
		spending = `{"since":"...","until":"...","rows":[{"day":"2026-01-31","project":"...","provider":"...","lane":"...",` +
			`"model":"...","tasks":1,` +
			`"attempts":1,"spent_usd":0.84,"reserved_usd":0}],"total":{"tasks":1,"attempts":1,"spent_usd":0.84,` +
			`"reserved_usd":0},` +
			`"caps":[{"scope":"project.demo","daily_usd":20,"reserved_usd":0.84}]}`
	)
	var (
		one  = []string{tokenProject, tokenTask}
		each = []string{tokenProject}
	)
	return append(s.operatorEndpoints(), []endpoint{
		{
			name: "submit", verb: events.VerbSubmit, tokens: []string{tokenProject, tokenTaskType},
			about: "hand in a task and wait until it is accepted; the same id and body again is the same task",
			request: `{"id":"optional","provider":"...","model":"...","input":{...},"scene_id":"","priority":0,` +
				`"timeout":"30m","start_timeout":"5m",` +
				`"on_in_doubt":"hold|fail|resubmit","max_paid_attempts":1,"estimated_cost_usd":0,"max_cost_usd":0,"batch_id":"",` +
				`"batch_size":0,"metadata":{"k":"v"}}`,
			answer: task, handle: s.submit,
		},
		{name: "get", verb: events.VerbGet, tokens: one, about: "one task", request: empty, answer: task, handle: s.get},
		{
			name: "list", verb: events.VerbList, tokens: each, about: "tasks of a project, newest first", request: filters,
			answer: listing, handle: s.list,
		},
		{
			name: "list-all", verb: events.VerbList, about: "tasks of all projects, newest first", request: filters,
			answer: listing, handle: s.list,
		},
		{
			name: "queue", verb: events.VerbQueue, tokens: each, about: "how busy a project is", request: empty,
			answer: queueing, handle: s.queue,
		},
		{
			name: "queue-all", verb: events.VerbQueue, about: "how busy everything is", request: empty, answer: queueing,
			handle: s.queue,
		},
		{
			name: "timeline", verb: events.VerbTimeline, tokens: one, about: "who decided what about a task, when",
			request: empty, answer: `{"task_id":"...","transitions":[{"version":1,"at":"...","name":"accept","to":"waiting",` +
				`"by":"submitter"}],"attempts":[{...}]}`,
			handle: s.timeline,
		},
		{
			name: "wait", verb: events.VerbWait, tokens: one, waits: true,
			about: "one task, as soon as it has ended or after the timeout", request: `empty or {"timeout":"30s"}, at most 5m`,
			answer: task, handle: s.wait,
		},
		{
			name: "cancel", verb: events.VerbCancel, tokens: one,
			about: "ask for the end of a task and wait until that is recorded", request: `empty or {"reason":"..."}`,
			answer: task, handle: s.cancel,
		},
		{
			name: "resolve", verb: events.VerbResolve, tokens: one, about: "decide about a task that is in doubt or parked",
			request: `{"action":"adopt|resubmit|write_off","provider_id":"for adopt","reason":"..."}`, answer: task,
			handle: s.resolve,
		},
		{
			name: "spend", verb: events.VerbSpend, tokens: each, about: "what a project has spent and reserved", request: days,
			answer: spending, handle: s.spend,
		},
		{
			name: "spend-all", verb: events.VerbSpend, about: "what everything has spent and reserved", request: days,
			answer: spending, handle: s.spend,
		},
		{
			name: "batch", verb: events.VerbBatch, tokens: []string{tokenProject, tokenBatch}, about: "how far a batch is",
			request: empty, answer: `{"project":"...","batch_id":"...","announced":12,"total":11,"ended":3,"rejected":1,` +
				`"by_status":{"completed":3,"in_progress":8},` +
				`"cost_usd":4.2}`,
			handle: s.batch,
		},
	}...)
}

var semanticVersion = regexp.MustCompile(`^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)

// serve puts the API up. Requests run under work; stop ends those that wait.
func (s *Service) serve(work, stop context.Context) (micro.Service, error) {
	version := strings.TrimPrefix(s.o.Version, "v")
	if !semanticVersion.MatchString(version) {
		version = noVersion
	}
	api, err := micro.AddService(s.o.Bus.Conn(), micro.Config{
		Name: serviceName, Version: version, Metadata: map[string]string{"version": s.o.Version},
		Description: "long-running generative-media tasks: submit, follow, cancel",
		ErrorHandler: func(_ micro.Service, err *micro.NATSError) {
			s.log.Warn("a subscription of the api failed", "subject", err.Subject, "error", err.Description)
		},
	})
	if err != nil {
		return nil, err
	}
	for _, e := range s.endpoints() {
		err := api.AddEndpoint(cmp.Or(e.name, string(e.verb)), s.handler(work, stop, e),
			micro.WithEndpointSubject(e.subject()),
			micro.WithEndpointMetadata(map[string]string{"description": e.about, "request": e.request, "answer": e.answer}))
		if err != nil {
			return nil, errors.Join(err, api.Stop())
		}
	}
	return api, nil
}

// handler gives each request a goroutine of its own, as many as there are tokens, so that none waits behind another.
func (s *Service) handler(work, stop context.Context, e endpoint) micro.HandlerFunc {
	tokens := s.requests
	if e.waits {
		tokens = s.waits
	}
	return func(r micro.Request) {
		select {
		case tokens <- struct{}{}:
		default:
			s.answer(e, r, nil, unavailable("%d requests are under way; ask again", cap(tokens)))
			return
		}
		s.underWay.Add(1)
		go func() {
			defer func() {
				<-tokens
				s.underWay.Add(-1)
			}()
			begin := time.Now()
			reply, err := s.safely(work, stop, e, r)
			s.answer(e, r, reply, err)
			s.metrics.duration.WithLabelValues(string(e.verb)).Observe(time.Since(begin).Seconds())
		}()
	}
}

// safely runs the handler of an endpoint; a panic costs this request and no other.
func (s *Service) safely(work, stop context.Context, e endpoint, r micro.Request) (reply any, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("a request of the api panicked", "subject", r.Subject(), "panic", p, "stack", string(debug.Stack()))
			err = fail(500, events.CodeInternal, events.KindInternal, "a fault in reelay's status service; its log tells more")
		}
	}()
	c := call{header: r.Headers(), data: r.Data(), stop: stop}
	if err := c.parse(e.tokens, r.Subject()); err != nil {
		return nil, err
	}
	if len(c.data) > events.MaxRequestBytes {
		return nil, tooLarge(len(c.data))
	}
	return e.handle(work, c)
}

// parse reads the tokens from the end of the subject. Its error is a FieldError that names the token.
func (c *call) parse(names []string, subject string) error {
	words := strings.Split(subject, ".")
	words = words[len(words)-len(names):]
	for i, word := range words {
		switch names[i] {
		case tokenTaskType:
			if c.taskType = events.TaskType(word); !c.taskType.Valid() {
				return events.NewFieldError(tokenTaskType, "%q is not one of %v", word, events.TaskTypes())
			}
			continue
		case tokenProject:
			c.key.Project = word
		case tokenTask, tokenBatch:
			c.key.ID = word
		}
		if !events.ValidToken(word) {
			return events.NewFieldError(names[i], "%q is not 1 to %d characters of A-Z a-z 0-9 _ -", word, events.MaxTokenBytes)
		}
	}
	return nil
}

// answer sends a reply or an error, as micro does. It does not use the micro request for that, which may not outlive
// its handler.
func (s *Service) answer(e endpoint, r micro.Request, reply any, err error) {
	m := &nats.Msg{Subject: r.Reply()}
	if err == nil {
		m.Data, err = events.Marshal(reply)
	}
	if limit := s.maxAnswer(); err == nil && len(m.Data) > limit {
		err = fail(500, events.CodeInternal, events.KindInternal, "the answer has %d bytes, over the server's limit of %d",
			len(m.Data), limit)
	}
	code := "200"
	if err != nil {
		f := failureOf(err)
		code = f.code()
		m.Header = nats.Header{micro.ErrorHeader: {f.Error()}, micro.ErrorCodeHeader: {code}}
		if m.Data, err = events.Marshal(events.ErrorReply{Error: f.body}); err != nil {
			s.log.Error("error answer could not be encoded", "subject", r.Subject(), "error", err)
		}
	}
	s.metrics.requests.WithLabelValues(string(e.verb), code).Inc()
	if m.Subject == "" {
		return // nobody asked for an answer
	}
	if err := s.o.Bus.Conn().PublishMsg(m); err != nil {
		s.log.Warn("answer could not be sent", "subject", r.Subject(), "error", err)
	}
}

// maxAnswer is the largest answer in bytes: a message of the server less room for headers.
func (s *Service) maxAnswer() int { return int(s.o.Bus.Conn().MaxPayload()) - 4<<10 }
