package submitter

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/dependency"
	"reelay/internal/inputs"
	"reelay/internal/provider"
	"reelay/internal/retry"
	"reelay/internal/spend"
	"reelay/internal/spend/price"
	"reelay/internal/task"
	"reelay/internal/taskstore"
	"reelay/internal/trace"
	"reelay/internal/want"
)

const (
	headerMsgID = "Nats-Msg-Id"
	// maxIntakeDelay bounds the wait between two tries of a message whose effect could not be stored.
	maxIntakeDelay = 30 * time.Second
	// unknownTaskTries is how often a command for a task that does not exist is tried: its request may be right behind.
	unknownTaskTries = 5
	// quickIntake is how long a message takes at most that is handled the first time. Whether an older one was handled
	// before is asked for: another submitter may have taken it in turn, which its consumer does not count.
	quickIntake = 5 * time.Second
	// unknownTaskAge is how old a command gets at most while messages from before it are tried again: its request may be
	// one of them.
	unknownTaskAge = 10 * time.Minute
)

// A Pricer says what a paid request costs. It does no I/O.
type Pricer interface {
	Quote(provider, model string, input json.RawMessage) price.Quote
}

// intake handles one request or command.
func (s *Service) intake(ctx context.Context, m bus.Message) bus.Outcome {
	var err error
	ctx = trace.From(ctx, m.Header)
	switch {
	case events.IsCommandSubject(m.Subject):
		err = s.command(ctx, m)
	case s.o.Spending != nil && s.o.Spending.Intake() != nil:
		s.log.WarnContext(ctx, "a request waits until there is room for its record", "subject", m.Subject, "error", s.o.Spending.Intake())
		return bus.RetryAfter(maxIntakeDelay)
	default:
		err = s.request(ctx, m)
	}
	var r *rejection
	if errors.As(err, &r) {
		err = s.reject(ctx, m, r)
	}
	var late *inputs.NotCopied
	if errors.As(err, &late) {
		s.log.InfoContext(ctx, "a request waits for the copy of an object that it names", "subject", m.Subject, "error", err)
		return bus.RetryAfter(copyAgain)
	}
	if err != nil {
		s.log.WarnContext(ctx, "a request or command could not be processed yet; it is delivered again", "subject", m.Subject,
			"delivered", m.Delivered, "error", err)
		return bus.Failed(err, min(time.Second<<min(m.Delivered, 5), maxIntakeDelay))
	}
	return bus.Done()
}

// A rejection is a request or command that cannot be accepted as it is.
type rejection struct {
	key    events.Key
	digest string
	err    *events.Error
	// batch and batchSize are what a request said of its batch.
	batch     string
	batchSize int
	// notify are the endpoints that are told: that which a request has named.
	notify []string
}

func (r *rejection) Error() string { return r.err.Message }

// refuse makes a rejection of err, which names a field.
func refuse(k events.Key, digest, code string, err error) *rejection {
	e := &events.Error{Code: code, Kind: events.KindInvalid, Message: err.Error(), Charge: events.ChargeNone}
	var fe *events.FieldError
	var u *want.Unsupported
	switch {
	case errors.As(err, &fe):
		e.Field = fe.Field
	case errors.As(err, &u):
		e.Field, e.Allowed = "want."+u.Field, u.Allowed
	}
	return &rejection{key: k, digest: digest, err: e}
}

func (s *Service) reject(ctx context.Context, m bus.Message, r *rejection) error {
	if err := s.leaveBatch(ctx, r); err != nil {
		return err
	}
	s.metrics.rejected.WithLabelValues(codeLabel(r.err.Code)).Inc()
	s.log.InfoContext(ctx, "a request or command was rejected", "task", r.key, "code", r.err.Code, "field", r.err.Field)
	if r.digest == "" {
		r.digest = payloadDigest(m.Data)
	}
	err := s.o.Bus.Publish(ctx, events.Event{
		Type: events.EventRejected, Project: r.key.Project, TaskID: r.key.ID, Time: m.Time, Message: r.err.Message,
		Error: r.err, RequestDigest: r.digest, BatchID: r.batch, BatchSize: r.batchSize,
		Notify:      r.notify,
		Traceparent: trace.OfRequest(ctx, m.Get(events.HeaderTraceparent)), Repair: mayBeAgain(m),
	})
	if err == nil {
		s.dropRejections(ctx, r.key.Project)
	}
	return err
}

