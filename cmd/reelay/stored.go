package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"reelay/events"
	"reelay/events/client"
	"reelay/events/operator"
)

// maxStoredLimit is the most messages of one list.
const maxStoredLimit = 1000

// errDeclined says that a person was asked and did not agree.
var errDeclined = errors.New("nothing was published")

// A storedID names one stored message on the command line.
type storedID struct {
	ID uint64 `arg:"" help:"The message's id, as ls prints it."`
}

// pages calls ask for page after page until there are as many messages as r asks for, or no more. ask returns how many
// the page had. Messages that cannot be read are said and passed over.
func pages(e *env, r operator.StoredRequest, ask func(operator.StoredRequest) (int, operator.StoredPage, error)) error {
	for left := r.Limit; left > 0; {
		r.Limit = min(left, events.MaxListLimit)
		n, page, err := ask(r)
		if err != nil {
			return err
		}
		for _, u := range page.Unreadable {
			fmt.Fprintf(e.stderr, "message %d: %s\n", u.ID, clean(u.Error))
		}
		if page.NextBefore == 0 {
			break
		}
		left, r.Before = left-n, page.NextBefore
	}
	return nil
}

// checkLimit checks a --limit. Its error is a usageError.
func checkLimit(limit int) error {
	if limit < 1 || limit > maxStoredLimit {
		return usagef("--limit: %d is not between 1 and %d", limit, maxStoredLimit)
	}
	return nil
}

// missing says where to look for a message that is not there.
func missing(err error, list string) error {
	if client.HasCode(err, events.CodeNotFound) {
		return fmt.Errorf("%w; see: %s", err, list)
	}
	return err
}

// bodyOf returns the body of a message, or as much of it as came.
func bodyOf(m operator.StoredMessage) []byte {
	if m.Text != "" {
		return []byte(m.Text)
	}
	return m.Data
}

// printBody writes a body of a message that has size bytes.
func printBody(w io.Writer, body []byte, size int) error {
	if len(body) < size {
		fmt.Fprintf(w, "\nonly %d of about %d bytes are here:", len(body), size)
	}
	_, err := fmt.Fprintf(w, "\n%s\n", printable(body))
	return err
}

// replay asks before message id is published again, unless yes says so already, and says where it then is.
func replay(
	ctx context.Context, e *env, yes bool, question string, id uint64,
	publish func(context.Context, uint64) (operator.ReplayReply, error),
) (operator.ReplayReply, error) {
	if !yes && !confirm(e, question) {
		return operator.ReplayReply{}, errDeclined
	}
	r, err := publish(ctx, id)
	if err == nil {
		fmt.Fprintf(e.stdout, "published again on %s, now message %d of %s\n", clean(r.Subject), r.Sequence, r.Stream)
	}
	return r, err
}
