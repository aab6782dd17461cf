package minimax

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"reelay/events"
	"reelay/internal/provider"
)

const (
	// speechURLLife is how long the link of a speech task's file lives, by the page speech-t2a-async-query.
	speechURLLife = 9 * time.Hour
	// maxSpeechBytes bounds the sound that is taken out of a speech task's archive: over half an hour of MP3.
	maxSpeechBytes = 32 << 20
	// maxArchiveFiles bounds how many files of the archive are looked at.
	maxArchiveFiles = 64
)

// speech is the API for speech that has a task and can be asked about it
// (https://platform.minimax.io/docs/api-reference/speech-t2a-async-create). It is the default for the speech models.
type speech struct {
	// characters is what MiniMax said that it bills.
	characters *float64
}

func (speech) name() string { return "t2a_async" }

func (speech) features() provider.Features { return provider.Features{} }

func (speech) createPath() string { return "/v1/t2a_async_v2" }

func (speech) taskTypes() []events.TaskType { return []events.TaskType{events.Speech, events.Audio} }

func (speech) wireModel(model string) string { return model }

// poll asks where the task is, at most ten times a second by MiniMax's page, and for the link of its file. The file is
// an archive; its sound is taken out of it, so that the task has made something that plays.
func (g speech) poll(ctx context.Context, d *Driver, id string) (provider.Snapshot, error) {
	snap, fileID, err := v1Poll(ctx, d, "/v1/query/t2a_async_query_v2", id, speechURLLife)
	if err != nil || fileID == "" || snap.State != provider.Succeeded || len(snap.Outputs) == 0 {
		return snap, err
	}
	if snap.Units = g.characters; g.characters != nil {
		snap.Unit = "character"
	}
	sound, err := d.soundOf(ctx, fileID)
	if err != nil {
		snap.Notes = append(snap.Notes, "the sound is inside the archive: "+d.clean(err.Error(), events.MaxValueBytes))
		return snap, nil
	}
	snap.Outputs = append([]events.Output{sound}, snap.Outputs...)
	return snap, nil
}

func (speech) cancel(context.Context, *Driver, string) (provider.CancelOutcome, error) {
	return provider.CancelUnsupported, nil
}

var errNoSound = errors.New("it holds no sound of at most 32 MiB")

// soundOf fetches an archive and returns the sound in it. It is fetched from MiniMax's API (page file-management-retrieve
// -content) and not by its link: a link of an answer is never followed with our own connections.
func (d *Driver) soundOf(ctx context.Context, fileID string) (o events.Output, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet,
		d.base+"/v1/files/retrieve_content?file_id="+url.QueryEscape(fileID), nil)
	if err != nil {
		return o, errNoSound
	}
	req.Header = d.header()
	r, err := d.archives.Exchange(d.client, req)
	switch {
	case err != nil:
		return o, d.redactError(provider.AsError(err))
	case r.Status != http.StatusOK || readEnvelope(r.Body).own:
		return o, d.callError(readEnvelope(r.Body), r)
	}
	if kind := http.DetectContentType(r.Body); strings.HasPrefix(kind, "audio/") && len(r.Body) <= maxSpeechBytes {
		return inline(kind, r.Body), nil // no archive
	}
	files := tar.NewReader(bytes.NewReader(r.Body))
	for range maxArchiveFiles {
		h, err := files.Next()
		if err != nil {
			break
		}
		kind := soundType(h.Name)
		if kind == "" || h.Size > maxSpeechBytes || h.Size == 0 {
			continue
		}
		content, err := io.ReadAll(io.LimitReader(files, maxSpeechBytes))
		if err != nil {
			break
		}
		o = inline(kind, content)
		o.FileName = d.clean(path.Base(h.Name), maxIDBytes)
		return o, nil
	}
	return o, errNoSound
}

// soundType is the content type of a file by its name, "" for one that is no sound.
func soundType(name string) string {
	ext := strings.TrimPrefix(strings.ToLower(path.Ext(name)), ".")
	if kind := audioType(ext); strings.HasPrefix(kind, "audio/") {
		return kind
	}
	return ""
}
