package minimax_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"reelay/events"
	sandbox "reelay/internal/emulator/minimax"
	"reelay/internal/provider"
)

func textFile(content string) provider.File {
	return provider.File{Name: "frame.png", ContentType: "image/png", Size: int64(len(content)), Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(content)), nil
	}}
}

// TestUpload: a file arrives with its purpose; V2 is told its id in a URL, a clone as a number.
func TestUpload(t *testing.T) {
	emulator := sandbox.New(sandbox.Options{})
	server := httptest.NewServer(emulator)
	defer server.Close()
	d := driverFor(t, server.URL)
	for i, row := range []struct{ model, path, kind, begins string }{
		{modelV2, "input.content[1].image_url.url", "image/png", `"mm_file://`},
		{"voice_clone", "input.file_id", "audio/mpeg", ""},
		{"voice_clone", "input.clone_prompt.prompt_audio", "audio/mpeg", ""},
	} {
		rule := d.FileRule(row.model, row.path, row.kind)
		up, err := d.Upload(t.Context(), rule.Purpose, textFile("bytes"))
		all := emulator.Ledger().Uploads()
		if err != nil || len(all) != i+1 {
			t.Fatalf("%s: %v, %d uploads", row.path, err, len(all))
		}
		u := all[i]
		want := row.begins + u.ID
		if row.begins != "" {
			want += `"`
		}
		if string(up.Value) != want || u.Purpose != rule.Purpose || u.Size != 5 || up.ExpiresAt.After(u.ExpiresAt) ||
			time.Until(up.ExpiresAt) < events.MaxTimeout {
			t.Errorf("%s: %s until %v; MiniMax has %+v", row.path, up.Value, up.ExpiresAt, u)
		}
	}
	for path, kind := range map[string]string{"input.first_frame_image": "image/png", "input.prompt": ""} {
		if rule := d.FileRule(modelV1, path, kind); rule.Purpose != "" || rule.MaxBytes == 0 {
			t.Errorf("V1 takes no upload, and the rule of %s is %+v", path, rule)
		}
	}
	var e *provider.Error
	if _, err := d.Upload(t.Context(), "nothing", textFile("bytes")); !errors.As(err, &e) || e.Kind != events.KindInvalid {
		t.Errorf("an unknown purpose: %v", err)
	}
	down := answering(t, http.StatusBadGateway, "<html>")
	if _, err := down.Upload(t.Context(), "voice_clone", textFile("bytes")); !errors.As(err, &e) || e.Kind != events.KindRetry {
		t.Errorf("a gateway's error: %v", err)
	}
	poor := answering(t, http.StatusOK, `{"file":null,"base_resp":{"status_code":1004,"status_msg":"login fail"}}`)
	if _, err := poor.Upload(t.Context(), "voice_clone", textFile("bytes")); !errors.As(err, &e) || e.Kind != events.KindAuth {
		t.Errorf("a key that is refused: %v", err)
	}
}

// TestCheckRefusesUploads: an id of the account's files may be another project's.
func TestCheckRefusesUploads(t *testing.T) {
	d := driverFor(t, "https://api.minimax.io")
	for input, field := range map[string]string{
		`{"content":[{"type":"image_url","image_url":{"url":"mm_file://1"}}]}`:     "input.content[0].image_url.url",
		`{"content":[{"type":"image_url","image_url":{"url":" MM\u005fFILE:1"}}]}`: "input.content[0].image_url.url",
		`{"content":[{"type":"text","text":"a kite, not mm_file://1"}]}`:           "",
	} {
		err := d.Check(events.Video, modelV2, []byte(input))
		var fe *events.FieldError
		if errors.As(err, &fe) != (field != "") || field != "" && fe.Field != field {
			t.Errorf("%s: %v", input, err)
		}
	}
}
