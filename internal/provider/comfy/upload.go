package comfy

import (
	"context"
	"path"
	"time"

	"reelay/events"
	"reelay/internal/provider"
)

const (
	// folder is where a core keeps the files of reelay, below its own for inputs.
	folder = "reelay"
	// coreLife is how long a file is taken to stay at a core, which forgets none by itself; v2Life is the longest that v2
	// keeps one, less what its clock may differ by.
	coreLife = 30 * 24 * time.Hour
	v2Life   = 7*24*time.Hour - time.Hour
	// v2Expires asks for it, in seconds.
	v2Expires = "604800"
)

// FileRule is the same for every workflow: what a node can do with a file is the node's to say.
func (d *Driver) FileRule(string, string, string) provider.FileRule {
	purpose := "input"
	if d.v2 {
		purpose = "asset"
	}
	return provider.FileRule{Purpose: purpose, MaxBytes: events.MaxInputBytes}
}

// Upload hands in a file. At a core it is called by its sum, so that no other file takes its place; a node such as LoadImage
// takes that name. At v2 it is an asset. It fails with a *provider.Error.
func (d *Driver) Upload(ctx context.Context, _ string, f provider.File) (provider.Uploaded, error) {
	now := time.Now()
	if d.v2 {
		answer, r, err := d.api.Upload(ctx, v2Path+"/assets", map[string]string{"expires_in": v2Expires}, "file", f)
		switch {
		case err != nil:
			return provider.Uploaded{}, err
		case answer.Text("id") == "":
			return provider.Uploaded{}, newError(events.KindRetry, "no_id", "the answer names no asset", r)
		}
		value, err := events.Marshal(map[string]any{"__type": "core/ASSET", "info": map[string]string{"id": answer.Text("id")}})
		return provider.Uploaded{Value: value, ExpiresAt: now.Add(v2Life)}, err
	}
	f.Name = f.SHA256[:min(len(f.SHA256), 32)] + path.Ext(f.Name)
	fields := map[string]string{"subfolder": folder, "type": "input", "overwrite": "true"}
	answer, r, err := d.api.Upload(ctx, "/upload/image", fields, "image", f)
	switch {
	case err != nil:
		return provider.Uploaded{}, err
	case answer.Text("name") == "":
		return provider.Uploaded{}, newError(events.KindRetry, "no_name", "the answer does not name the file", r)
	}
	value, err := events.Marshal(path.Join(answer.Text("subfolder"), answer.Text("name")))
	return provider.Uploaded{Value: value, ExpiresAt: now.Add(coreLife)}, err
}
