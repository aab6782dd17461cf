// Package client asks reelay by its subjects: everything that the reelay command does, for a program in Go. It needs a
// NATS connection and nothing else; what it sends and reads is that of package events.
//
// Each call is one request that any reelay service may answer. It is bounded by its context and by AnswerTimeout,
// whichever is sooner, and fails with an *Error if a service has refused it, with ErrNoService if none is there, and
// with ErrNoAnswer if it may have been heard and no answer came. A Submit without an answer may have been taken in: the
// same request with the same id is the same task, and is paid for once.
//
// Subscribe, Replay and Follow deliver events; Wait and Watch return when a task has ended, through lost events and
// restarts of the services.
package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/events/operator"
)

// AnswerTimeout bounds one request, beyond what the request itself asks to wait.
const AnswerTimeout = 15 * time.Second

// busyPause and maxBusyPause bound the pause before a busy service is asked again, which doubles with each try.
const (
	busyPause    = 20 * time.Millisecond
	maxBusyPause = time.Second
)

// maxNotifyWait is how long a notifier may take over an answer.
const maxNotifyWait = 30 * time.Second

var (
	// ErrNoService says that NATS is there and nobody answers on a subject.
	ErrNoService = errors.New("no reelay service answers")
	// ErrNoAnswer says that somebody may have heard the request and that no answer came.
	ErrNoAnswer = errors.New("no answer")
)

// An Error is a refusal by a service.
type Error struct {
	// Status is like HTTP's: 400 for a request that is wrong in itself, 404, 409, 413, 429, 503, 504; 0 if the service
	// gave none.
	Status int
	Reason events.Error
}

// Error returns "<message> (<code>)", with the field in front if the message does not name it. It may hold the words of
// strangers.
func (e *Error) Error() string {
	if r := e.Reason; r.Field != "" && !strings.HasPrefix(r.Message, r.Field+": ") {
		return r.Field + ": " + r.Error()
	}
	return e.Reason.Error()
}

// HasCode reports whether err is a refusal with a code, such as events.CodeNotFound.
func HasCode(err error, code string) bool {
	var refused *Error
	return errors.As(err, &refused) && refused.Reason.Code == code
}

// Busy reports whether the service had too much to do, or the project too many calls under way: nothing was done, and the
// same may be asked again.
func (e *Error) Busy() bool {
	full := e.Reason.Code == events.CodeOverLimit && (e.Reason.Field == bucket.QuotaCalls || e.Reason.Field == bucket.QuotaWaits)
	return full || e.Status == http.StatusServiceUnavailable
}

// A Client asks the services. Its methods may be called from several goroutines.
type Client struct {
	nc *nats.Conn
	// apiPrefix is that of JetStream's API; empty for the usual one.
	apiPrefix string
	// retryPause is the pause after a wait that nobody answered.
	retryPause time.Duration
	// retryBusy says that what a service was too busy for is asked again.
	retryBusy bool
}

// An Option changes how a Client works.
type Option func(*Client)

// WithAPIPrefix reaches the JetStream that answers below another prefix than $JS.API: that of a domain ($JS.hub.API) or
// one that an account has imported. Replay, Follow and OpenStored use it.
func WithAPIPrefix(prefix string) Option { return func(c *Client) { c.apiPrefix = prefix } }

// WithBusyRetry has the client ask again what a service was too busy for (see Error.Busy), which has then done nothing,
// until AnswerTimeout. It is for programs that ask for many at once.
func WithBusyRetry() Option { return func(c *Client) { c.retryBusy = true } }

// New makes no call. The connection stays the caller's, who closes it.
func New(nc *nats.Conn, options ...Option) *Client {
	c := &Client{nc: nc, retryPause: 2 * time.Second}
	for _, o := range options {
		o(c)
	}
	return c
}

// worldWait bounds World.
const worldWait = 2 * time.Second

// World says whether the tasks are done by real providers, for money, or by emulators; empty where no service with lanes
// has run yet. It reads the stream of the records, which a tenant with an account of its own cannot. It takes two
// seconds at most.
func (c *Client) World(ctx context.Context) (events.World, error) {
	js, err := c.jetStream()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, worldWait)
	defer cancel()
	s, err := js.Stream(ctx, events.StreamTasks)
	if err != nil {
		return "", fmt.Errorf("stream %s: %w", events.StreamTasks, err)
	}
	return events.World(s.CachedInfo().Config.Metadata[events.WorldKey]), nil
}

