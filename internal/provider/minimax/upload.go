package minimax

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"time"

	"reelay/events"
	"reelay/internal/provider"
)

const (
	uploadPath = "/v1/files/upload"
	// uploadTimeout bounds one upload.
	uploadTimeout = 10 * time.Minute
	// uploadLife is how long MiniMax keeps an input of a video (7 days by third parties, reference: minimax, 2.4), less an
	// hour for its clock. Nothing is documented for the other purposes.
	uploadLife = 7*24*time.Hour - time.Hour

	// The purposes of uploads (https://platform.minimax.io/docs/api-reference/file-management-upload).
	purposeVideo  = "video_generation_input"
	purposeClone  = "voice_clone"
	purposePrompt = "prompt_audio"
	purposeText   = "t2a_async_input"

	// fileScheme begins what stands for an upload in an input of V2. The ids are those of the whole account.
	fileScheme = "mm_file:"

	megabyte = 1_000_000
)

func pictureTypes(more ...string) []string {
	return append([]string{"image/jpeg", "image/png", "image/webp"}, more...)
}

func audioTypes(more ...string) []string {
	return append([]string{"audio/mpeg", "audio/wav"}, more...)
}

// FileRule is what MiniMax takes of a file. V2 takes uploads; V1 takes a file inside the request. The limits of V2 are
// those of third parties (reference: media-models, b), those of V1 of the page video-generation-i2v, those of voices of
// the page voice-cloning-uploadcloneaudio, all below https://platform.minimax.io/docs/api-reference.
func (d *Driver) FileRule(model, path, contentType string) provider.FileRule {
	field := path[strings.LastIndexByte(path, '.')+1:]
	clip := audioTypes("audio/mp4", "audio/x-m4a")
	switch g := generationOf(model); {
	case g == nil:
		return provider.FileRule{}
	case g == v2{} && strings.HasPrefix(contentType, "image/"):
		return provider.FileRule{
			Purpose: purposeVideo, MaxBytes: 30 * megabyte, Types: pictureTypes("image/heic", "image/heif"), MinSide: 256,
			MaxSide: 5760, MinRatio: 0.4, MaxRatio: 2.5,
		}
	case g == v2{} && strings.HasPrefix(contentType, "audio/"):
		return provider.FileRule{Purpose: purposeVideo, MaxBytes: 15 * megabyte, Types: audioTypes()}
	case g == v2{}:
		return provider.FileRule{
			Purpose: purposeVideo, MaxBytes: 50 * megabyte,
			Types: append(pictureTypes("image/heic", "image/heif"), append(audioTypes(), "video/mp4", "video/quicktime")...),
		}
	case g == v1{} && strings.HasSuffix(field, "_frame_image"):
		return provider.FileRule{
			MaxBytes: 20*megabyte - 1, Types: pictureTypes(), MinSide: 301, MinRatio: 0.4, MaxRatio: 2.5,
		}
	case g.createPath() == voiceClonePath && field == "prompt_audio":
		return provider.FileRule{Purpose: purposePrompt, MaxBytes: 20 * megabyte, Types: clip}
	case g.createPath() == voiceClonePath:
		return provider.FileRule{Purpose: purposeClone, MaxBytes: 20 * megabyte, Types: clip}
	case field == "text_file_id":
		return provider.FileRule{Purpose: purposeText}
	}
	return provider.FileRule{MaxBytes: 20*megabyte - 1}
}

// Upload gives MiniMax a file. It fails with a *provider.Error.
func (d *Driver) Upload(ctx context.Context, purpose string, f provider.File) (provider.Uploaded, error) {
	expires := time.Now().Add(uploadLife)
	content, err := f.Open(ctx)
	if err != nil {
		return provider.Uploaded{}, d.newError(events.KindRetry, "unreadable_file", err.Error(), provider.Reply{})
	}
	defer content.Close()
	// The form around the file is made first, so that its length is known.
	var around bytes.Buffer
	form := multipart.NewWriter(&around)
	err = form.WriteField("purpose", purpose)
	if err == nil {
		_, err = form.CreateFormFile("file", f.Name)
	}
	before := around.Len()
	if err = errors.Join(err, form.Close()); err != nil {
		return provider.Uploaded{}, d.newError(events.KindInternal, "bad_request", err.Error(), provider.Reply{})
	}
	length := int64(around.Len()) + f.Size
	head, tail := around.Bytes()[:before], around.Bytes()[before:]
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.base+uploadPath,
		io.MultiReader(bytes.NewReader(head), content, bytes.NewReader(tail)))
	if err != nil {
		return provider.Uploaded{}, d.newError(events.KindInternal, "bad_request", "the upload cannot be sent", provider.Reply{})
	}
	req.ContentLength = length
	req.Header = d.header()
	req.Header.Set("Content-Type", form.FormDataContentType())
	r, err := provider.Exchange(d.uploads, req)
	if err != nil {
		return provider.Uploaded{}, d.redactError(provider.AsError(err))
	}
	return d.uploaded(purpose, r, expires)
}

// uploaded reads the answer to an upload.
func (d *Driver) uploaded(purpose string, r provider.Reply, expires time.Time) (provider.Uploaded, error) {
	var a struct {
		File lax[struct {
			ID lax[text] `json:"file_id"`
		}] `json:"file"`
	}
	says := readEnvelope(r.Body)
	if r.Status == http.StatusBadRequest { // the one V1 call that refuses by its HTTP status (reference: minimax, 2.4)
		err := d.callError(says, r)
		err.Kind = events.KindInvalid
		return provider.Uploaded{}, err
	}
	id := ""
	if json.Unmarshal(r.Body, &a) == nil {
		id = string(a.File.v.ID.v)
	}
	if !isOK(r.Status) || says.own && !says.ok() || !a.File.v.ID.v.isID() {
		return provider.Uploaded{}, d.callError(says, r)
	}
	value := json.RawMessage(id) // as a number: what the voice and text APIs want
	var err error
	if purpose == purposeVideo || !json.Valid(value) {
		prefix := ""
		if purpose == purposeVideo {
			prefix = fileScheme + "//"
		}
		value, err = events.Marshal(prefix + id)
	}
	return provider.Uploaded{Value: value, ExpiresAt: expires}, err
}

// checkFiles refuses an input that names an upload by MiniMax's own id: the account's other projects have theirs among
// the same ids. Its error is a FieldError.
func checkFiles(at string, v any) error {
	switch v := v.(type) {
	case string:
		if strings.HasPrefix(strings.ToLower(strings.TrimSpace(v)), fileScheme) {
			return events.NewFieldError(at, "names a file of the whole account: hand the file in and name it by input_files")
		}
	case map[string]any:
		for name, member := range v {
			if err := checkFiles(at+"."+name, member); err != nil {
				return err
			}
		}
	case []any:
		for i, item := range v {
			if err := checkFiles(fmt.Sprintf("%s[%d]", at, i), item); err != nil {
				return err
			}
		}
	}
	return nil
}
