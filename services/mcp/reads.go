package mcp

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"reelay/events"
)

// taskAnswer is what a tool about one task returns.
type taskAnswer struct {
	Success bool `json:"success"`
	// Queued, QueueID and EstimatedCost are what the queue proposal calls them.
	Queued        bool    `json:"queued,omitempty"`
	QueueID       string  `json:"queue_id,omitempty" jsonschema:"names the task in every other tool"`
	EstimatedCost float64 `json:"estimated_cost,omitempty" jsonschema:"US dollars"`
	summary
	links []sdk.Content
}

func (a *taskAnswer) fail(f *failure) {
	a.Success, a.Error, a.Message = false, f, f.Message
	a.TaskID = cmp.Or(a.TaskID, f.TaskID)
}

func (a *taskAnswer) content() []sdk.Content {
	s := a.Message
	if a.TaskID != "" && a.PollAfterS > 0 {
		s += fmt.Sprintf(" The task goes on by itself. Its task_id is %s. Call get_task with it in about %.0f s.", a.TaskID,
			a.PollAfterS)
	}
	return append([]sdk.Content{text(s)}, a.links...)
}

// taskAnswer tells all of a task, with links that last, and with a thumbnail, which is made now with making.
func (b *bridge) taskAnswer(ctx context.Context, t events.Task, making bool) taskAnswer {
	s := b.summary(t, time.Now())
	s.Outputs = b.linked(ctx, t)
	a := taskAnswer{Success: t.Status != events.StatusFailed, summary: s, links: links(s)}
	if picture := b.thumbnail(ctx, s.Outputs, making); picture != nil {
		a.links = append(a.links, picture)
	}
	return a
}

// failure is why the task has failed, for a tool whose call was to make it; nil if it has not.
func (a *taskAnswer) failure() error {
	if a.Success || a.Error == nil {
		return nil
	}
	return a.Error
}

func readOnly(title string) *sdk.ToolAnnotations {
	closed := false
	return &sdk.ToolAnnotations{Title: title, ReadOnlyHint: true, IdempotentHint: true, OpenWorldHint: &closed}
}

// addReads adds the tools that change nothing.
func (b *bridge) addReads() {
	add(b, &sdk.Tool{
		Name: "get_task", Meta: cardMeta(), Annotations: readOnly("Get a task"),
		Description: "Returns a task. Waits for its end up to wait_seconds, so that one call replaces many.",
	}, waitSeconds, b.getTask)
	add(b, &sdk.Tool{
		Name: "list_tasks", Annotations: readOnly("List tasks"),
		Description: "Lists tasks, newest first. Finds the task_id of a task that was lost.",
	}, func(in map[string]*jsonschema.Schema) {
		in["limit"].Default = []byte("20")
		bound(in["limit"], 1, events.MaxListLimit)
		oneOf(in["status"].Items, events.Statuses())
	}, b.listTasks)
	add(b, &sdk.Tool{
		Name: "get_queue_status", Annotations: readOnly("Queue status"),
		Description: "Returns one task by task_id, or all tasks of a project grouped by status.",
	}, func(in map[string]*jsonschema.Schema) { oneOf(in["status_filter"].Items, events.Statuses()) }, b.getQueueStatus)
	add(b, &sdk.Tool{
		Name: "query_video_generation", Annotations: readOnly("Query a video"),
		Description: "Returns the status of a video task: submitted, processing, completed or failed, with the file_id " +
			"of a completed one. Ask about every 10 seconds, or call get_task, which waits.",
	}, nil, b.queryVideo)
}

type getTaskIn struct {
	TaskID      string  `json:"task_id" jsonschema:"as a generate tool has returned it"`
	ProjectID   string  `json:"project_id,omitempty" jsonschema:"project of a task_id that names none"`
	WaitSeconds float64 `json:"wait_seconds,omitempty" jsonschema:"how long to wait for its end, 0 to 50"`
}

func (b *bridge) getTask(ctx context.Context, r *sdk.CallToolRequest, in getTaskIn) (taskAnswer, error) {
	t, err := b.get(ctx, in.TaskID, in.ProjectID)
	if err != nil {
		return taskAnswer{}, err
	}
	if t, err = b.wait(ctx, r, t, duration(in.WaitSeconds)); err != nil {
		return taskAnswer{}, err
	}
	if in.WaitSeconds > 0 {
		t = b.stored(ctx, t)
	}
	a := b.taskAnswer(ctx, t, in.WaitSeconds > 0)
	a.Logs = logs(t)
	return a, nil
}

