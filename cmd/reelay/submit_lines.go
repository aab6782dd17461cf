package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"reelay/events"
	"reelay/events/client"
)

const (
	// linesInFlight bounds the requests of a file that are handed in at once.
	linesInFlight = 32
	// lineTries and lineAgain are how often and how soon one that could not be answered is handed in again: it has an id,
	// so that it is still one task.
	lineTries = 5
	lineAgain = 500 * time.Millisecond
)

// A lineResult is what became of one line.
type lineResult struct {
	Line  int           `json:"line"`
	ID    string        `json:"id"`
	Task  *events.Task  `json:"task,omitempty"`
	Error *events.Error `json:"error,omitempty"`
}

// A lineSubmitter hands in the requests of a file.
type lineSubmitter struct {
	e        *env
	api      *api
	project  string
	taskType events.TaskType
	json     bool

	// seen counts the lines that are alike, by their digest.
	seen map[[sha256.Size]byte]int

	mu                 sync.Mutex
	accepted, rejected int
	printed            error
}

// submitLines hands in the requests of --jsonl. It is a failure if any was rejected.
func (c *submitCmd) submitLines(ctx context.Context, e *env) error {
	if flag := c.ofOne(); flag != "" {
		return usagef("--jsonl: %s is for one request; a line of the file says all of its own", flag)
	}
	from := e.stdin
	if c.JSONL != "-" {
		file, err := os.Open(c.JSONL)
		if err != nil {
			return &usageError{fmt.Errorf("--jsonl: %w", err)}
		}
		defer file.Close()
		from = file
	}
	if !events.ValidToken(c.Project) {
		return usagef("--project: must be 1 to %d characters of A-Z a-z 0-9 _ -", events.MaxTokenBytes)
	}
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	l := &lineSubmitter{
		e: e, api: a, project: c.Project, taskType: events.TaskType(c.TaskType), json: c.JSON,
		seen: map[[sha256.Size]byte]int{},
	}
	err = l.submit(ctx, from)
	fmt.Fprintf(e.stderr, "%d accepted, %d rejected\n", l.accepted, l.rejected)
	switch {
	case err != nil:
		return fmt.Errorf("%w; to hand the same file in again pays for nothing twice", err)
	case l.rejected > 0:
		return errFailed
	}
	return l.printed
}

// ofOne names the first flag that was given and is about one request, "" if none was.
func (c *submitCmd) ofOne() string {
	for _, flag := range []struct {
		name string
		is   bool
	}{
		{"--provider", c.Provider != ""},
		{"--model", c.Model != ""},
		{"--prompt", c.Prompt != ""},
		{"--input", c.Input != ""},
		{"--file", len(c.File) > 0},
		{"--id", c.ID != ""},
		{"--batch", c.Batch != ""},
		{"--after", len(c.After) > 0},
		{"--wait", c.Wait},
	} {
		if flag.is {
			return flag.name
		}
	}
	return c.given()
}

// submit hands in each line, linesInFlight at once. It stops where a line cannot be read, nobody answers or ctx ends.
func (l *lineSubmitter) submit(ctx context.Context, from io.Reader) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(linesInFlight)
	scanner := bufio.NewScanner(from)
	scanner.Buffer(nil, events.MaxRequestBytes+1)
	n := 0
	for ctx.Err() == nil && scanner.Scan() {
		n++
		line := bytes.TrimSpace(scanner.Bytes())
		if len(line) == 0 {
			continue
		}
		at := n
		r, err := events.DecodeRequest(line)
		if r.ID == "" {
			r.ID = l.id(line)
		}
		if err != nil {
			l.tell(lineResult{Line: at, ID: r.ID, Error: reasonOf(err)})
			continue
		}
		group.Go(func() error { return l.one(ctx, at, r) })
	}
	err := group.Wait()
	if err == nil && scanner.Err() != nil {
		err = fmt.Errorf("line %d: %w", n+1, scanner.Err())
	}
	return err
}

// id makes an id of a line without one: the same for the same line of the same file, another for one that is repeated.
func (l *lineSubmitter) id(line []byte) string {
	sum := sha256.Sum256(line)
	l.seen[sum]++
	of := sha256.Sum256(fmt.Appendf(sum[:], "%s %s %d", l.project, l.taskType, l.seen[sum]))
	return hex.EncodeToString(of[:])[:26]
}

// one hands in one request, again where nothing was done or no answer came.
func (l *lineSubmitter) one(ctx context.Context, at int, r events.Request) error {
	var task events.Task
	var err error
	for try := range lineTries {
		if task, err = l.api.Submit(ctx, l.project, l.taskType, r); err == nil || !mayRepeat(err) {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lineAgain << try):
		}
	}
	switch {
	case err == nil:
		l.tell(lineResult{Line: at, ID: task.ID, Task: &task})
	case reasonOf(err) != nil:
		l.tell(lineResult{Line: at, ID: r.ID, Error: reasonOf(err)})
	default:
		return fmt.Errorf("line %d: %w", at, err)
	}
	return nil
}

// mayRepeat reports whether asking again may help.
func mayRepeat(err error) bool {
	var refused *client.Error
	return errors.Is(err, client.ErrNoAnswer) || errors.As(err, &refused) && (refused.Busy() || refused.Reason.Retryable)
}

// reasonOf returns why a request was rejected; nil if that is not known.
func reasonOf(err error) *events.Error {
	var refused *client.Error
	var field *events.FieldError
	switch {
	case errors.As(err, &refused):
		return &refused.Reason
	case errors.As(err, &field):
		return &events.Error{
			Code: events.CodeInvalidRequest, Kind: events.KindInvalid, Message: field.Error(), Field: field.Field,
			Charge: events.ChargeNone,
		}
	}
	return nil
}

// tell prints what became of a line: the id of the task, or with --json all of it; a rejection for people as well.
func (l *lineSubmitter) tell(r lineResult) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var err error
	switch {
	case r.Error != nil:
		l.rejected++
		fmt.Fprintf(l.e.stderr, "line %d: %s\n", r.Line, clean(r.Error.Error()))
	default:
		l.accepted++
	}
	switch {
	case l.json:
		err = printLine(l.e.stdout, r)
	case r.Task != nil:
		_, err = fmt.Fprintln(l.e.stdout, r.ID)
	}
	l.printed = errors.Join(l.printed, err)
}
