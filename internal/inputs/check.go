package inputs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/media"
	"reelay/internal/provider"
)

// headBytes is how much of a file is read to know what it is: the size of a picture may stand behind long metadata.
const headBytes = 512 << 10

// Check compares the files of an input with what the provider of a lane takes of a model, as far as that is known. Its
// error is an *events.Error that names the place and the limit, or one of the broker. A file that is gone is no error: it
// was there when the request was taken in first.
func (f *Files) Check(ctx context.Context, l provider.Lane, project, model string, input json.RawMessage) error {
	refs, err := events.Files("input", input)
	if err != nil || len(refs) == 0 {
		return err
	}
	u, ok := l.Driver.(Uploader)
	if !ok {
		return refused(events.CodeUnsupported, refs[0], "provider %s takes no files here: give it a URL", l.Provider)
	}
	for _, ref := range refs {
		file, err := f.bus.Input(ctx, project, ref.Name)
		if errors.Is(err, bus.ErrNoInput) {
			continue
		}
		if err != nil {
			return err
		}
		head, err := f.head(ctx, project, ref.Name)
		if err != nil {
			return err
		}
		kind := contentType(file, head)
		if why := fits(u.FileRule(model, ref.Path, kind), file, kind, head); why != "" {
			return refused(events.CodeUnsuitableFile, ref, "file %q %s", ref.Name, why)
		}
	}
	return nil
}

// head reads the beginning of a file.
func (f *Files) head(ctx context.Context, project, name string) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, err := f.bus.OpenInput(ctx, project, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, headBytes))
}

// contentType is what the bytes say, else what was said when the file was handed in.
func contentType(file events.Input, head []byte) string {
	if t := media.Sniff(head[:min(len(head), media.SniffBytes)]); t.MIME != "" && t.Kind != media.KindText {
		return t.MIME
	} else if file.ContentType == "" {
		return t.MIME
	}
	return file.ContentType
}

// fits says why a file is not taken; "" if it is, or if nobody knows.
func fits(rule provider.FileRule, file events.Input, kind string, head []byte) string {
	switch {
	case rule.MaxBytes > 0 && file.Size > rule.MaxBytes:
		return fmt.Sprintf("has %d bytes, over the limit of %d", file.Size, rule.MaxBytes)
	case len(rule.Types) > 0 && !slices.Contains(rule.Types, kind):
		if kind == "" {
			kind = "of no known type"
		}
		return fmt.Sprintf("is %s, not one of %s", kind, strings.Join(rule.Types, ", "))
	}
	width, height := media.PictureSize(bytes.NewReader(head), media.Sniff(head))
	if width == 0 || height == 0 {
		return ""
	}
	ratio := float64(width) / float64(height)
	switch {
	case rule.MinSide > 0 && min(width, height) < rule.MinSide:
		return fmt.Sprintf("is %d by %d pixels, and no side may be under %d", width, height, rule.MinSide)
	case rule.MaxSide > 0 && max(width, height) > rule.MaxSide:
		return fmt.Sprintf("is %d by %d pixels, and no side may be over %d", width, height, rule.MaxSide)
	case rule.MinRatio > 0 && ratio < rule.MinRatio, rule.MaxRatio > 0 && ratio > rule.MaxRatio:
		return fmt.Sprintf("is %d by %d pixels, and width to height must be between %.6g and %.6g", width, height,
			rule.MinRatio, rule.MaxRatio)
	}
	return ""
}
