package archiver

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"reelay/events"
	"reelay/events/operator"
	"reelay/internal/api"
	"reelay/internal/artifact"
	"reelay/internal/bus"
)

const (
	// requestWait bounds one request of the API, maxRequests those that are under way at once.
	requestWait = 15 * time.Second
	maxRequests = 64
)

// endpoints are the archiver's part of the API.
func (s *Service) endpoints() []api.Endpoint {
	return append(s.storeEndpoints(), s.uploadEndpoint(), s.copyEndpoint(), api.Endpoint{
		Verb: events.VerbLinks, Tokens: []string{api.Project, api.Task},
		About:   "links to the stored outputs of a task, which whoever has them can read until they expire",
		Request: `empty or {"expires_in":"1h"}, at most 168h`,
		Answer: `{"links":[{"output":0,"url":"https://...","expires_at":"...","file_name":"kite-1.mp4",` +
			`"content_type":"video/mp4","size":1024,"sha256":"..."}]}`,
		Handle: func(ctx context.Context, c api.Call) (any, error) {
			ctx, cancel := context.WithTimeout(ctx, requestWait)
			defer cancel()
			return s.links(ctx, c)
		},
	})
}

// storeEndpoints are those of the store itself, and erase.
func (s *Service) storeEndpoints() []api.Endpoint {
	const asks = `empty or {"project":"demo","limit":100,"after":"demo/9f86...mp4"}`
	return []api.Endpoint{
		{
			Verb: events.VerbErase, Tokens: []string{api.Project, api.Task},
			About:   "forget what an ended task was given and has made, or its files alone; ids, times and money stay",
			Request: `empty or {"only":"outputs"}`, Answer: `{"task":{...},"deleted":1,"shared":0}`, Handle: s.bounded(s.erase),
		},
		{
			Verb: operator.VerbArtifacts, About: "the files of the store, by their names", Request: asks,
			Answer: `{"files":[{"name":"demo/9f86...mp4","size":1024,"stored_at":"...","task":"demo.kite-1"}],"next_after":""}`,
			Handle: s.bounded(s.list),
		},
		{
			Verb: operator.VerbArtifactsVerify, About: "read and hash the files of the store, and tell which differ or are missing",
			Request: asks,
			Answer: `{"files":100,"bytes":1024,"faults":[{"name":"demo/9f86...mp4","fault":"missing","task":"demo.kite-1"}],` +
				`"next_after":""}`,
			Handle: s.bounded(s.verify),
		},
		{
			Verb: operator.VerbArtifactsGC, About: "delete the files that no record names any more",
			Request: `empty or {"project":"demo","older_than":"720h","dry_run":true}`,
			Answer:  `{"deleted":[{"name":"demo/9f86...mp4","size":1024}],"expired":0,"unnamed":2,"next_after":""}`,
			Handle:  s.bounded(s.gc),
		},
	}
}

// bounded bounds how long a request of the store takes.
func (s *Service) bounded(handle func(context.Context, api.Call) (any, error)) func(context.Context, api.Call) (any, error) {
	return func(ctx context.Context, c api.Call) (any, error) {
		ctx, cancel := context.WithTimeout(ctx, operator.MaxVerifyWait)
		defer cancel()
		return handle(ctx, c)
	}
}

func (s *Service) links(ctx context.Context, c api.Call) (*events.LinksReply, error) {
	ask, err := events.DecodeLinksRequest(c.Data)
	if err != nil {
		return nil, err
	}
	t, err := s.records.Get(ctx, c.Key)
	if errors.Is(err, bus.ErrNotFound) {
		return nil, api.Fail(404, events.CodeNotFound, events.KindNotFound, "there is no task %s", c.Key)
	}
	if err != nil {
		return nil, s.unreadable(err)
	}
	reply := &events.LinksReply{Links: []events.Link{}}
	if t.Result == nil {
		return reply, nil
	}
	for i, o := range t.Result.Outputs {
		if !o.IsStored() {
			continue
		}
		l, err := s.link(ctx, t, i, time.Duration(ask.ExpiresIn))
		if err != nil {
			return nil, s.unreadable(err)
		}
		reply.Links = append(reply.Links, l)
	}
	return reply, nil
}

// link makes a link to one stored output: the store's own, or else one of the archiver.
func (s *Service) link(ctx context.Context, t events.Task, i int, age time.Duration) (events.Link, error) {
	o := t.Result.Outputs[i]
	n, named := nameOf(o.StoredURL)
	if !named {
		return events.Link{}, fmt.Errorf("%w: %.200q", artifact.ErrName, o.StoredURL)
	}
	file := t.ID
	if len(t.Result.Outputs) > 1 {
		file += "-" + strconv.Itoa(i+1)
	}
	file += n.Ext
	expires := now().Add(age).Truncate(time.Second)
	link, ok, err := s.o.Store.Link(ctx, n, file, age)
	if err != nil {
		return events.Link{}, err
	}
	if !ok {
		link = s.ownLink(n, file, expires)
	}
	return events.Link{
		Output: i, URL: link, ExpiresAt: expires, FileName: file, ContentType: o.ContentType, Size: o.Size, SHA256: o.SHA256,
	}, nil
}

// unreadable answers that the store or the records cannot be read. Why is for the log: it may name the store.
func (s *Service) unreadable(err error) error {
	s.log.Warn("the store or the records could not be read for a request", "error", err)
	return api.Unavailable("the store or the records cannot be read now")
}
