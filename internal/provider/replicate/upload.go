package replicate

import (
	"context"
	"time"

	"reelay/events"
	"reelay/internal/provider"
	"reelay/internal/provider/jsonapi"
)

const (
	filesPath = "/v1/files"
	// maxFileBytes is the most that the files API takes (https://replicate.com/docs/reference/http#files.create).
	maxFileBytes = 100 << 20
	// fileLife is how long it keeps a file, less what its clock may differ by.
	fileLife = 23 * time.Hour
)

// FileRule is the same for every model: what a model can do with a file is the model's to say.
func (d *Driver) FileRule(string, string, string) provider.FileRule {
	return provider.FileRule{Purpose: "files", MaxBytes: maxFileBytes}
}

// Upload hands in a file for inputs. It fails with a *provider.Error.
func (d *Driver) Upload(ctx context.Context, _ string, f provider.File) (provider.Uploaded, error) {
	answer, r, err := d.api.Upload(ctx, filesPath, nil, "content", f)
	if err != nil {
		return provider.Uploaded{}, err
	}
	link := answer.Object("urls").Text("get")
	if link == "" {
		return provider.Uploaded{}, jsonapi.NewError(events.KindRetry, "no_link", "the answer names no link to the file", r)
	}
	value, err := events.Marshal(link)
	return provider.Uploaded{Value: value, ExpiresAt: time.Now().Add(fileLife)}, err
}
