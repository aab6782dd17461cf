package mcp

import (
	"encoding/json"
	"math"
	"strconv"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"reelay/events"
	"reelay/internal/describe"
)

// A summary is a task as an agent sees it: flat, small, and without what the provider was sent.
type summary struct {
	TaskID string `json:"task_id,omitempty" jsonschema:"names the task in every other tool"`
	// ID and RequestID are what the queue proposal calls the ids of a task: ours, and the provider's.
	ID        string `json:"id,omitempty"`
	RequestID string `json:"request_id,omitempty"`
	// ProviderID is the provider's own id of the task.
	ProviderID string `json:"provider_id,omitempty"`
	ProjectID  string `json:"project_id,omitempty"`
	SceneID    string `json:"scene_id,omitempty"`
	TaskType   string `json:"task_type,omitempty"`
	Provider   string `json:"provider,omitempty"`
	Model      string `json:"model,omitempty"`
	Status     string `json:"status,omitempty" jsonschema:"queued, in_progress, completed, failed or cancelled"`
	Phase      string `json:"phase,omitempty"`
	// QueuePosition counts from 1; 0 where it is not known.
	QueuePosition int     `json:"queue_position,omitempty" jsonschema:"1 is next"`
	EstimatedWait float64 `json:"estimated_wait_time,omitempty" jsonschema:"seconds until it is likely done"`
	Progress      float64 `json:"progress_percentage,omitempty"`
	Message       string  `json:"message" jsonschema:"where the task is, in a sentence"`
	PollAfterS    float64 `json:"poll_after_s,omitempty" jsonschema:"seconds until asking again is worth it"`
	CreatedAt     string  `json:"created_at,omitempty"`
	StartedAt     string  `json:"started_at,omitempty"`
	CompletedAt   string  `json:"completed_at,omitempty"`
	ElapsedS      float64 `json:"elapsed_s,omitempty" jsonschema:"seconds since the task was accepted, until its end"`
	DurationS     float64 `json:"duration_s,omitempty" jsonschema:"seconds that an ended task took"`
	// Estimated and Actual are in US dollars; 0 where they are not known.
	Estimated float64  `json:"estimated_cost_usd,omitempty"`
	Actual    float64  `json:"actual_cost_usd,omitempty"`
	FileID    string   `json:"file_id,omitempty" jsonschema:"names the first file in retrieve_video_file"`
	Outputs   []output `json:"outputs,omitempty"`
	// Values are what a task has made that is no file, such as a voice_id.
	Values map[string]string `json:"values,omitempty" jsonschema:"what it has made that is no file, such as a voice_id"`
	// Result is the provider's own, in an answer about one task of the queue.
	Result    map[string]any    `json:"result,omitempty" jsonschema:"the provider's own result"`
	Warnings  []string          `json:"warnings,omitempty" jsonschema:"what was left out of the wish"`
	Logs      []logLine         `json:"logs,omitempty"`
	Metadata  map[string]string `json:"metadata,omitempty"`
	Error     *failure          `json:"error,omitempty"`
	ErrorText string            `json:"error_message,omitempty"`
}

// An output is one file that a task has made.
type output struct {
	FileID      string `json:"file_id"`
	URL         string `json:"url"`
	ContentType string `json:"content_type,omitempty"`
	FileName    string `json:"file_name,omitempty"`
	Size        int64  `json:"size,omitempty"`
	SHA256      string `json:"sha256,omitempty"`
	ExpiresAt   string `json:"expires_at,omitempty" jsonschema:"when the link dies"`

	// Width and Height are in pixels, DurationS is in seconds.
	Width     int     `json:"width,omitempty"`
	Height    int     `json:"height,omitempty"`
	DurationS float64 `json:"duration_s,omitempty"`
	Stored    bool    `json:"stored,omitempty" jsonschema:"whether reelay keeps the file"`
}

type logLine struct {
	Timestamp string `json:"timestamp,omitempty"`
	Level     string `json:"level,omitempty"`
	Message   string `json:"message"`
}

// maxURL is the longest link in an answer; a longer one is a file in itself, and would flood the agent.
const maxURL = 4 << 10

