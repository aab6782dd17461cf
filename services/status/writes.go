package status

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"reelay/events"
	"reelay/internal/api"
)

// headerMsgID names the task of a request whose body has no id.
const headerMsgID = "Nats-Msg-Id"

// submit hands a request in and answers with the task.
func (s *Service) submit(ctx context.Context, c api.Call) (any, error) {
	r, err := events.DecodeRequest(c.Data)
	if err != nil {
		return nil, err
	}
	body, k := c.Data, events.Key{Project: c.Key.Project, ID: r.ID}
	if r.ID == "" {
		if k.ID = c.Header.Get(headerMsgID); k.ID == "" {
			k.ID = nuid.Next()
		}
		if !events.ValidToken(k.ID) {
			return nil, events.NewFieldError(headerMsgID, "as the task id it must be 1 to %d characters of A-Z a-z 0-9 _ -",
				events.MaxTokenBytes)
		}
		if body = withID(c.Data, k.ID); len(body) > events.MaxRequestBytes {
			return nil, api.TooLarge(len(body))
		}
	}
	pinned, err := s.files.Pin(ctx, k, r) // as the submitter does: the bytes of files are a part of what is asked for
	if err != nil {
		return nil, err
	}
	digest, err := pinned.Digest(c.TaskType)
	if err != nil {
		return nil, events.NewFieldError("input", "bad JSON: %v", err)
	}
	if s.index.get(k) == nil {
		exists := func(*entry) bool { return true }
		if err := s.send(ctx, k, events.RequestSubject(k.Project, c.TaskType), nats.Header(c.Header), body, digest,
			exists); err != nil {
			return nil, err
		}
	}
	t, _, err := s.read(ctx, k)
	if err != nil {
		return nil, err
	}
	if t.RequestDigest != digest {
		return nil, api.Conflict(events.CodeIdempotencyConflict, "id", "id: task %s exists and was asked for with another body",
			k)
	}
	fillPosition(&t, s.positions(ctx, []*entry{s.index.get(k)}))
	return events.TaskReply{Task: t}, nil
}

// cancel asks for the end of a task and answers when its record says so. A task that has ended is the answer at once.
func (s *Service) cancel(ctx context.Context, c api.Call) (any, error) {
	if _, err := events.DecodeCancel(c.Data); err != nil {
		return nil, err
	}
	t, _, err := s.read(ctx, c.Key)
	if err != nil {
		return nil, err
	}
	if !t.Status.Terminal() {
		asked := func(e *entry) bool { return e.cancelAsked || e.status.Terminal() }
		if err := s.command(ctx, c, events.CommandCancel, asked); err != nil {
			return nil, err
		}
	}
	return s.task(ctx, c.Key)
}

// resolve passes a person's decision on and answers when the doubt has ended.
func (s *Service) resolve(ctx context.Context, c api.Call) (any, error) {
	r, err := events.DecodeResolve(c.Data)
	if err != nil {
		return nil, err
	}
	t, revision, err := s.read(ctx, c.Key)
	if err != nil {
		return nil, err
	}
	before := entryOf(&t, revision)
	// A task that was given up in doubt can still be adopted: its result may have been paid for.
	givenUp := before.status == events.StatusFailed && r.Action == events.ResolveAdopt && !before.hasRef
	if !before.inDoubt() && !givenUp {
		return nil, api.Conflict(events.CodeConflict, "", "task %s is %s; %s needs in_doubt or parked", c.Key, t.Phase, r.Action)
	}
	settled := func(e *entry) bool {
		switch {
		case e.revision < revision: // the index is behind, and the task was not in doubt then
			return false
		case givenUp:
			return e.hasRef
		}
		return !e.inDoubt() || e.attempts > before.attempts
	}
	if err := s.command(ctx, c, events.CommandResolve, settled); err != nil {
		return nil, err
	}
	return s.task(ctx, c.Key)
}

// command publishes a command and waits until done.
func (s *Service) command(ctx context.Context, c api.Call, v events.CommandVerb, done func(*entry) bool) error {
	return s.send(ctx, c.Key, events.CommandSubject(c.Key, v), nats.Header(c.Header), c.Data, "", done)
}

// send stores a message for the submitter and returns when done accepts the task's entry. Its error is a *api.Error: the
// submitter's refusal of what has this digest or payload, a broker that does not take the message, or silence.
func (s *Service) send(ctx context.Context, k events.Key, subject string, h nats.Header, data []byte, digest string,
	done func(*entry) bool,
) error {
	waiting, stop := context.WithTimeout(ctx, s.o.SubmitWait)
	defer stop()
	waiting, refuse := context.WithCancelCause(waiting)
	defer refuse(nil)
	sum := sha256.Sum256(data)
	names := []string{digest, hex.EncodeToString(sum[:])}
	// Before the message is published: a refusal is said once.
	sub, err := s.o.Bus.Conn().Subscribe(events.EventSubject(k, events.EventRejected), func(m *nats.Msg) {
		e, err := events.DecodeEvent(m.Header.Get(events.HeaderType), m.Data)
		if err == nil && e.Error != nil && e.RequestDigest != "" && slices.Contains(names, e.RequestDigest) {
			refuse(api.Refused(*e.Error))
		}
	})
	if err != nil {
		return api.Unavailable("nothing was sent: %v", err)
	}
	defer func() { _ = sub.Unsubscribe() }() // it fails only when the connection is gone
	msg := &nats.Msg{Subject: subject, Data: data, Header: nats.Header{}}
	if parent := h.Get(events.HeaderTraceparent); parent != "" {
		msg.Header.Set(events.HeaderTraceparent, parent)
	}
	if by := events.RequestedBy(h.Get(events.HeaderRequestInfo)); by != "" {
		msg.Subject = events.ByAPISubject(subject)
		msg.Header.Set(events.HeaderRequestedBy, by)
	}
	begin := time.Now()
	err = s.o.Bus.Send(waiting, msg)
	stored := err == nil
	if stored && s.index.await(waiting, k, done) != nil {
		return nil
	}
	var f *api.Error
	var refusal *jetstream.APIError
	switch {
	case errors.As(context.Cause(waiting), &f):
		return f
	case errors.As(err, &refusal), errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrNoStreamResponse):
		return api.Unavailable("the broker does not take the message for task %s: %v", k, err)
	case !stored:
		return api.TimedOut("it is not known whether the message for task %s is stored (%v); send it again with this id", k, err)
	case ctx.Err() != nil:
		return api.Unavailable("the message for task %s is stored; the service stops before its effect is known", k)
	}
	return api.TimedOut("the message for task %s is stored, but nothing came of it within %v; it will be taken in when a "+
		"submitter runs",
		k, time.Since(begin).Round(time.Millisecond))
}

// withID returns a request whose id is id, every other byte as it was. body is an object that DecodeRequest has
// accepted and whose id is missing, null or empty.
func withID(body []byte, id string) []byte {
	quoted := []byte(`"` + id + `"`)
	d := json.NewDecoder(bytes.NewReader(body))
	_, _ = d.Token() // the opening brace, where a missing id goes
	start := int(d.InputOffset())
	for d.More() {
		name, _ := d.Token()
		var value json.RawMessage
		if d.Decode(&value) != nil {
			break
		}
		if name == "id" {
			end := int(d.InputOffset())
			return bytes.Join([][]byte{body[:end-len(value)], quoted, body[end:]}, nil)
		}
	}
	return bytes.Join([][]byte{body[:start], []byte(`"id":`), quoted, []byte(","), body[start:]}, nil)
}
