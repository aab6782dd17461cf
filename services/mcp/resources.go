package mcp

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"reelay/events"
	"reelay/internal/access"
)

const (
	statusURI     = "queue://status"
	taskPrefix    = "queue://task/"
	projectPrefix = "queue://project/"
	mediaPrefix   = "media://"

	jsonType = "application/json"
	// endedTTL is for how long a client may keep a task that has ended.
	endedTTL = time.Minute
	// maxCompletions is how many values one completion offers, as the protocol has it.
	maxCompletions = 100
)

// addResources adds what a client can read and subscribe to.
func (b *bridge) addResources() {
	b.server.AddResource(&sdk.Resource{
		URI: statusURI, Name: "queue-status", Title: "Queue status", MIMEType: jsonType,
		Description: "The tasks of the default project, by status.",
	}, b.readResource)
	for _, t := range []sdk.ResourceTemplate{
		{
			URITemplate: taskPrefix + "{id}", Name: "task", Title: "Task",
			Description: "A task: id of the default project, or project.id.",
		},
		{
			URITemplate: projectPrefix + "{id}", Name: "project", Title: "Project queue",
			Description: "The tasks of a project, by status.",
		},
		{
			URITemplate: mediaPrefix + "{task}/{n}", Name: "media", Title: "Media",
			Description: "Where a file of a task is, by its number from 1. It is never the file itself.",
		},
	} {
		t.MIMEType = jsonType
		b.server.AddResourceTemplate(&t, b.readResource)
	}
}

// readResource reads any resource. What is not the principal's is as unknown as what does not exist.
func (b *bridge) readResource(ctx context.Context, r *sdk.ReadResourceRequest) (*sdk.ReadResourceResult, error) {
	content, ttl, err := b.resource(ctx, r.Params.URI)
	if err != nil {
		if f := failureOf(err); f.Code == codeNotFound || f.Code == codeInvalid {
			return nil, sdk.ResourceNotFoundError(r.Params.URI)
		}
		return nil, err
	}
	text, err := json.Marshal(content)
	if err != nil {
		return nil, err
	}
	return &sdk.ReadResourceResult{
		Cacheable: sdk.Cacheable{TTLMs: int(ttl.Milliseconds())},
		Contents:  []*sdk.ResourceContents{{URI: r.Params.URI, MIMEType: jsonType, Text: string(text)}},
	}, nil
}

// resource returns what a URI names, and for how long that stays as it is.
func (b *bridge) resource(ctx context.Context, uri string) (content any, ttl time.Duration, err error) {
	if uri == statusURI {
		a, err := b.getQueueStatus(ctx, nil, queueStatusIn{})
		return a, 0, err
	}
	if project, ok := strings.CutPrefix(uri, projectPrefix); ok {
		a, err := b.getQueueStatus(ctx, nil, queueStatusIn{ProjectID: project})
		return a, 0, err
	}
	if id, ok := strings.CutPrefix(uri, taskPrefix); ok {
		t, err := b.get(ctx, id, "")
		if err == nil && t.Status.Terminal() {
			ttl = endedTTL
		}
		if err != nil {
			return nil, 0, err
		}
		return queueAnswer{Success: true, Task: b.queueTask(ctx, t)}, ttl, nil
	}
	id := strings.TrimPrefix(uri, mediaPrefix)
	if !strings.Contains(id, "/") {
		return nil, 0, unknown(id)
	}
	t, i, err := b.file(ctx, id)
	if err != nil {
		return nil, 0, err
	}
	return b.linked(ctx, t)[i], 0, nil
}

// complete offers the ids of tasks and projects that begin as an agent has begun.
func (b *bridge) complete(ctx context.Context, r *sdk.CompleteRequest) (*sdk.CompleteResult, error) {
	result := &sdk.CompleteResult{Completion: sdk.CompletionResultDetails{Values: []string{}}}
	if r.Params == nil || r.Params.Ref == nil || r.Params.Ref.Type != "ref/resource" {
		return result, nil
	}
	var all []string
	switch uri := r.Params.Ref.URI; {
	case strings.HasPrefix(uri, projectPrefix):
		all = slices.DeleteFunc(slices.Clone(b.who.Projects), func(p string) bool { return p == access.AnyProject })
	case r.Params.Argument.Name == "id" || r.Params.Argument.Name == "task":
		page, err := b.client.List(ctx, b.who.Projects[0], events.ListRequest{Limit: events.MaxListLimit})
		if err != nil {
			return nil, err
		}
		for _, t := range page.Tasks {
			all = append(all, b.id(t.Key()))
		}
	}
	for _, v := range all {
		if strings.HasPrefix(v, r.Params.Argument.Value) {
			result.Completion.Values = append(result.Completion.Values, v)
		}
	}
	result.Completion.Total = len(result.Completion.Values)
	if result.Completion.Total > maxCompletions {
		result.Completion.Values, result.Completion.HasMore = result.Completion.Values[:maxCompletions], true
	}
	return result, nil
}

// subscribe allows what can be read.
func (b *bridge) subscribe(ctx context.Context, r *sdk.SubscribeRequest) error {
	if r.Params == nil {
		return sdk.ResourceNotFoundError("")
	}
	_, _, err := b.resource(ctx, r.Params.URI)
	if err == nil {
		return nil
	}
	if f := failureOf(err); f.Code == codeNotFound || f.Code == codeInvalid {
		return sdk.ResourceNotFoundError(r.Params.URI)
	}
	return err
}

// changed tells subscribers of what an event is about, if it is the principal's.
func (b *bridge) changed(e events.Event) {
	k := e.Key()
	if e.TaskID == "" || !b.who.May(k.Project) {
		return
	}
	uris := []string{taskPrefix + k.String(), projectPrefix + k.Project}
	if k.Project == b.who.Projects[0] {
		uris = append(uris, taskPrefix+k.ID, statusURI)
	}
	b.updates.Mark(uris...)
}