// dropRejections counts a rejection, and drops the oldest of a project that has more than its quota.
func (s *Service) dropRejections(ctx context.Context, project string) {
	keep, drop := s.quota.Rejected(project)
	if !drop {
		return
	}
	if err := s.o.Bus.DropRejections(ctx, project, keep); err != nil {
		s.log.WarnContext(ctx, "the oldest rejections of a project could not be dropped", "project", project, "error", err)
	}
}

// mayBeAgain reports whether a message may have been handled before.
func mayBeAgain(m bus.Message) bool { return m.Delivered > 1 || time.Since(m.Time) > quickIntake }

// admit refuses a request of a project that is over its quota, and one that was refused when it was delivered before:
// the answer to a request does not change. One whose id has a task makes no new one. This comes before whatever costs
// others something, when the digest of a request with files is not known yet.
func (s *Service) admit(ctx context.Context, k events.Key, m bus.Message) error {
	digest := ""
	over := s.quota.Admit(k.Project, m.Time, len(m.Data), m.Delivered > 1)
	if over == nil && mayBeAgain(m) {
		before, err := s.o.Bus.Rejection(ctx, k)
		if err != nil {
			return err
		}
		if before != nil && before.Time.Equal(m.Time) {
			over, digest = before.Error, before.RequestDigest
		}
	}
	if over == nil {
		return nil
	}
	if _, err := s.store.Get(ctx, k); err == nil {
		return nil
	}
	return &rejection{key: k, digest: digest, err: over}
}

// leaveBatch takes the batch off a rejection that does not count in it: where no project could be read, and where the
// batch has a task of that id, which counts, and where the request may be sent again, which then counts. Whoever counts could not tell later, for the rejection may be kept longer
// than the task.
func (s *Service) leaveBatch(ctx context.Context, r *rejection) error {
	if r.batch == "" {
		return nil
	}
	if r.key.Project != events.InvalidProject && !r.err.Retryable {
		t, err := s.store.Get(ctx, r.key)
		switch {
		case err == nil && t.BatchID == r.batch:
		case err == nil, errors.Is(err, bus.ErrNotFound), errors.Is(err, bus.ErrUnreadable):
			return nil
		default:
			return err
		}
	}
	r.batch, r.batchSize = "", 0
	return nil
}

func payloadDigest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func (s *Service) request(ctx context.Context, m bus.Message) error {
	r, err := events.DecodeRequest(m.Data)
	err = s.accept(ctx, m, r, err)
	var refused *rejection
	if errors.As(err, &refused) {
		refused.batch, refused.batchSize = r.Batch()
		if events.ValidToken(r.Notify) {
			refused.notify = []string{r.Notify}
		}
		if again, failed := s.acceptedBefore(ctx, refused, m); again || failed != nil {
			return failed
		}
	}
	return err
}

// acceptedBefore reports whether a message has become a task before, or is a retry that has, and repairs the task's
// events if so: what has changed since, as a file, a setting, a schema or the task to retry, does not take that back.
func (s *Service) acceptedBefore(ctx context.Context, r *rejection, m bus.Message) (bool, error) {
	k := r.key
	t, _, err := s.store.GetFromLeader(ctx, k)
	switch {
	case errors.Is(err, bus.ErrNotFound), errors.Is(err, bus.ErrUnreadable),
		err == nil && !t.CreatedAt.Equal(m.Time) && (t.RetryOf == "" || t.RequestDigest != r.digest):
		return false, nil
	case err != nil:
		return false, err
	}
	_, err = s.store.Apply(ctx, k, task.Accept{Meta: task.Meta{At: m.Time, By: name}, Task: t})
	return true, err
}

