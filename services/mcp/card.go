package mcp

import (
	"context"
	_ "embed"
	"net/url"
	"slices"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"reelay/events"
)

// The card of a task is a small page that hosts show beside the answer of a tool, by the extension of MCP apps
// (https://github.com/modelcontextprotocol/ext-apps, 2026-01-26).
const (
	appsExtension = "io.modelcontextprotocol/ui"
	cardURI       = "ui://reelay/task"
	cardType      = "text/html;profile=mcp-app"
)

//go:embed card.html
var cardPage string

// cardMeta has a host show the card with the answer of a tool; the second name is that of older hosts.
func cardMeta() sdk.Meta {
	return sdk.Meta{"ui": map[string]any{"resourceUri": cardURI}, "ui/resourceUri": cardURI}
}

// addCard adds the card. The page loads nothing but the file that it plays, from where reelay hands files out.
func (b *bridge) addCard() {
	b.server.AddResource(&sdk.Resource{
		URI: cardURI, Name: "task-card", Title: "Task card", MIMEType: cardType,
		Description: "A card that shows how a task is doing, with its file and a button to cancel it.",
	}, func(ctx context.Context, _ *sdk.ReadResourceRequest) (*sdk.ReadResourceResult, error) {
		domains := []string{}
		if origin := b.filesFrom(ctx); origin != "" {
			domains = append(domains, origin)
		}
		return &sdk.ReadResourceResult{Contents: []*sdk.ResourceContents{{
			URI: cardURI, MIMEType: cardType, Text: cardPage, Meta: sdk.Meta{"ui": map[string]any{
				"csp": map[string]any{"resourceDomains": domains, "connectDomains": []string{}}, "prefersBorder": true,
			}},
		}}}, nil
	})
}

// filesFrom is the origin of the links to stored files, by the newest one; empty as long as there is none.
func (b *bridge) filesFrom(ctx context.Context) string {
	page, err := b.client.List(ctx, b.who.Projects[0], events.ListRequest{
		Status: []events.Status{events.StatusCompleted}, Limit: events.DefaultListLimit,
	})
	if err != nil {
		return ""
	}
	i := slices.IndexFunc(page.Tasks, func(t events.Task) bool {
		return t.Result != nil && slices.ContainsFunc(t.Result.Outputs, events.Output.IsStored)
	})
	if i < 0 {
		return ""
	}
	reply, err := b.client.Links(ctx, page.Tasks[i].Key(), 0)
	if err != nil || len(reply.Links) == 0 {
		return ""
	}
	link, err := url.Parse(reply.Links[0].URL)
	if err != nil || link.Host == "" {
		return ""
	}
	return link.Scheme + "://" + link.Host
}