type listTasksIn struct {
	ProjectID string   `json:"project_id,omitempty" jsonschema:"the default project if it is left out"`
	SceneID   string   `json:"scene_id,omitempty"`
	Status    []string `json:"status,omitempty" jsonschema:"only tasks in one of these"`
	Limit     int      `json:"limit,omitempty" jsonschema:"most tasks, 1 to 200"`
	Cursor    string   `json:"cursor,omitempty" jsonschema:"next_cursor of the page before"`
}

type listAnswer struct {
	Success    bool      `json:"success"`
	Tasks      []summary `json:"tasks"`
	NextCursor string    `json:"next_cursor,omitempty"`
	Error      *failure  `json:"error,omitempty"`
}

func (a *listAnswer) fail(f *failure) { a.Success, a.Error, a.Tasks = false, f, []summary{} }

func (a *listAnswer) content() []sdk.Content {
	if a.Error != nil {
		return []sdk.Content{text(a.Error.Message)}
	}
	return []sdk.Content{text(lines(a.Tasks))}
}

// lines tells tasks in a line each.
func lines(all []summary) string {
	if len(all) == 0 {
		return "No tasks."
	}
	var s strings.Builder
	for _, t := range all {
		fmt.Fprintf(&s, "%s%s %s: %s\n", t.TaskID, t.ID, t.Status, t.Message)
	}
	return strings.TrimSuffix(s.String(), "\n")
}

func (b *bridge) listTasks(ctx context.Context, _ *sdk.CallToolRequest, in listTasksIn) (listAnswer, error) {
	project, err := b.project(in.ProjectID)
	if err != nil {
		return listAnswer{}, err
	}
	page, err := b.client.List(ctx, project, events.ListRequest{
		Status: statuses(in.Status), SceneID: in.SceneID, Limit: in.Limit, Cursor: in.Cursor,
	})
	if err != nil {
		return listAnswer{}, err
	}
	a := listAnswer{Success: true, Tasks: []summary{}, NextCursor: page.NextCursor}
	now := time.Now()
	for _, t := range page.Tasks {
		a.Tasks = append(a.Tasks, b.summary(t, now))
	}
	return a, nil
}

type queueStatusIn struct {
	TaskID       string   `json:"task_id,omitempty" jsonschema:"one task"`
	ProjectID    string   `json:"project_id,omitempty" jsonschema:"tasks of this project, the default one if it is left out"`
	StatusFilter []string `json:"status_filter,omitempty" jsonschema:"only tasks in one of these"`
}

// A queueAnswer is the shape of the queue proposal: one task, or tasks by status.
type queueAnswer struct {
	Success bool     `json:"success"`
	Task    *summary `json:"task,omitempty"`
	// TotalTasks counts those in ByStatus; of a project with more than maxQueueTasks the newest are told.
	TotalTasks  *int                 `json:"total_tasks,omitempty"`
	ByStatus    map[string][]summary `json:"by_status,omitempty"`
	ActiveCount *int                 `json:"active_count,omitempty"`
	Truncated   bool                 `json:"truncated,omitempty" jsonschema:"older tasks are left out, list_tasks has them"`
	Error       *failure             `json:"error,omitempty"`
}

func (a *queueAnswer) fail(f *failure) { *a = queueAnswer{Error: f} }

func (a *queueAnswer) content() []sdk.Content {
	switch {
	case a.Error != nil:
		return []sdk.Content{text(a.Error.Message)}
	case a.Task != nil:
		return []sdk.Content{text(a.Task.Message)}
	}
	var all []string
	for _, s := range events.Statuses() {
		if n := len(a.ByStatus[string(s)]); n > 0 {
			all = append(all, fmt.Sprintf("%d %s", n, s))
		}
	}
	if len(all) == 0 {
		return []sdk.Content{text("No tasks.")}
	}
	return []sdk.Content{text(fmt.Sprintf("%d tasks: %s.", *a.TotalTasks, strings.Join(all, ", ")))}
}

const (
	// maxQueueTasks bounds the tasks of one queue answer.
	maxQueueTasks = events.MaxListLimit
	// maxResult is the longest result of a provider in an answer, in bytes.
	maxResult = 8 << 10
)

