package mcp

import (
	"context"
	"errors"
	"log/slog"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"reelay/events"
	"reelay/events/client"
	"reelay/internal/access"
	"reelay/internal/approval"
	"reelay/internal/mcpwire"
	"reelay/internal/media"
	"reelay/internal/thumbnail"
)

// instructions tell an agent how the tools go together.
const instructions = `reelay has paid providers make video, image and audio.
A generate tool returns when the media is ready, or after a short wait with a task_id: then call get_task with it,
which waits by itself. Never call a generate tool again to find out how a task is doing. A repeated call with the same
request_id is the same task and is paid for once. What costs much has to be confirmed by the user first. A task goes on when you stop waiting; only cancel_task ends it.`

// A bridge is the service as one principal meets it: a server of its own, so that no session can reach what is
// another's.
type bridge struct {
	who    access.Principal
	client *client.Client
	hub    *hub
	log    *slog.Logger
	server *sdk.Server
	// updates tells those who have subscribed to a resource.
	updates *mcpwire.Updates
	// confirmOver is that of Options, signer signs what is asked about it.
	confirmOver float64
	signer      approval.Signer
	// saver saves files for an agent on the operator's own machine; nil for others.
	saver *media.Saver
	// thumbnails makes the pictures that an agent sees.
	thumbnails *thumbnail.Maker
}

func newBridge(who access.Principal, o Options, h *hub, signer approval.Signer, thumbnails *thumbnail.Maker) *bridge {
	log := o.Log
	b := &bridge{who: who, client: o.Client, hub: h, log: log, confirmOver: o.ConfirmOver, signer: signer, thumbnails: thumbnails}
	capabilities := &sdk.ServerCapabilities{}
	capabilities.AddExtension(appsExtension, nil)
	b.server = sdk.NewServer(&sdk.Implementation{Name: "reelay", Title: "reelay", Version: o.Version}, &sdk.ServerOptions{
		Instructions: instructions, Logger: mcpwire.Warnings(log), Capabilities: capabilities,
		SetCacheable:      func(_ context.Context, _ sdk.Request, c *sdk.Cacheable) { c.CacheScope = "private" },
		CompletionHandler: b.complete, SubscribeHandler: b.subscribe,
		UnsubscribeHandler: func(context.Context, *sdk.UnsubscribeRequest) error { return nil },
	})
	if o.SaveDir != "" {
		b.saver = &media.Saver{Dir: o.SaveDir, Fetcher: media.NewFetcher(nil, media.DefaultMaxBytes)}
	}
	b.updates = mcpwire.NewUpdates(b.server)
	h.each(b.changed)
	if err := mcpwire.AddTasks(b.server, capabilities, b.tasks(), "generate_video",
		"generate_video_from_image", "generate_image", "text_to_audio", "voice_clone",
		"create_segment", "mux_audio_video"); err != nil {
		panic(err) // a method's name is that of another, which every test sees
	}
	mcpwire.Guard(b.server, log)
	b.addReads()
	b.addModels()
	b.addFiles()
	b.addResources()
	b.addCard()
	b.addPrompts()
	if who.Has(access.Generate) {
		b.addWrites()
	}
	if who.Has(access.Resolve) {
		b.addResolve()
	}
	return b
}

// key returns the key of a task that an agent names: <project>.<task>, or an id of the project, which is the default
// one where none is named. A task that is not the principal's is unknown.
func (b *bridge) key(id, project string) (events.Key, error) {
	k := events.Key{Project: project, ID: id}
	if before, after, ok := strings.Cut(id, "."); ok {
		k = events.Key{Project: before, ID: after}
	} else if project == "" {
		k.Project = b.who.Projects[0]
	}
	if !k.Valid() || !b.who.May(k.Project) {
		return k, unknown(id)
	}
	return k, nil
}

// id names a task to an agent, as key reads it.
func (b *bridge) id(k events.Key) string {
	if k.Project == b.who.Projects[0] {
		return k.ID
	}
	return k.String()
}

// project returns the project that an agent names, or the default one.
func (b *bridge) project(name string) (string, error) {
	switch {
	case name == "":
		return b.who.Projects[0], nil
	case !events.ValidToken(name):
		return "", invalid("project_id", "must be 1 to %d characters of A-Z a-z 0-9 _ -", events.MaxTokenBytes)
	case !b.who.May(name):
		return "", invalid("project_id", "%q is not one of yours: %s", name, b.who.Names())
	}
	return name, nil
}

// get returns a task of the principal.
func (b *bridge) get(ctx context.Context, id, project string) (events.Task, error) {
	k, err := b.key(id, project)
	if err != nil {
		return events.Task{}, err
	}
	t, err := b.client.Get(ctx, k)
	if client.HasCode(err, events.CodeNotFound) {
		return t, unknown(id)
	}
	return t, err
}

// An answer is what a tool returns: it tells itself in words, and can tell a failure instead.
type answer interface {
	content() []sdk.Content
	fail(*failure)
}

// add adds a tool whose answer is structured. An error becomes a failure in the answer, which an agent can act on.
func add[In, Out any, P interface {
	*Out
	answer
}](b *bridge, tool *sdk.Tool, adjust func(in map[string]*jsonschema.Schema),
	call func(context.Context, *sdk.CallToolRequest, In) (Out, error),
) {
	in, out := mcpwire.SchemaOf[In](), mcpwire.SchemaOf[Out]()
	if adjust != nil {
		adjust(in.Properties)
	}
	tool.InputSchema, tool.OutputSchema = in, out
	sdk.AddTool(b.server, tool, func(ctx context.Context, r *sdk.CallToolRequest, args In) (*sdk.CallToolResult, Out, error) {
		out, err := call(ctx, r, args)
		var asked *question
		if errors.As(err, &asked) {
			return asked.result(), out, nil
		}
		if err != nil {
			f := *failureOf(err)
			f.name(in.Properties)
			b.log.Debug("tool call failed", "tool", tool.Name, "principal", b.who.Name, "code", f.Code, "error", err)
			P(&out).fail(&f)
		}
		return &sdk.CallToolResult{Content: P(&out).content(), IsError: err != nil}, out, nil
	})
}

// text is a sentence for an agent.
func text(s string) sdk.Content { return &sdk.TextContent{Text: s} }