// summary describes a task as of now.
func (b *bridge) summary(t events.Task, now time.Time) summary {
	s := summary{
		TaskID: b.id(t.Key()), ProviderID: t.ProviderID, ProjectID: t.Project, SceneID: t.SceneID,
		TaskType: string(t.TaskType), Provider: t.Provider, Model: t.Model, Status: string(t.Status), Phase: string(t.Phase),
		QueuePosition: describe.Position(t), Message: describe.Task(t, now), PollAfterS: describe.PollAfter(t), CreatedAt: stamp(&t.CreatedAt),
		StartedAt: stamp(t.StartedAt), CompletedAt: stamp(t.CompletedAt), Metadata: t.Metadata,
		ElapsedS: seconds(now.Sub(t.CreatedAt)),
	}
	if t.CompletedAt != nil {
		s.ElapsedS = seconds(t.CompletedAt.Sub(t.CreatedAt))
		s.DurationS = s.ElapsedS
	}
	if t.EstimatedWaitS != nil && !t.Status.Terminal() {
		s.EstimatedWait = math.Round(*t.EstimatedWaitS)
	}
	if t.ProgressPercentage != nil {
		s.Progress = *t.ProgressPercentage
	}
	if t.Cost != nil {
		s.Estimated, s.Actual = value(t.Cost.EstimatedUSD), value(t.Cost.ActualUSD)
	}
	if t.Error != nil {
		s.Error = &failure{
			Code: t.Error.Code, Message: describe.Clean(t.Error.Message), Field: t.Error.Field, Retryable: t.Error.Retryable,
			Charge: string(t.Error.Charge),
		}
		s.ErrorText = s.Error.Message
	}
	for _, w := range t.Warnings {
		s.Warnings = append(s.Warnings, describe.Clean(w))
	}
	if t.Result != nil {
		s.Values = t.Result.Values
	}
	s.Outputs = b.outputs(t)
	s.FileID = fileID(t, s.Outputs)
	return s
}

// outputs lists the files of a task.
func (b *bridge) outputs(t events.Task) (all []output) {
	if t.Result == nil {
		return nil
	}
	for i, o := range t.Result.Outputs {
		if len(o.URL) > maxURL || o.ExpiresAt != nil && time.Now().After(*o.ExpiresAt) {
			o.URL = "" // too long, or dead: retrieve_video_file has the lasting one
		}
		all = append(all, output{
			FileID: b.id(t.Key()) + "/" + strconv.Itoa(i+1), URL: o.URL, ContentType: o.ContentType,
			FileName: describe.Clean(o.FileName), Size: o.Size, SHA256: o.SHA256, ExpiresAt: stamp(o.ExpiresAt), Width: o.Width,
			Height: o.Height, DurationS: o.DurationS, Stored: o.IsStored(),
		})
	}
	return all
}

// logs returns the tail of the provider's log.
func logs(t events.Task) (all []logLine) {
	for _, l := range t.Logs {
		all = append(all, logLine{Timestamp: stamp(l.At), Level: l.Level, Message: describe.Clean(l.Message)})
	}
	return all
}

// fileID is the provider's own id of the first file where its result names one, else ours.
func fileID(t events.Task, outputs []output) string {
	if len(outputs) == 0 {
		return ""
	}
	if id := providerFileID(t); id != "" {
		return id
	}
	return outputs[0].FileID
}

// providerFileID reads the file_id of MiniMax's answer about a video, which is a number or a text
// (https://platform.minimax.io/docs/api-reference/video-generation-query); empty if there is none.
func providerFileID(t events.Task) string {
	if t.Result == nil {
		return ""
	}
	type answer struct {
		FileID json.RawMessage `json:"file_id"`
	}
	var raw struct {
		answer
		Query answer `json:"query"`
	}
	if json.Unmarshal(t.Result.Raw, &raw) != nil {
		return ""
	}
	for _, id := range []json.RawMessage{raw.FileID, raw.Query.FileID} {
		var word string
		var number json.Number
		if json.Unmarshal(id, &word) == nil && word != "" {
			return word
		}
		if json.Unmarshal(id, &number) == nil && number != "" {
			return number.String()
		}
	}
	return ""
}

// stamp writes a time; nothing for none.
func stamp(t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// seconds rounds to a tenth.
func seconds(d time.Duration) float64 { return math.Round(max(d, 0).Seconds()*10) / 10 }

func value(p *float64) float64 {
	if p == nil {
		return 0
	}
	return *p
}

// links are the resources of a task and of its files.
func links(s summary) []sdk.Content {
	all := []sdk.Content{&sdk.ResourceLink{
		URI: taskPrefix + s.TaskID, Name: s.TaskID, Title: "Task " + s.TaskID, MIMEType: jsonType,
	}}
	for _, o := range s.Outputs {
		if o.URL == "" {
			continue
		}
		all = append(all, &sdk.ResourceLink{URI: o.URL, Name: o.FileID, MIMEType: o.ContentType})
	}
	return all
}