// accept makes a task of a request as far as it could be decoded; bad is why it could not be whole.
func (s *Service) accept(ctx context.Context, m bus.Message, r events.Request, bad error) error {
	k, taskType, rejected := identify(m, r, bad)
	if rejected != nil {
		return rejected
	}
	ctx, span := s.o.Tracer.Start(ctx, trace.Intake, &events.Task{Project: k.Project, ID: k.ID, TaskType: taskType})
	defer span.End()
	if err := s.admit(ctx, k, m); err != nil {
		return err
	}
	r, err := s.pin(ctx, m, k, r)
	if err != nil {
		return err
	}
	digest, err := r.Digest(taskType)
	if err != nil {
		return refuse(k, "", events.CodeInvalidRequest, events.NewFieldError("input", "bad JSON: %v", err))
	}
	var of events.Task
	if r.RetryOf != "" {
		if r, of, err = retry.Whole(ctx, s.store, k.Project, taskType, r); err != nil {
			return refuseFile(k, digest, err)
		}
	}
	warnings := of.Warnings
	if r.Want != nil {
		if r, warnings, err = s.plan(ctx, k, taskType, r, digest); err != nil {
			return err
		}
	}
	l, rejected := s.laneOf(r, k, digest)
	if rejected != nil {
		return rejected
	}
	sample, err := dependency.Sample(r.Input)
	if err == nil {
		sample, err = inputs.Sample(sample)
	}
	if err != nil {
		return refuse(k, digest, events.CodeInvalidRequest, err)
	}
	if err := l.Driver.Check(taskType, r.Model, sample); err != nil {
		return refuse(k, digest, codeOf(err), err)
	}
	if err := s.files.Check(ctx, l.Lane, k.Project, r.Model, r.Input); err != nil {
		return refuseFile(k, digest, err)
	}
	l, chosen := s.choose(l, k, r)
	t := s.newTask(k, taskType, r, l, m)
	t.Traceparent = trace.OfRequest(ctx, m.Get(events.HeaderTraceparent))
	t.RequestDigest, t.Warnings, t.RetryOf = digest, warnings, of.ID
	if t.Want == nil {
		t.Want = of.Want
	}
	if err := s.price(&t, r, sample); err != nil && !s.wasAccepted(ctx, k, digest) {
		return refuse(k, digest, events.CodeInvalidRequest, err)
	}
	if err := s.checkWaits(ctx, t); err != nil {
		return err
	}
	if t.InputDigest, err = events.Digest(r.Input); err != nil {
		return refuse(k, digest, events.CodeInvalidRequest, events.NewFieldError("input", "bad JSON: %v", err))
	}
	if t.Input, t.InputRef, err = s.store.KeepInput(ctx, t.Input); err != nil {
		return err
	}
	meta := task.Meta{At: m.Time, By: name, RequestedBy: s.requestedBy(m)}
	c, err := s.store.Apply(ctx, k, task.Accept{Meta: meta, Task: t, Note: chosen})
	switch {
	case errors.Is(err, taskstore.ErrIDUsed):
		return refuse(k, digest, events.CodeIdempotencyConflict, events.NewFieldError("id", "%v: choose another id", err))
	case err != nil:
		return err
	case c.Written:
		s.metrics.accepted.WithLabelValues(l.Name).Inc()
		s.log.InfoContext(ctx, "a request became a task", "task", k, "lane", l.Name, "model", r.Model)
	case !task.IsOf(c.Task, digest, m.Time):
		s.metrics.rejected.WithLabelValues(events.CodeIdempotencyConflict).Inc()
		s.log.InfoContext(ctx, "a request was rejected", "task", k, "code", events.CodeIdempotencyConflict)
		s.dropRejections(ctx, k.Project)
	}
	return s.checkStored(ctx, c.Task)
}

// checkWaits refuses a task that is not to be sent for too long, or that waits for itself.
func (s *Service) checkWaits(ctx context.Context, t events.Task) error {
	k := t.Key()
	if t.NotBefore != nil && t.NotBefore.Sub(t.CreatedAt) > events.MaxNotBefore {
		return refuse(k, t.RequestDigest, events.CodeInvalidRequest,
			events.NewFieldError("not_before", "is more than %v from now", events.MaxNotBefore))
	}
	if len(t.WaitsFor) == 0 || s.wasAccepted(ctx, k, t.RequestDigest) {
		return nil
	}
	cycle, err := dependency.Cycle(ctx, s.store, k, t.WaitsFor)
	switch {
	case errors.Is(err, dependency.ErrTooMany):
		return refuse(k, t.RequestDigest, events.CodeInvalidRequest, events.NewFieldError("after", "%v", err))
	case cycle != nil:
		return &rejection{key: k, digest: t.RequestDigest, err: cycle}
	}
	return err
}

