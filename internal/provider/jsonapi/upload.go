package jsonapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strings"
	"time"

	"reelay/events"
	"reelay/internal/provider"
)

// uploadTimeout bounds one upload.
const uploadTimeout = 10 * time.Minute

// quoted writes a name as a form has it.
var quoted = strings.NewReplacer("\\", "\\\\", `"`, `\"`, "\r", " ", "\n", " ")

// Upload posts a file as a field of a form, behind other fields, without holding it in memory. Its error is a
// *provider.Error: that of the call, or KindInvalid where the file is refused.
func (c *Client) Upload(ctx context.Context, path string, fields map[string]string, field string, f provider.File) (
	Object, provider.Reply, error,
) {
	content, err := f.Open(ctx)
	if err != nil {
		return nil, provider.Reply{}, NewError(events.KindRetry, "network", err.Error(), provider.Reply{})
	}
	out, in := io.Pipe()
	form := multipart.NewWriter(in)
	written := make(chan struct{})
	defer func() {
		_ = out.Close() // ends the writing, whatever it waits for
		<-written
		_ = content.Close()
	}()
	go func() {
		defer close(written)
		_ = in.CloseWithError(write(form, fields, field, f, content)) // never fails
	}()
	r, err := c.send(ctx, c.uploads, http.MethodPost, path, form.FormDataContentType(), out)
	if err != nil {
		return nil, r, err
	}
	if o := Read(r.Body); IsOK(r.Status) && o != nil {
		return o, r, nil
	}
	e := CallError(r)
	if e.Kind == events.KindInternal {
		e.Kind = events.KindInvalid // another error of the client's
	}
	return nil, r, e
}

func write(form *multipart.Writer, fields map[string]string, field string, f provider.File, content io.Reader) error {
	for name, value := range fields {
		if err := form.WriteField(name, value); err != nil {
			return err
		}
	}
	kind := f.ContentType
	if kind == "" {
		kind = "application/octet-stream"
	}
	part, err := form.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {fmt.Sprintf(`form-data; name=%q; filename="%s"`, field, quoted.Replace(f.Name))},
		"Content-Type":        {kind},
	})
	if err != nil {
		return err
	}
	switch n, err := io.Copy(part, content); {
	case err != nil:
		return err
	case n != f.Size:
		return errors.New("the file is not as long as it was") // without its end the form is none
	}
	return form.Close()
}
