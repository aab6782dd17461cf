package dependency

import (
	"context"
	"fmt"

	"reelay/events"
	"reelay/events/client"
	"reelay/internal/bus"
)

// linkAge is how long a link works that is handed on in an input: as long as a task may take.
const linkAge = events.MaxTimeout

// Kept are the Sources of a service: the object store, and the archiver for links.
type Kept struct{ *bus.Bus }

// Link asks the archiver for a link to a stored output.
func (k Kept) Link(ctx context.Context, of events.Key, output int) (string, error) {
	reply, err := client.New(k.Conn()).Links(ctx, of, linkAge)
	if err != nil {
		return "", fmt.Errorf("link to output %d of %s: %w", output, of, err)
	}
	for _, l := range reply.Links {
		if l.Output == output {
			return l.URL, nil
		}
	}
	return "", fmt.Errorf("link to output %d of %s: the archiver gives none", output, of)
}
