package mcp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"reelay/events"
	"reelay/internal/describe"
	"reelay/internal/media"
)

const (
	// maxFileTasks is how many of the newest completed tasks are searched for a provider's own id of a file, fileTries and
	// filePause how often and when again.
	maxFileTasks = 1_000
	fileTries    = 2
	filePause    = 300 * time.Millisecond
)

// addFiles adds the tool that hands out files. Only an agent on the operator's own machine may have one saved.
func (b *bridge) addFiles() {
	tool := sdk.Tool{
		Name: "retrieve_video_file", Annotations: readOnly("Retrieve a file"),
		Description: "Returns a link of a file by its file_id, as get_task or query_video_generation has told it. The link " +
			"lasts for a week once reelay has stored the file.",
	}
	if b.saver != nil {
		no := false
		tool.Annotations = &sdk.ToolAnnotations{Title: "Retrieve a file", DestructiveHint: &no, OpenWorldHint: &no}
		tool.Description += " With save_to it is also saved into " + b.saver.Dir + "."
	}
	add(b, &tool, func(in map[string]*jsonschema.Schema) {
		if b.saver == nil {
			delete(in, "save_to")
		}
	}, b.retrieveFile)
}

type retrieveFileIn struct {
	FileID string `json:"file_id" jsonschema:"task_id/number, or the provider's own id of the file"`
	SaveTo string `json:"save_to,omitempty" jsonschema:"name to save it under, the file's type says the ending"`
}

// A fileAnswer is where a file is.
type fileAnswer struct {
	Success bool   `json:"success"`
	TaskID  string `json:"task_id,omitempty"`
	output
	SavedTo string   `json:"saved_to,omitempty" jsonschema:"path of the saved file"`
	Message string   `json:"message"`
	Error   *failure `json:"error,omitempty"`
}

func (a *fileAnswer) fail(f *failure) { a.Success, a.Error, a.Message = false, f, f.Message }

func (a *fileAnswer) content() []sdk.Content {
	all := []sdk.Content{text(a.Message)}
	if a.URL != "" {
		all = append(all, &sdk.ResourceLink{URI: a.URL, Name: a.FileID, MIMEType: a.ContentType})
	}
	return all
}

func (b *bridge) retrieveFile(ctx context.Context, _ *sdk.CallToolRequest, in retrieveFileIn) (fileAnswer, error) {
	t, i, err := b.file(ctx, in.FileID)
	if err != nil {
		return fileAnswer{}, err
	}
	t = b.stored(ctx, t) // what has just been made is about to get a link that lasts
	o := b.linked(ctx, t)[i]
	a := fileAnswer{Success: true, TaskID: b.id(t.Key()), output: o}
	if in.SaveTo != "" {
		if a.SavedTo, err = b.save(ctx, t.Result.Outputs[i], o, in.SaveTo); err != nil {
			return a, err
		}
	}
	switch {
	case o.URL == "" && a.SavedTo == "":
		return a, &failure{Code: codeNotFound, Message: "the provider has sent the file itself and no link to it"}
	case o.URL != "":
		a.Message = "The file is at " + o.URL + "."
	}
	if o.ExpiresAt != "" {
		a.Message += " The link dies at " + o.ExpiresAt + "."
	}
	if a.SavedTo != "" {
		a.Message += " It is saved as " + a.SavedTo + "."
	}
	return a, nil
}

// file finds a file by our own id of it or by the provider's: its task, and its place among the outputs.
func (b *bridge) file(ctx context.Context, fileID string) (t events.Task, i int, err error) {
	id, number, ours := strings.Cut(fileID, "/")
	if !ours {
		t, err = b.taskOfFile(ctx, fileID)
		for range fileTries {
			if f := (*failure)(nil); !errors.As(err, &f) || f.Code != codeNotFound {
				break
			}
			time.Sleep(filePause) // a list may not have yet what was told just now
			t, err = b.taskOfFile(ctx, fileID)
		}
		return t, 0, err
	}
	if t, err = b.get(ctx, id, ""); err != nil {
		return t, 0, err
	}
	n, err := strconv.Atoi(number)
	if err != nil || t.Result == nil || n < 1 || n > len(t.Result.Outputs) {
		return t, 0, unknown(fileID)
	}
	return t, n - 1, nil
}

// linked lists the files of a task, those that reelay has stored with links that last. Without an archiver that answers
// they have the provider's links.
func (b *bridge) linked(ctx context.Context, t events.Task) []output {
	all := b.outputs(t)
	if t.Result == nil || !slices.ContainsFunc(t.Result.Outputs, events.Output.IsStored) {
		return all
	}
	reply, err := b.client.Links(ctx, t.Key(), events.MaxLinkAge)
	if err != nil {
		b.log.Debug("no lasting links", "task", t.Key().String(), "error", err)
		return all
	}
	for _, l := range reply.Links {
		if l.Output < len(all) {
			o := &all[l.Output]
			o.URL, o.ExpiresAt, o.FileName, o.SHA256 = l.URL, stamp(&l.ExpiresAt), l.FileName, l.SHA256
			o.ContentType = cmp.Or(l.ContentType, o.ContentType)
		}
	}
	return all
}

// save saves a file into the directory that the operator has named, and returns its path. No file there is overwritten.
func (b *bridge) save(ctx context.Context, of events.Output, o output, name string) (string, error) {
	if b.saver == nil || !events.ValidInputName(name) {
		return "", invalid("save_to", "must be a plain name of 1 to 128 characters of A-Z a-z 0-9 . _ -")
	}
	ctx, cancel := context.WithTimeout(ctx, MaxWait)
	defer cancel()
	w := media.Wanted{
		URL: cmp.Or(o.URL, of.URL), ContentType: o.ContentType, FileName: o.FileName, Size: o.Size, SHA256: o.SHA256,
	}
	base := strings.TrimSuffix(name, filepath.Ext(name))
	var path string
	var err error
	if w.URL == "" && of.Object != "" {
		from, failed := b.client.OpenStored(ctx, of.Object)
		if failed != nil {
			return "", failed
		}
		defer from.Close()
		path, _, err = b.saver.SaveFrom(base, w, from)
	} else {
		saver := *b.saver
		if o.URL != "" { // reelay's own
			saver.Fetcher = saver.Fetcher.Reaching(o.URL)
		}
		path, _, err = saver.Save(ctx, base, w)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "", &failure{Code: codeBusy, Message: fmt.Sprintf("the file did not come within %v; use its link", MaxWait)}
	case err != nil:
		b.log.Warn("a file could not be saved", "task", o.FileID, "error", err)
		return "", &failure{Code: codeBusy, Retryable: true, Message: "the file could not be saved: " + describe.Clean(err.Error())}
	}
	return path, nil
}

// taskOfFile searches the newest completed tasks of the default project for a provider's own id of a file.
func (b *bridge) taskOfFile(ctx context.Context, fileID string) (events.Task, error) {
	r := events.ListRequest{Status: []events.Status{events.StatusCompleted}, Limit: events.MaxListLimit}
	for seen := 0; fileID != "" && seen < maxFileTasks; {
		page, err := b.client.List(ctx, b.who.Projects[0], r)
		if err != nil {
			return events.Task{}, err
		}
		for _, t := range page.Tasks {
			if providerFileID(t) == fileID {
				return t, nil
			}
		}
		if seen += len(page.Tasks); page.NextCursor == "" {
			break
		}
		r.Cursor = page.NextCursor
	}
	return events.Task{}, unknown(fileID)
}
