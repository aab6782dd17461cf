package mcp

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"reelay/events"
	"reelay/events/client"
)

const (
	// sameWish is for how long, at least, a repeated call without an id of its own is the same task.
	sameWish = 5 * time.Minute
	// maxSameWish is how many tasks of one wish may fail within that time before an agent has to say that it wants another.
	maxSameWish = 8
	// metaToolUse is where Claude Code tells its own id of a call, which a retry repeats.
	metaToolUse = "claudecode/toolUseId"
)

// identify gives a request an id that a retry of the call has again. It returns the task of it if that is found on the
// way.
func (b *bridge) identify(ctx context.Context, r *sdk.CallToolRequest, requestID, project string, request *events.Request,
) (known events.Task, err error) {
	toolUse, _ := r.Params.Meta[metaToolUse].(string)
	switch {
	case requestID != "":
		if !events.ValidToken(requestID) {
			return known, invalid("request_id", "must be 1 to %d characters of A-Z a-z 0-9 _ -", events.MaxTokenBytes)
		}
		request.ID = requestID
	case toolUse != "":
		request.ID = digest("u", b.who.Name, project, toolUse)
	default:
		return b.sameWish(ctx, r, project, request)
	}
	return known, nil
}

// submit hands in a request with an id and returns the task as accepted. It goes on when the agent has gone.
func (b *bridge) submit(ctx context.Context, project string, t events.TaskType, request events.Request) (events.Task, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), client.AnswerTimeout)
	defer cancel()
	task, err := b.client.Submit(ctx, project, t, request)
	return task, b.keepID(err, events.Key{Project: project, ID: request.ID})
}

// keepID has an error tell the id of a task that may be there all the same, or come yet.
func (b *bridge) keepID(err error, k events.Key) error {
	if err == nil {
		return nil
	}
	f := *failureOf(err)
	if f.Code != codeBusy {
		return err
	}
	f.TaskID = b.id(k)
	f.Message += fmt.Sprintf(". Its task_id is %s: call get_task with it, or the same tool again with request_id %s, which "+
		"pays once", f.TaskID, k.ID)
	return &f
}

// sameWish returns the task of the same wish of the same session, if it was made just now and has not failed, else it
// gives the request an id that the next such call finds. Time is cut into pieces of sameWish, and the piece before
// counts too.
func (b *bridge) sameWish(ctx context.Context, r *sdk.CallToolRequest, project string, request *events.Request,
) (events.Task, error) {
	piece := time.Now().UnixNano() / int64(sameWish)
	for _, p := range []int64{piece - 1, piece} {
		for n := range maxSameWish {
			request.ID = digest("w", b.who.Name, r.Session.ID(), project, r.Params.Name, canonical(r.Params.Arguments),
				strconv.FormatInt(p, 10), strconv.Itoa(n))
			t, err := b.client.Get(ctx, events.Key{Project: project, ID: request.ID})
			switch {
			case client.HasCode(err, events.CodeNotFound) && p == piece:
				return events.Task{}, nil
			case err != nil && !client.HasCode(err, events.CodeNotFound):
				return events.Task{}, err
			case err == nil && t.Status != events.StatusFailed && t.Status != events.StatusCancelled:
				return t, nil
			}
			if err != nil {
				break // the piece before has no more
			}
		}
	}
	return events.Task{}, &failure{
		Code: codeConflict,
		Message: fmt.Sprintf("the same wish has failed %d times within minutes; change it, or give a new request_id",
			maxSameWish),
	}
}

// canonical is JSON in one form, whatever the order of its members.
func canonical(raw json.RawMessage) string {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return string(raw)
	}
	text, err := json.Marshal(v)
	if err != nil {
		return string(raw)
	}
	return string(text)
}

// digest makes a task id of texts: 130 bits of their SHA-256.
func digest(prefix string, all ...string) string {
	sum := sha256.New()
	for _, s := range all {
		fmt.Fprintf(sum, "%d:%s", len(s), s)
	}
	name := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum.Sum(nil))
	return prefix + "-" + strings.ToLower(name[:26])
}
