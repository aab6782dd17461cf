package mcp

import (
	"context"
	"errors"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"reelay/events"
	"reelay/events/client"
	"reelay/internal/describe"
)

const (
	// DefaultWait and MaxWait are how long a tool waits for a task. Clients give up on a call after 60 s.
	DefaultWait = 20 * time.Second
	MaxWait     = 50 * time.Second
	// progressPause is the least time between two progress notifications, progressStep the most: they keep a client that
	// counts silence from giving up.
	progressPause = 500 * time.Millisecond
	progressStep  = 5 * time.Second
)

// wait returns a task when it has ended, or as it is after d, or when the agent has gone. It tells the agent where the
// task is meanwhile, if that asked for progress.
func (b *bridge) wait(ctx context.Context, r *sdk.CallToolRequest, t events.Task, d time.Duration) (events.Task, error) {
	if d <= 0 || t.Status.Terminal() {
		return t, nil
	}
	stream, stop := b.hub.watch(t.Key())
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	p := &progress{ctx: ctx, request: r, began: time.Now()}
	p.tell(describe.Task(t, time.Now()))
	last, err := b.client.Watch(ctx, t, stream, client.Watcher{
		Task: func(t events.Task) { p.tell(describe.Task(t, time.Now())) },
		Tick: func() { p.tell("") },
	})
	if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
		return last, err
	}
	return last, nil
}

// progress sends the notifications of one call.
type progress struct {
	ctx     context.Context
	request *sdk.CallToolRequest
	began   time.Time
	sent    time.Duration
	words   string
}

// tell sends words if they are new and the last ones old enough; empty words repeat the last ones now and then. The
// figure is the seconds waited: it has to grow, which the provider's percentage does not always do.
func (p *progress) tell(words string) {
	token := p.request.Params.GetProgressToken()
	if token == nil {
		return
	}
	waited := time.Since(p.began)
	fresh := words != "" && words != p.words && (p.words == "" || waited-p.sent >= progressPause)
	if !fresh && waited-p.sent < progressStep {
		return
	}
	if words == "" {
		words = p.words
	}
	p.sent, p.words = waited, words
	// A client that does not take it is one that has gone, which ctx tells.
	_ = p.request.Session.NotifyProgress(p.ctx, &sdk.ProgressNotificationParams{
		ProgressToken: token, Progress: max(waited.Seconds(), 0.001), Message: words,
	})
}