// checkStored fails a task that was created while another submitter created one that waits for it: neither could see
// the other before.
func (s *Service) checkStored(ctx context.Context, t events.Task) error {
	if len(t.WaitsFor) == 0 {
		return nil
	}
	cycle, err := dependency.Cycle(ctx, s.store, t.Key(), t.WaitsFor)
	if cycle == nil {
		if errors.Is(err, dependency.ErrTooMany) {
			return nil // they came at the same time: what they wait for has deadlines all the same
		}
		return err
	}
	_, err = s.store.Apply(ctx, t.Key(), task.DependencyFailed{Meta: s.meta(), Err: cycle})
	return err
}

// codeOf is the code of a request that is refused by err.
func codeOf(err error) string {
	var fe *events.FieldError
	var u *want.Unsupported
	switch {
	case errors.As(err, &u):
		return events.CodeUnsupported
	case errors.As(err, &fe) && fe.Field == "model":
		return events.CodeUnknownModel
	}
	return events.CodeInvalidRequest
}

// identify returns the key and the type of the task that a request makes, and a rejection if it says neither, or could
// not be decoded.
func identify(m bus.Message, r events.Request, bad error) (events.Key, events.TaskType, *rejection) {
	k := events.Key{Project: events.InvalidProject, ID: events.DerivedTaskID(m.Sequence, m.Time)}
	id := m.Get(headerMsgID)
	switch {
	case events.ValidToken(r.ID):
		k.ID = r.ID
	case events.ValidToken(id):
		k.ID = id
	}
	project, taskType, err := events.ParseRequestSubject(m.Subject)
	if project != "" {
		k.Project = project
	}
	switch {
	case err != nil:
		return k, taskType, refuse(k, "", events.CodeInvalidRequest, err)
	case bad != nil && len(m.Data) > events.MaxRequestBytes:
		return k, taskType, refuse(k, "", events.CodePayloadTooLarge, bad)
	case bad != nil:
		return k, taskType, refuse(k, "", events.CodeInvalidRequest, bad)
	case r.ID == "" && id != "" && !events.ValidToken(id):
		return k, taskType, refuse(k, "", events.CodeInvalidRequest,
			events.NewFieldError(headerMsgID, "as the task id it must be 1 to %d characters of A-Z a-z 0-9 _ -",
				events.MaxTokenBytes))
	}
	return k, taskType, nil
}

// price writes down what a task may cost. The request's own estimate counts where the table knows none, and where it is
// the larger: a user who knows of something dear is trusted, and nobody can make a task look cheaper than its price.
// Its error is a FieldError: the task would cost more than it may, or nobody knows.
func (s *Service) price(t *events.Task, r events.Request, input json.RawMessage) error {
	q := price.Quote{}
	switch l := s.lanes[t.Lane]; {
	case l != nil && l.Free:
		t.Cost = &events.Cost{
			EstimatedUSD: new(0.0), FixedUSD: new(0.0), MaxUSD: spend.Positive(r.MaxCostUSD), Basis: "lane " + l.Name + " is free",
		}
		return nil
	case s.o.Prices != nil:
		q = s.o.Prices.Quote(t.Provider, t.Model, input)
	}
	if !q.Known && r.EstimatedUSD <= 0 && r.MaxCostUSD <= 0 {
		return nil
	}
	c := &events.Cost{EstimatedUSD: spend.Positive(r.EstimatedUSD), MaxUSD: spend.Positive(r.MaxCostUSD)}
	if c.EstimatedUSD != nil {
		c.Basis = "the request's own estimate"
	}
	if q.Known {
		c.FixedUSD = &q.FixedUSD
		if q.ByUnits {
			c.UnitUSD = &q.UnitUSD
		}
		if q.USD >= r.EstimatedUSD {
			c.EstimatedUSD, c.Basis = &q.USD, q.Basis
		}
	}
	t.Cost = c
	return spend.CheckCost(t.Model, c)
}

