// Package manual holds the long texts of `reelay help <topic>`, in Markdown. They are true of the build that carries
// them, and are read without a network.
package manual

import (
	"embed"
	"fmt"
)

//go:embed *.md
var texts embed.FS

// A Topic is something that can be explained.
type Topic struct {
	Name string
	// Summary says in a few words what the text tells.
	Summary string
}

// Topics lists the topics that have a text, in the order in which a newcomer needs them.
func Topics() []Topic {
	return []Topic{
		{"subjects", "every subject, what a request may say, events, consumers in Go, Node and Python"},
		{"models", "the words of `want`, and what each provider takes"},
		{"servers", "GPUs of your own as lanes"},
		{"chains", "tasks that wait for others; sound under a video, videos in one"},
		{"files", "where outputs are kept, and how files are handed in"},
		{"agents", "tools for agents (MCP), how clients find them, approvals"},
		{"notify", "webhooks to your own services: the file of endpoints, and a receiver"},
		{"console", "the console in a browser, and who may use it"},
		{"sandbox", "how an emulated provider is made to misbehave"},
		{"operations", "run, watch, stop, upgrade, back up, restore; what a task costs"},
		{"systemd", "units that start everything on one machine"},
		{"container", "a Dockerfile, volumes, health checks, stop time"},
		{"tenants", "a project with a NATS account of its own"},
		{"guarantees", "all that is promised, and what is not"},
	}
}

// Text returns the Markdown of a topic.
func Text(topic string) (string, error) {
	text, err := texts.ReadFile(topic + ".md")
	if err != nil {
		return "", fmt.Errorf("manual: there is no text on %q", topic)
	}
	return string(text), nil
}
