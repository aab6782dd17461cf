package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"reelay/events"
)

const (
	// uploadWait bounds one upload.
	uploadWait = time.Hour
	// maxUploadAnswer bounds what is read of the answer to one, in bytes.
	maxUploadAnswer = 4 << 10
)

// ErrUpload says that a file was not taken in.
var ErrUpload = errors.New("the file was not taken in")

// UploadLink returns a link at which one file of a project can be handed in. It fails with ErrNoService where no archiver
// runs.
func (c *Client) UploadLink(ctx context.Context, project string, r events.UploadRequest) (events.UploadReply, error) {
	if err := r.Validate(); err != nil {
		return events.UploadReply{}, err
	}
	return ask[events.UploadReply](ctx, c, events.VerbUpload, []string{project}, r, 0)
}

// CopyInput has an object of a bucket copied, for requests of a project, and returns what is known of the copy. While it is
// under way the refusal is retryable. Only reelay's own services may ask.
func (c *Client) CopyInput(ctx context.Context, project string, r events.CopyRequest) (events.Input, error) {
	return ask[events.Input](ctx, c, events.VerbCopy, []string{project}, r, 0)
}

// Upload hands a file in, which requests of the project then name. It takes an hour at most, and fails with ErrUpload if
// the archiver does not take the file. Content of known length should say it in r.Size.
func (c *Client) Upload(ctx context.Context, project string, r events.UploadRequest,
	content io.Reader,
) (file events.Input, err error) {
	link, err := c.UploadLink(ctx, project, r)
	if err != nil {
		return file, err
	}
	ctx, cancel := context.WithTimeout(ctx, uploadWait)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, link.Method, link.URL, content)
	if err != nil {
		return file, fmt.Errorf("upload of %s: %w", r.Name, err)
	}
	request.ContentLength = r.Size
	if r.Size == 0 {
		request.ContentLength = -1
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return file, fmt.Errorf("upload of %s: %w", r.Name, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxUploadAnswer))
	if err == nil && response.StatusCode != http.StatusCreated {
		err = fmt.Errorf("%w: HTTP %d: %s", ErrUpload, response.StatusCode, answer)
	}
	if err == nil {
		err = json.Unmarshal(answer, &file)
	}
	if err != nil {
		return file, fmt.Errorf("upload of %s: %w", r.Name, err)
	}
	return file, nil
}