// priceAgain returns what a task may cost now that its input is known in full: no less than was said before, which may
// be the request's own estimate. Its error is a FieldError, as that of price.
func (s *Service) priceAgain(t events.Task, input json.RawMessage) (*events.Cost, error) {
	if s.o.Prices == nil {
		return t.Cost, nil
	}
	q := s.o.Prices.Quote(t.Provider, t.Model, input)
	if !q.Known {
		return t.Cost, nil
	}
	c := events.Cost{}
	if t.Cost != nil {
		c = *t.Cost
	}
	c.FixedUSD, c.UnitUSD = &q.FixedUSD, nil
	if q.ByUnits {
		c.UnitUSD = &q.UnitUSD
	}
	if c.EstimatedUSD == nil || q.USD >= *c.EstimatedUSD {
		c.EstimatedUSD, c.Basis = &q.USD, q.Basis
	}
	return &c, spend.CheckCost(t.Model, &c)
}

// wasAccepted reports whether a request has become a task before: a price that has changed since does not take it back.
func (s *Service) wasAccepted(ctx context.Context, k events.Key, digest string) bool {
	t, err := s.store.Get(ctx, k)
	return err == nil && t.RequestDigest == digest
}

// laneOf finds the lane that a request names, by the lane's name or its provider's, or the first of a group.
func (s *Service) laneOf(r events.Request, k events.Key, digest string) (*lane, *rejection) {
	if g := s.groups[r.Provider]; g != nil {
		return s.lanes[g.Members[0].Lane], nil
	}
	if l, ok := s.lanes[r.Provider]; ok {
		return l, nil
	}
	for _, l := range s.o.Lanes { // a provider of which only lanes with other names are there
		if l.Provider == r.Provider {
			return s.lanes[l.Name], nil
		}
	}
	code, text := events.CodeUnknownProvider, "is not one of "+strings.Join(append(slices.Clone(s.o.Known), slices.Sorted(maps.Keys(s.groups))...), ", ")
	if slices.Contains(s.o.Known, r.Provider) {
		code, text = events.CodeNotConfigured, "is not configured here: its API key or a lane is not set"
	}
	return nil, refuse(k, digest, code, events.NewFieldError("provider", "%q %s", r.Provider, text))
}

func (s *Service) newTask(k events.Key, taskType events.TaskType, r events.Request, l *lane,
	m bus.Message,
) events.Task {
	timeout := s.o.Timeout
	if r.Timeout > 0 {
		timeout = time.Duration(r.Timeout)
	}
	t := events.Task{
		Schema: events.TaskSchema, ID: k.ID, Project: k.Project, SceneID: r.SceneID, TaskType: taskType, BatchID: r.BatchID,
		BatchSize: r.BatchSize, OnDependency: r.OnDependency, Provider: l.Provider, Lane: l.Name, Model: r.Model, Input: bytes.TrimSpace(r.Input),
		Priority: r.Priority, Metadata: r.Metadata, CreatedAt: m.Time.UTC(),
		Deadline: m.Time.UTC().Add(timeout), OnInDoubt: r.OnInDoubt, MaxPaidAttempts: max(1, r.MaxPaidAttempts),
		Keep: r.Keep, Notify: r.Notify,
	}
	if s.groups[r.Provider] != nil {
		t.Group = r.Provider
	}
	if raw, err := events.Marshal(r.Want); err == nil && len(raw) <= events.MaxInlineBytes {
		t.Want = r.Want
	}
	switch {
	case l.Free && t.OnInDoubt != events.InDoubtFail: // hold, too, which is for money
		t.OnInDoubt = events.InDoubtResubmit
		if r.MaxPaidAttempts == 0 {
			t.MaxPaidAttempts = events.MaxPaidAttempts
		}
	case t.OnInDoubt == "":
		t.OnInDoubt = s.inDoubtPolicy(&t, l.Driver.Features(t.Model))
	}
	t.After, _ = r.Dependencies() // they were checked with the request
	t.WaitsFor = t.After
	if len(t.After) > 0 && t.OnDependency == "" {
		t.OnDependency = events.DependencyFail
	}
	if r.NotBefore != nil && r.NotBefore.After(m.Time) {
		at := r.NotBefore.UTC()
		t.NotBefore, t.TimeoutFrom, t.Deadline = &at, &at, at.Add(timeout)
	}
	if r.StartTimeout > 0 {
		at := t.TimeoutsFrom().Add(time.Duration(r.StartTimeout))
		t.StartDeadline = &at
	}
	return t
}

