package events_test

import (
	"errors"
	"strings"
	"testing"

	"reelay/events"
)

// TestPlaceFiles: a file stands where the request says, and everything else stays; a place that is none, or is taken, is
// named.
func TestPlaceFiles(t *testing.T) {
	const sum = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	for _, row := range []struct{ body, want, fails string }{
		{`"input":{"seed":12345678901234567890},"input_files":{"image_url":"a.png"}`, `{"image_url":{"$file":"a.png"},"seed":12345678901234567890}`, ""},
		{`"input":{"image_url":""},"input_files":{"image_url":"a.png"}`, `{"image_url":{"$file":"a.png"}}`, ""},
		{`"input":{"image_url":"https://m/a"},"input_files":{"image_url":"a.png"}`, "", "input_files.image_url: something else is there already"},
		{
			`"input":{"content":[{"type":"image_url","image_url":{"url":null}}]},"input_files":{"/content/0/image_url/url":"a.png"}`,
			`{"content":[{"image_url":{"url":{"$file":"a.png"}},"type":"image_url"}]}`, "",
		},
		{`"input":{"urls":["https://m/a"]},"input_files":{"/urls/-":"a.png"}`, `{"urls":["https://m/a",{"$file":"a.png"}]}`, ""},
		{`"input":{"urls":[]},"input_files":{"/urls/1":"a.png"}`, "", "input_files./urls/1: there is no such place"},
		{`"input":{},"input_files":{"/a/b":"a.png"}`, "", "input_files./a/b: there is no such place"},
		{`"input":{},"input_files":{"a":"../b"}`, "", "input_files.a: must be the name of a file"},
		{`"input":{"a":{"$file":"b.png","sha256":"` + sum + `"}}`, `{"a":{"$file":"b.png","sha256":"` + sum + `"}}`, ""},
		{`"input":{"a":{"$file":"b.png","sha256":"9F"}}`, "", "input.a.sha256: is not 64 digits"},
		{`"input":{"a":[{"$file":"/b"}]}`, "", "input.a[0]: must be the name of a file"},
		{`"input":{"a":{"$file":"b","size":1}}`, "", "input.a.size: unknown field"},
		{`"want":{"image":"a.png","last_frame":"https://m/b.png","references":["c.png"]}`, `{"image":{"$file":"a.png"},"last_frame":"https://m/b.png","references":[{"$file":"c.png"}]}`, ""},
		{`"want":{},"input_files":{"image":"a.png"}`, `{"image":{"$file":"a.png"}}`, ""},
		{`"want":{"prompt":"p"},"input_files":{"/options/audio_url":"a.mp3"}`, `{"prompt":"p","options":{"audio_url":{"$file":"a.mp3"}}}`, ""},
		{`"want":{"references":["https://m/b.png"]},"input_files":{"/references/-":"a.png"}`, `{"references":["https://m/b.png",{"$file":"a.png"}]}`, ""},
		{`"input":{},"input_files":{"image_url":"s3://b-1/a b/c.png"}`, `{"image_url":{"$file":"s3://b-1/a b/c.png"}}`, ""},
		{`"input":{},"input_files":{"image_url":"s3://b-1/../c.png"}`, "", "or an object: s3://bucket/key or azblob://container/key"},
		{`"want":{"image":"azblob://box/a\"b.png"}`, `{"image":{"$file":"azblob://box/a\"b.png"}}`, ""},
		{`"want":{},"input_files":{"prompt":"a.png"}`, "", "prompt"},
		{`"want":{"voice":{"$file":"a.mp3"}}`, "", "want.voice: an object in place of a text must be a reference"},
	} {
		body := `{` + row.body + `}`
		if strings.Contains(body, `"input":`) {
			body = `{"provider":"fal","model":"m",` + row.body + `}`
		}
		r, err := events.DecodeRequest([]byte(body))
		if err == nil {
			r, err = r.PlaceFiles()
		}
		if row.fails != "" {
			if !errors.Is(err, events.ErrInvalid) || !strings.Contains(err.Error(), row.fails) {
				t.Errorf("%s: %v, want %q", body, err, row.fails)
			}
			continue
		}
		got := string(r.Input)
		if r.Want != nil {
			got = string(mustMarshal(t, r.Want))
		}
		if err != nil || got != row.want || r.InputFiles != nil {
			t.Errorf("%s:\n%s, %v, want\n%s", body, got, err, row.want)
		}
	}
	if got := mustMarshal(t, events.FileReference{Name: "a.png", Path: "input.a"}); string(got) != `{"$file":"a.png"}` {
		t.Errorf("written as %s", got)
	}
}

// TestObjectURLs: what names an object of a bucket, and what its copies are called.
func TestObjectURLs(t *testing.T) {
	for _, bad := range []string{
		"", "s3://", "s3://bucket", "s3://bucket/", "s3:///key", "s3://B/k", "s3://b?c/k", "gs://bucket/k", "https://bucket/k",
		"s3://bucket/a/../b", "s3://bucket/..", "s3://bucket/a\nb", "s3://bucket/\xff", "s3://bucket/" + strings.Repeat("k", 1025),
	} {
		if _, _, _, ok := events.ParseObjectURL(bad); ok {
			t.Errorf("%q is taken for an object", bad)
		}
	}
	const url = "s3://bucket/a/b?c#d%20.PNG"
	scheme, bucket, key, ok := events.ParseObjectURL(url)
	if !ok || scheme != "s3" || bucket != "bucket" || key != "a/b?c#d%20.PNG" {
		t.Errorf("%q, %q, %q, %t", scheme, bucket, key, ok)
	}
	name := events.CopyName(url, `"1"`)
	if !events.ValidInputName(name) || !strings.HasPrefix(name, events.CopyPrefix(url)) || !strings.HasSuffix(name, ".png") {
		t.Errorf("a copy is called %q", name)
	}
	if name == events.CopyName(url, `"2"`) || events.CopyPrefix(url) == events.CopyPrefix(url+"x") {
		t.Error("other bytes have the same name")
	}
}
