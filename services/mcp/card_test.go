package mcp_test

import (
	"strings"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"reelay/internal/emulator"
)

// The card of a task is a page of its own that may load files from where reelay hands them out, and nothing else.
func TestCard(t *testing.T) {
	run(t, emulator.Speed{Queue: time.Second, Run: 5 * time.Second}, func(e *fixture) {
		s := e.agent(studioToken, modern, nil)
		var card string
		for tool, err := range s.Tools(e.Context(), nil) {
			if err != nil {
				t.Fatal(err)
			}
			if ui, ok := tool.Meta["ui"].(map[string]any); ok && tool.Name == "generate_video" {
				card, _ = ui["resourceUri"].(string)
			}
		}
		read := func() (string, []any) {
			t.Helper()
			r, err := s.ReadResource(e.Context(), &sdk.ReadResourceParams{URI: card})
			if err != nil {
				t.Fatal(err)
			}
			c := r.Contents[0]
			csp, _ := c.Meta["ui"].(map[string]any)["csp"].(map[string]any)
			from, _ := csp["resourceDomains"].([]any)
			if c.MIMEType != "text/html;profile=mcp-app" || len(csp["connectDomains"].([]any)) != 0 {
				t.Errorf("%s %v", c.MIMEType, csp)
			}
			return c.Text, from
		}
		page, from := read()
		if len(from) != 0 || len(page) > 8<<10 {
			t.Errorf("a card of %d bytes that loads from %v", len(page), from)
		}
		for _, foreign := range []string{"src=\"", "href=", "@import", "innerHTML", "eval(", "fetch(", "http://", "https://"} {
			if strings.Contains(page, foreign) {
				t.Errorf("the card has %s", foreign)
			}
		}
		e.ok(s, "generate_video", map[string]any{"prompt": "a kite", "wait_seconds": 50})
		time.Sleep(time.Minute)
		if _, from := read(); len(from) != 1 || from[0] != "http://127.0.0.1:8092" {
			t.Errorf("with a stored file it loads from %v", from)
		}
	})
}