// repeats is how many paid attempts a task may have by default that a provider makes and bills once however often it is
// asked.
const repeats = 3

// inDoubtPolicy is what a request means that names none. A person is asked only where a person may find out more than
// reelay: not about an answer that was itself the result. What may be repeated is.
func (s *Service) inDoubtPolicy(t *events.Task, can provider.Features) events.InDoubtPolicy {
	switch {
	case can.Repeatable:
		t.MaxPaidAttempts = max(t.MaxPaidAttempts, repeats)
		return events.InDoubtResubmit
	case can.Synchronous:
		return events.InDoubtFail
	}
	return events.InDoubtHold
}

func (s *Service) command(ctx context.Context, m bus.Message) error {
	k, verb, err := events.ParseCommandSubject(m.Subject)
	if err != nil {
		if !k.Valid() {
			k = events.Key{Project: events.InvalidProject, ID: events.DerivedTaskID(m.Sequence, m.Time)}
		}
		return refuse(k, "", events.CodeInvalidRequest, err)
	}
	meta := task.Meta{At: time.Now().UTC(), By: name, RequestedBy: cmp.Or(s.requestedBy(m), events.Unverified)}
	var tr task.Trigger
	switch verb {
	case events.CommandCancel:
		c, err := events.DecodeCancel(m.Data)
		if err != nil {
			return refuse(k, "", events.CodeInvalidRequest, err)
		}
		tr = task.Cancel{Meta: meta, Reason: c.Reason}
	default:
		r, err := events.DecodeResolve(m.Data)
		if err != nil {
			return refuse(k, "", events.CodeInvalidRequest, err)
		}
		resolve := task.Resolve{
			Meta: meta, Command: m.Sequence, DecidedAt: m.Time, Action: r.Action, ID: r.ProviderID,
			Reason: r.Reason,
		}
		if r.Action == events.ResolveAdopt {
			if resolve.Ref, err = s.adopt(ctx, m, k, resolve); err != nil {
				return s.unknownTask(ctx, m, k, err)
			}
		}
		tr = resolve
	}
	_, err = s.store.Apply(ctx, k, tr)
	if errors.Is(err, task.ErrNotApplicable) {
		return refuse(k, "", events.CodeConflict, err)
	}
	return s.unknownTask(ctx, m, k, err)
}

// requestedBy is who has asked for what the status service handed on; empty where nobody knows. A server that asks
// nobody who he is lets anybody say so.
func (s *Service) requestedBy(m bus.Message) string {
	if !events.IsByAPI(m.Subject) || !s.o.Bus.Conn().AuthRequired() {
		return ""
	}
	return m.Get(events.HeaderRequestedBy)
}

// unknownTask turns a lasting "no such task" into a rejection.
func (s *Service) unknownTask(ctx context.Context, m bus.Message, k events.Key, err error) error {
	if !errors.Is(err, bus.ErrNotFound) || m.Delivered < unknownTaskTries {
		return err
	}
	if time.Since(m.Time) < unknownTaskAge {
		if floor, floorErr := s.o.Bus.AckFloor(ctx, events.IntakeConsumer()); floorErr != nil || floor+1 < m.Sequence {
			return err
		}
		// Once more: the last of them may have been done with since that was asked.
		if _, again := s.store.Get(ctx, k); !errors.Is(again, bus.ErrNotFound) {
			return err
		}
	}
	return refuse(k, "", events.CodeNotFound, err)
}