func (b *bridge) getQueueStatus(ctx context.Context, _ *sdk.CallToolRequest, in queueStatusIn) (queueAnswer, error) {
	if in.TaskID != "" {
		t, err := b.get(ctx, in.TaskID, in.ProjectID)
		if err != nil {
			return queueAnswer{}, err
		}
		return queueAnswer{Success: true, Task: b.queueTask(ctx, t)}, nil
	}
	project, err := b.project(in.ProjectID)
	if err != nil {
		return queueAnswer{}, err
	}
	page, err := b.client.List(ctx, project, events.ListRequest{Status: statuses(in.StatusFilter), Limit: maxQueueTasks})
	if err != nil {
		return queueAnswer{}, err
	}
	total, active := len(page.Tasks), 0
	a := queueAnswer{
		Success: true, TotalTasks: &total, ActiveCount: &active, ByStatus: map[string][]summary{},
		Truncated: page.NextCursor != "",
	}
	for _, t := range page.Tasks {
		if !t.Status.Terminal() {
			active++
		}
		a.ByStatus[string(t.Status)] = append(a.ByStatus[string(t.Status)], b.queueSummary(t))
	}
	return a, nil
}

// queueSummary is a summary with the fields of the queue proposal.
func (b *bridge) queueSummary(t events.Task) summary {
	s := b.summary(t, time.Now())
	s.ID, s.RequestID = s.TaskID, s.ProviderID
	return s
}

// queueTask is all of one task in the form of the queue proposal, which has the provider's own result.
func (b *bridge) queueTask(ctx context.Context, t events.Task) *summary {
	s := b.queueSummary(t)
	s.Logs, s.Outputs = logs(t), b.linked(ctx, t)
	if t.Result != nil && len(t.Result.Raw) <= maxResult {
		_ = json.Unmarshal(t.Result.Raw, &s.Result) // one that is no object is left out
	}
	return &s
}

type queryVideoIn struct {
	TaskID string `json:"task_id" jsonschema:"as a generate tool has returned it"`
}

// A videoAnswer is the shape of MiniMax's query, as clients of it expect it.
type videoAnswer struct {
	TaskID        string  `json:"task_id"`
	Status        string  `json:"status" jsonschema:"submitted, processing, completed or failed"`
	FileID        string  `json:"file_id,omitempty" jsonschema:"of a completed video"`
	Error         string  `json:"error,omitempty"`
	Message       string  `json:"message"`
	QueuePosition int     `json:"queue_position,omitempty"`
	Progress      float64 `json:"progress_percentage,omitempty"`
	ElapsedS      float64 `json:"elapsed_s"`
	DurationS     float64 `json:"duration_s,omitempty"`
}

// fail tells that the question could not be answered. Callers of this tool ask on at anything but completed and failed.
func (a *videoAnswer) fail(f *failure) {
	a.Status, a.Error, a.Message = "processing", f.Message, f.Message
}

func (a *videoAnswer) content() []sdk.Content { return []sdk.Content{text(a.Message)} }

// queryVideo tells an empty or unknown id as a failed video, as callers of this tool expect it. A question that could
// not be answered is an error and says nothing of the video.
func (b *bridge) queryVideo(ctx context.Context, _ *sdk.CallToolRequest, in queryVideoIn) (videoAnswer, error) {
	a := videoAnswer{TaskID: in.TaskID}
	t, err := b.get(ctx, in.TaskID, "")
	if err != nil {
		f := failureOf(err)
		if f.Code != codeNotFound {
			return a, err
		}
		a.Status, a.Error = "failed", "Invalid task_id: "+f.Message
		a.Message = a.Error
		return a, nil
	}
	s := b.summary(t, time.Now())
	a = videoAnswer{
		TaskID: in.TaskID, Message: s.Message, QueuePosition: s.QueuePosition, Progress: s.Progress, ElapsedS: s.ElapsedS,
		DurationS: s.DurationS,
	}
	switch t.Status {
	case events.StatusQueued:
		a.Status = "submitted"
	case events.StatusInProgress:
		a.Status = "processing"
	case events.StatusCompleted:
		a.Status, a.FileID = "completed", s.FileID
	default:
		a.Status, a.Error = "failed", cmp.Or(s.ErrorText, s.Message)
	}
	return a, nil
}

// waitSeconds is the schema of the argument of that name.
func waitSeconds(in map[string]*jsonschema.Schema) {
	in["wait_seconds"].Default = fmt.Appendf(nil, "%.0f", DefaultWait.Seconds())
}

func bound(s *jsonschema.Schema, low, high float64) { s.Minimum, s.Maximum = &low, &high }

func oneOf[T ~string](s *jsonschema.Schema, all []T) {
	for _, v := range all {
		s.Enum = append(s.Enum, string(v))
	}
}

// duration bounds a wait that an agent asks for.
func duration(s float64) time.Duration {
	return time.Duration(min(max(s, 0), MaxWait.Seconds()) * float64(time.Second))
}

func statuses(names []string) (all []events.Status) {
	for _, n := range names {
		all = append(all, events.Status(n))
	}
	return all
}
