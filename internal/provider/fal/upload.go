package fal

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"reelay/events"
	"reelay/internal/address"
	"reelay/internal/provider"
)

const (
	// DefaultStorageURL is the host of fal's storage for files of requests.
	DefaultStorageURL = "https://rest.fal.ai"

	// The calls are those of fal's own client, storage.js of @fal-ai/client 1.10.1.
	uploadPath     = "/storage/upload/initiate"
	multipartPath  = "/storage/upload/initiate-multipart"
	storageType    = "?storage_type=fal-cdn-v3"
	lifecycle      = "X-Fal-Object-Lifecycle"
	multipartAbove = 90 << 20
	partBytes      = 10 << 20

	// uploadLife is how long fal is asked to keep a file; uploadSlack is what its clock may differ by.
	uploadLife  = 7 * 24 * time.Hour
	uploadSlack = time.Hour
	// uploadTimeout bounds one call that carries bytes.
	uploadTimeout = 10 * time.Minute
	// purpose is that of every upload: fal has one kind.
	purpose = "cdn"
)

// FileRule is the same for every model: fal takes files of any kind for any field, and what a model can do with one is the
// model's to say.
func (d *Driver) FileRule(string, string, string) provider.FileRule {
	return provider.FileRule{Purpose: purpose, MaxBytes: events.MaxInputBytes}
}

// Upload puts a file into fal's storage, which gives it a public link, and has it deleted after a week. It fails with a
// *provider.Error.
func (d *Driver) Upload(ctx context.Context, _ string, f provider.File) (provider.Uploaded, error) {
	kind := f.ContentType
	if kind == "" {
		kind = "application/octet-stream"
	}
	expires := time.Now().Add(uploadLife - uploadSlack)
	path := uploadPath
	if f.Size > multipartAbove {
		path = multipartPath
	}
	places, err := d.initiate(ctx, path, f.Name, kind)
	if err != nil {
		return provider.Uploaded{}, err
	}
	content, err := f.Open(ctx)
	if err != nil {
		return provider.Uploaded{}, d.transport(err)
	}
	defer content.Close()
	if path == uploadPath {
		_, err = d.put(ctx, places.upload.String(), kind, content, f.Size)
	} else {
		err = d.putParts(ctx, places.upload, kind, content, f.Size)
	}
	if err != nil {
		return provider.Uploaded{}, err
	}
	value, err := events.Marshal(places.file)
	return provider.Uploaded{Value: value, ExpiresAt: expires}, err
}

// An uploadPlace is where a file is put, and the link that it then has.
type uploadPlace struct {
	upload *url.URL
	file   string
}

// initiate asks where to put a file.
func (d *Driver) initiate(ctx context.Context, path, name, kind string) (place uploadPlace, err error) {
	body, err := events.Marshal(map[string]string{"content_type": kind, "file_name": name})
	if err != nil {
		return place, d.transport(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.storageURL+path+storageType, bytes.NewReader(body))
	if err != nil {
		return place, d.transport(err)
	}
	req.Header.Set("Authorization", d.authorization())
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set(lifecycle, fmt.Sprintf(`{"expiration_duration_seconds":%d}`, int(uploadLife/time.Second)))
	r, err := provider.Exchange(d.client, req)
	if err != nil {
		return place, d.transport(err)
	}
	r = d.redact(r)
	e := readEnvelope(r)
	if r.Status < 200 || r.Status > 299 {
		return place, uploadError(e)
	}
	var answer struct {
		UploadURL json.RawMessage `json:"upload_url"`
		FileURL   json.RawMessage `json:"file_url"`
	}
	if json.Unmarshal(r.Body, &answer) == nil {
		place.file = text(answer.FileURL)
		if place.upload, err = url.Parse(text(answer.UploadURL)); err == nil && place.file != "" && d.mayUpload(place.upload) {
			return place, nil
		}
	}
	e.message = "the answer names no place for the file"
	return place, e.error(events.KindRetry)
}

// mayUpload reports whether bytes may be sent to an address that fal has named: by https, or in plain text where fal is
// this machine.
func (d *Driver) mayUpload(u *url.URL) bool {
	return u.Host != "" && u.User == nil &&
		(u.Scheme == "https" || provider.IsLoopbackURL(d.storageURL) && address.IsLoopback(u.Hostname()))
}

// put sends bytes to where fal has said, without the key.
func (d *Driver) put(ctx context.Context, to, kind string, content io.Reader, size int64) (provider.Reply, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, to, content)
	if err != nil {
		return provider.Reply{}, d.transport(err)
	}
	req.ContentLength = size
	req.Header.Set("Content-Type", kind)
	return d.storageAnswer(req)
}

// putParts sends a large file in parts.
func (d *Driver) putParts(ctx context.Context, to *url.URL, kind string, content io.Reader, size int64) error {
	type part struct {
		Number int    `json:"partNumber"`
		ETag   string `json:"etag"`
	}
	var parts []part
	step := func(what string) string {
		u := *to
		u.Path = strings.TrimRight(u.Path, "/") + "/" + what
		return u.String()
	}
	for left := size; left > 0; left -= partBytes {
		n := len(parts) + 1
		r, err := d.put(ctx, step(strconv.Itoa(n)), kind, io.LimitReader(content, partBytes), min(left, partBytes))
		if err != nil {
			return err
		}
		var answer struct {
			Number int             `json:"partNumber"`
			ETag   json.RawMessage `json:"etag"`
		}
		if json.Unmarshal(r.Body, &answer) != nil || text(answer.ETag) == "" {
			e := readEnvelope(r)
			e.message = "the answer to a part of the file has no etag"
			return e.error(events.KindRetry)
		}
		parts = append(parts, part{n, text(answer.ETag)})
	}
	body, err := events.Marshal(map[string]any{"parts": parts})
	if err != nil {
		return d.transport(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, step("complete"), bytes.NewReader(body))
	if err != nil {
		return d.transport(err)
	}
	req.Header.Set("Content-Type", "application/json")
	_, err = d.storageAnswer(req)
	return err
}

// uploadError is why a file was not taken: for good, or for now.
func uploadError(e envelope) *provider.Error {
	switch e.status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType,
		http.StatusUnprocessableEntity:
		return e.error(events.KindInvalid)
	case http.StatusNotFound, http.StatusGone: // the place is forgotten; the next try gets another
		return e.error(events.KindRetry)
	}
	return pollError(e)
}

// storageAnswer makes a call that carries bytes. Its error is a *provider.Error.
func (d *Driver) storageAnswer(req *http.Request) (provider.Reply, error) {
	r, err := provider.Exchange(d.uploads, req)
	if err != nil {
		return r, d.transport(err)
	}
	r = d.redact(r)
	if r.Status < 200 || r.Status > 299 {
		return r, uploadError(readEnvelope(r))
	}
	return r, nil
}
