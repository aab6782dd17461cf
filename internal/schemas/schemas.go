package schemas

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/bus"
	"reelay/internal/provider"
	"reelay/internal/want"
)

// failpoint names the writes of schemas.
const failpoint = "schema"

const (
	// fetchWait bounds how long a request waits for a schema. maxFetches bounds how many do at once; others are mapped by
	// the table.
	fetchWait  = 3 * time.Second
	maxFetches = 4
	// fresh is how long a process uses a schema before it looks for a newer one in KV, absent how long it looks for none
	// that it could not get.
	fresh  = time.Hour
	absent = 10 * time.Minute
)

// A server is a driver whose provider serves the schemas of its models. The call is free.
type server interface {
	InputSchema(ctx context.Context, model string) ([]byte, error)
}

// A Store has the schemas that providers serve, as far as they are known: in this process, and for a day in KV. It may
// be used from any goroutine.
type Store struct {
	bucket bus.Bucket
	log    *slog.Logger
	slots  chan struct{}

	mu    sync.Mutex
	known map[string]known
}

type known struct {
	schema want.Schema
	there  bool
	until  time.Time
}

// New returns a store that knows what is in KV.
func New(b *bus.Bus, log *slog.Logger) *Store {
	return &Store{
		bucket: b.Bucket(bucket.Schemas, failpoint), log: log, slots: make(chan struct{}, maxFetches),
		known: map[string]known{},
	}
}

// Of returns the schema that the provider of a lane serves of a model, false if none can be had within fetchWait.
func (s *Store) Of(ctx context.Context, l provider.Lane, model string) (want.Schema, bool) {
	server, ok := l.Driver.(server)
	if !ok {
		return want.Schema{}, false
	}
	key := bucket.SchemaKey(l.Provider, model)
	s.mu.Lock()
	k, ok := s.known[key]
	s.mu.Unlock()
	if ok && time.Now().Before(k.until) {
		return k.schema, k.there
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		return k.schema, k.there
	}
	ctx, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	schema, err := s.get(ctx, server, key, model)
	k = known{schema: schema, there: err == nil, until: time.Now().Add(fresh)}
	if err != nil {
		k.until = time.Now().Add(absent)
		s.log.Info("the schema of a model could not be had; the table of the program is used", "model", model, "error", err)
	}
	s.mu.Lock()
	s.known[key] = k
	s.mu.Unlock()
	return k.schema, k.there
}

// get returns a schema from KV, or else from the provider, and keeps it.
func (s *Store) get(ctx context.Context, server server, key, model string) (schema want.Schema, err error) {
	e, err := s.bucket.Get(ctx, key)
	if err == nil && e.Present {
		if schema, ok := parse(e.Value); ok {
			return schema, nil
		}
	}
	document, err := server.InputSchema(ctx, model)
	if err != nil {
		return schema, err
	}
	if schema, err = want.ParseOpenAPI(model, document); err != nil {
		return schema, err
	}
	raw, err := json.Marshal(schema)
	if err == nil && len(raw) <= bucket.MaxSchemaBytes {
		err = s.bucket.Put(ctx, key, raw)
	}
	if err != nil {
		s.log.Info("the schema of a model could not be kept", "model", model, "error", err)
	}
	return schema, nil
}

// Answer answers who asks for the schemas of a lane's models, until stop is called. One process does at a time: that
// which sends for the lane. ctx ends what is under way.
func (s *Store) Answer(ctx context.Context, conn *nats.Conn, l provider.Lane) (stop func(), err error) {
	if _, ok := l.Driver.(server); !ok {
		return func() {}, nil
	}
	var asked sync.WaitGroup
	sub, err := conn.Subscribe(events.LaneSchemaSubject(l.Name), func(m *nats.Msg) {
		var r events.SchemaRequest
		err := json.Unmarshal(m.Data, &r)
		if err != nil || r.Model == "" || len(r.Model) > events.MaxModelBytes || !events.ValidReply(m.Reply) {
			return // it is for services only, and they know
		}
		asked.Go(func() {
			if err := m.Respond(s.answer(ctx, l, r.Model)); err != nil {
				s.log.Debug("a question for a schema could not be answered", "lane", l.Name, "error", err)
			}
		})
	})
	if err != nil {
		return nil, fmt.Errorf("subscribe to questions for the schemas of %s: %w", l.Name, err)
	}
	return func() {
		_ = sub.Unsubscribe() // the connection may be gone, and the subscription with it
		asked.Wait()
	}, nil
}

// answer returns the schema of a model as JSON, null where there is none.
func (s *Store) answer(ctx context.Context, l provider.Lane, model string) []byte {
	schema, ok := s.Of(ctx, l, model)
	raw, err := json.Marshal(schema)
	if !ok || err != nil || len(raw) > bucket.MaxSchemaBytes {
		return []byte("null")
	}
	return raw
}