func (c *Client) jetStream() (js jetstream.JetStream, err error) {
	if c.apiPrefix == "" {
		js, err = jetstream.New(c.nc)
	} else {
		js, err = jetstream.NewWithAPIPrefix(c.nc, c.apiPrefix)
	}
	if err != nil {
		return nil, fmt.Errorf("jetstream: %w", err)
	}
	return js, nil
}

// ask sends in (nil for an empty payload) to a verb and reads the answer, which comes within AnswerTimeout and wait.
func ask[T any](ctx context.Context, c *Client, verb events.Verb, tokens []string, in any,
	wait time.Duration,
) (reply T, err error) {
	var payload []byte
	if in != nil {
		if payload, err = events.Marshal(in); err != nil {
			return reply, fmt.Errorf("%s: %w", verb, err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, wait+AnswerTimeout)
	defer cancel()
	subject := events.APISubject(verb, tokens...)
	if !c.nc.IsConnected() { // else it would be sent on reconnect, long after its caller was told that it failed
		return reply, fmt.Errorf("%w on %s: %w", ErrNoAnswer, subject, nats.ErrDisconnected)
	}
	for pause := busyPause; ; pause = min(2*pause, maxBusyPause) {
		reply, err = askOnce[T](ctx, c, verb, subject, payload)
		var refused *Error
		if !c.retryBusy || !errors.As(err, &refused) || !refused.Busy() {
			return reply, err
		}
		select {
		case <-ctx.Done():
			return reply, err
		case <-time.After(pause/2 + rand.N(pause)):
		}
	}
}

func askOnce[T any](ctx context.Context, c *Client, verb events.Verb, subject string, payload []byte) (reply T, err error) {
	msg, err := c.nc.RequestWithContext(ctx, subject, payload)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return reply, fmt.Errorf("%w on %s", ErrNoService, subject)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return reply, fmt.Errorf("%w on %s: %w", ErrNoAnswer, subject, err)
	case err != nil:
		return reply, fmt.Errorf("%s: %w", verb, err)
	case msg.Header.Get(micro.ErrorCodeHeader) != "" || msg.Header.Get(micro.ErrorHeader) != "":
		return reply, refusal(msg)
	}
	if err := json.Unmarshal(msg.Data, &reply); err != nil {
		return reply, fmt.Errorf("answer to %s: %w", verb, err)
	}
	return reply, nil
}

// refusal reads an error answer. One without a readable body speaks through its headers.
func refusal(msg *nats.Msg) error {
	code := msg.Header.Get(micro.ErrorCodeHeader)
	var r events.ErrorReply
	if err := json.Unmarshal(msg.Data, &r); err != nil || r.Error.Code == "" {
		r.Error = events.Error{Code: code, Message: msg.Header.Get(micro.ErrorHeader)}
	}
	status, _ := strconv.Atoi(code) // a service of another kind may give none
	return &Error{status, r.Error}
}

// one are the tokens of a task or batch.
func one(k events.Key) []string { return []string{k.Project, k.ID} }

// some are the tokens of a project, or none for all projects.
func some(project string) []string {
	if project == "" {
		return nil
	}
	return []string{project}
}

// Submit hands in a request and returns the task as accepted. Give the request an id, so that asking again after
// ErrNoAnswer is still one task. One that is wrong in itself fails with an events.FieldError before anything is sent.
func (c *Client) Submit(ctx context.Context, project string, t events.TaskType, r events.Request) (events.Task, error) {
	if err := r.Validate(); err != nil {
		return events.Task{}, err
	}
	if payload, err := events.Marshal(r); err == nil && len(payload) > events.MaxRequestBytes {
		return events.Task{}, events.NewFieldError("request", "%d bytes are over the limit of %d", len(payload),
			events.MaxRequestBytes)
	}
	reply, err := ask[events.TaskReply](ctx, c, events.VerbSubmit, []string{project, string(t)}, r, 0)
	return reply.Task, err
}

// Get returns a task as it now is.
func (c *Client) Get(ctx context.Context, k events.Key) (events.Task, error) {
	reply, err := ask[events.TaskReply](ctx, c, events.VerbGet, one(k), nil, 0)
	return reply.Task, err
}

// WaitFor returns a task when it has ended, or as it is after d, at most events.MaxWait; at once if d is not positive.
func (c *Client) WaitFor(ctx context.Context, k events.Key, d time.Duration) (events.Task, error) {
	if d <= 0 {
		return c.Get(ctx, k)
	}
	reply, err := ask[events.TaskReply](ctx, c, events.VerbWait, one(k), events.WaitRequest{Timeout: events.Duration(d)},
		d)
	return reply.Task, err
}

// List returns one page of tasks, newest first, of a project or, where it is empty, of all.
func (c *Client) List(ctx context.Context, project string, r events.ListRequest) (events.ListReply, error) {
	return ask[events.ListReply](ctx, c, events.VerbList, some(project), r, 0)
}

// Queue returns how busy a project is, or, where it is empty, everything.
func (c *Client) Queue(ctx context.Context, project string) (events.QueueReply, error) {
	return ask[events.QueueReply](ctx, c, events.VerbQueue, some(project), nil, 0)
}

// Timeline returns who decided what about a task, when.
func (c *Client) Timeline(ctx context.Context, k events.Key) (events.TimelineReply, error) {
	return ask[events.TimelineReply](ctx, c, events.VerbTimeline, one(k), nil, 0)
}

// Cancel asks for the end of a task and returns it when that is recorded. A paid request that is out may complete all
// the same.
func (c *Client) Cancel(ctx context.Context, k events.Key, r events.Cancel) (events.Task, error) {
	reply, err := ask[events.TaskReply](ctx, c, events.VerbCancel, one(k), r, 0)
	return reply.Task, err
}

// Resolve decides about a task that is in doubt or parked and returns it when the doubt has ended.
func (c *Client) Resolve(ctx context.Context, k events.Key, r events.Resolve) (events.Task, error) {
	reply, err := ask[events.TaskReply](ctx, c, events.VerbResolve, one(k), r, 0)
	return reply.Task, err
}

// Batch returns how far a batch is.
func (c *Client) Batch(ctx context.Context, k events.Key) (events.Batch, error) {
	return ask[events.Batch](ctx, c, events.VerbBatch, one(k), nil, 0)
}

// Links returns links to the stored outputs of a task, which work for age, or for events.DefaultLinkAge if it is 0. It
// fails with ErrNoService where no archiver runs.
func (c *Client) Links(ctx context.Context, k events.Key, age time.Duration) (events.LinksReply, error) {
	return ask[events.LinksReply](ctx, c, events.VerbLinks, one(k), events.LinksRequest{ExpiresIn: events.Duration(age)}, 0)
}

// Erase has what an ended task was given and has made forgotten, or its files alone. After ErrNoAnswer ask again.
func (c *Client) Erase(ctx context.Context, k events.Key, r events.EraseRequest) (events.EraseReply, error) {
	return ask[events.EraseReply](ctx, c, events.VerbErase, one(k), r, operator.MaxVerifyWait)
}

// Artifacts lists the files of the store of outputs, a page at a time.
func (c *Client) Artifacts(ctx context.Context, r operator.ArtifactsRequest) (operator.ArtifactsReply, error) {
	return ask[operator.ArtifactsReply](ctx, c, operator.VerbArtifacts, nil, r, operator.MaxVerifyWait)
}

// VerifyArtifacts has the files of a page read and hashed.
func (c *Client) VerifyArtifacts(ctx context.Context, r operator.ArtifactsRequest) (operator.VerifyReply, error) {
	return ask[operator.VerifyReply](ctx, c, operator.VerbArtifactsVerify, nil, r, operator.MaxVerifyWait)
}

// CollectArtifacts has the files of a page deleted that no record names any more.
func (c *Client) CollectArtifacts(ctx context.Context, r operator.GCRequest) (operator.GCReply, error) {
	return ask[operator.GCReply](ctx, c, operator.VerbArtifactsGC, nil, r, operator.MaxVerifyWait)
}

// Models returns what models can be told by a want; a project that asks must be named.
func (c *Client) Models(ctx context.Context, project string, r events.ModelsRequest) (events.ModelsReply, error) {
	return ask[events.ModelsReply](ctx, c, events.VerbModels, []string{project}, r, 0)
}

// Quote returns what a request would be sent as, what it would cost and how long it would take. Nothing is submitted.
func (c *Client) Quote(ctx context.Context, project string, r events.QuoteRequest) (events.QuoteReply, error) {
	if err := r.Request.Validate(); err != nil {
		return events.QuoteReply{}, err
	}
	return ask[events.QuoteReply](ctx, c, events.VerbQuote, []string{project}, r, 0)
}

// Spend returns what a project, or, where it is empty, everything has spent and reserved, with the caps that count for
// it.
func (c *Client) Spend(ctx context.Context, project string, r events.SpendRequest) (events.SpendReply, error) {
	return ask[events.SpendReply](ctx, c, events.VerbSpend, some(project), r, 0)
}

// Lanes returns what is set for every lane, what keeps it and who sends for it.
func (c *Client) Lanes(ctx context.Context) (operator.LanesReply, error) {
	return ask[operator.LanesReply](ctx, c, operator.VerbLanes, nil, nil, 0)
}

// PauseLane keeps a lane from sending paid requests. When it returns, none of the lane is completed any more.
func (c *Client) PauseLane(ctx context.Context, r operator.PauseRequest) (operator.PauseReply, error) {
	return ask[operator.PauseReply](ctx, c, operator.VerbLanesPause, nil, r, 0)
}

// ResumeLane has a lane send again.
func (c *Client) ResumeLane(ctx context.Context, r operator.PauseRequest) (operator.PauseReply, error) {
	return ask[operator.PauseReply](ctx, c, operator.VerbLanesResume, nil, r, 0)
}

// LimitLane replaces the limits of a lane.
func (c *Client) LimitLane(ctx context.Context, r operator.LimitsRequest) (operator.LimitsReply, error) {
	return ask[operator.LimitsReply](ctx, c, operator.VerbLanesLimit, nil, r, 0)
}

// Caps returns the caps that count for a project, or, where it is empty, all, with today's use.
func (c *Client) Caps(ctx context.Context, project string) (operator.CapsReply, error) {
	return ask[operator.CapsReply](ctx, c, operator.VerbCaps, some(project), nil, 0)
}

// SetCap limits what may be spent in a day. It counts as soon as a status service has counted what was spent today.
func (c *Client) SetCap(ctx context.Context, r operator.CapRequest) (operator.CapReply, error) {
	return ask[operator.CapReply](ctx, c, operator.VerbCapsSet, nil, r, 0)
}

// UnsetCap takes a cap away.
func (c *Client) UnsetCap(ctx context.Context, r operator.CapRequest) (operator.CapReply, error) {
	return ask[operator.CapReply](ctx, c, operator.VerbCapsUnset, nil, r, 0)
}

// Quotas returns what a project may do, or, where it is empty, what is set for each and for all others.
func (c *Client) Quotas(ctx context.Context, project string) (operator.QuotasReply, error) {
	return ask[operator.QuotasReply](ctx, c, operator.VerbQuotas, some(project), nil, 0)
}

// SetQuota replaces what a project, or bucket.AllProjects, may do.
func (c *Client) SetQuota(ctx context.Context, r operator.QuotaRequest) (operator.QuotaReply, error) {
	return ask[operator.QuotaReply](ctx, c, operator.VerbQuotasSet, nil, r, 0)
}

// Notify shows the endpoints for webhooks, and what waits for them.
func (c *Client) Notify(ctx context.Context) (operator.NotifyReply, error) {
	return ask[operator.NotifyReply](ctx, c, operator.VerbNotify, nil, nil, 0)
}

// ReplayNotifications has a page of the dead letters of an endpoint delivered again.
func (c *Client) ReplayNotifications(ctx context.Context, r operator.NotifyReplayRequest) (operator.NotifyReplayReply, error) {
	return ask[operator.NotifyReplayReply](ctx, c, operator.VerbNotifyReplay, nil, r, maxNotifyWait)
}

// TestNotify has an endpoint sent a body of the type test.
func (c *Client) TestNotify(ctx context.Context, r operator.NotifyTestRequest) (operator.NotifyTestReply, error) {
	return ask[operator.NotifyTestReply](ctx, c, operator.VerbNotifyTest, nil, r, maxNotifyWait)
}

// DeadLetters returns messages that could not be processed, newest first.
func (c *Client) DeadLetters(ctx context.Context, r operator.StoredRequest) (operator.DeadReply, error) {
	return ask[operator.DeadReply](ctx, c, operator.VerbDead, nil, r, 0)
}

// ReplayDeadLetter publishes one again, at least once. See operator.ReplayRequest.
func (c *Client) ReplayDeadLetter(ctx context.Context, id uint64) (operator.ReplayReply, error) {
	return ask[operator.ReplayReply](ctx, c, operator.VerbDeadReplay, nil, operator.ReplayRequest{ID: id}, 0)
}

// Callbacks returns what providers have called back with, newest first.
func (c *Client) Callbacks(ctx context.Context, r operator.StoredRequest) (operator.CallbacksReply, error) {
	return ask[operator.CallbacksReply](ctx, c, operator.VerbCallbacks, nil, r, 0)
}

// ReplayCallback hands one to the pipeline again, at least once. See operator.ReplayRequest.
func (c *Client) ReplayCallback(ctx context.Context, id uint64) (operator.ReplayReply, error) {
	return ask[operator.ReplayReply](ctx, c, operator.VerbCallbacksReplay, nil, operator.ReplayRequest{ID: id}, 0)
}
