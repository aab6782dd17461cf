package media

import (
	"errors"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	const (
		html = "<!doctype html><html>gone</html>"
		json = `{"error":{"message":"no"}}`
		svg  = `<svg xmlns="x"></svg>`
		xml  = `<?xml version="1.0"?><Error/>`
	)
	webp := "RIFF\x24\x00\x00\x00WEBPVP8 "
	mp3 := "ID3\x04\x00\x00\x00\x00\x00\x23TSSE"
	glb := "glTF\x02\x00\x00\x00\x00\x01\x00\x00"
	octets := func(name string) Wanted { return Wanted{ContentType: octetStream, FileName: name} }
	png, mp4 := "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", box("isom")
	const hls = "#EXTM3U\n#EXT-X-VERSION:3\n"
	video := Wanted{ContentType: "video/mp4"}
	for name, row := range map[string]struct {
		wanted  Wanted
		body    string
		ext     string
		warning string // its words; empty for none
		refused bool
	}{
		"a page for a video":       {wanted: video, body: html, refused: true},
		"JSON for a video":         {wanted: video, body: json, refused: true},
		"XML for a video":          {wanted: video, body: xml, refused: true},
		"text for a video":         {wanted: video, body: "slow down", refused: true},
		"nothing for a video":      {wanted: video, refused: true},
		"JSON, by the name":        {wanted: Wanted{URL: "https://m/a.mp4?x"}, body: json, refused: true},
		"JSON, by the task":        {wanted: Wanted{URL: "https://m/a", Kind: KindVideo}, body: json, refused: true},
		"a page for JSON":          {wanted: Wanted{ContentType: "application/json"}, body: html, refused: true},
		"a page for what":          {wanted: Wanted{}, body: html, refused: true},
		"XML for a model":          {wanted: Wanted{FileName: "a.glb"}, body: xml, refused: true},
		"a video":                  {wanted: video, body: mp4, ext: ".mp4"},
		"a video of another kind":  {wanted: video, body: box("qt  "), ext: ".mov"},
		"WebP for a video":         {video, webp, ".webp", "image/webp (16 bytes) in place of video/mp4", false},
		"a picture, by the task":   {Wanted{Kind: KindVideo}, png, ".png", "image/png (16 bytes) in place of video", false},
		"a PNG for a JPEG":         {wanted: Wanted{ContentType: "image/jpeg"}, body: png, ext: ".png"},
		"a playlist":               {video, hls, ".m3u8", "names the media and does not hold it", false},
		"a playlist that was said": {wanted: Wanted{ContentType: "application/x-mpegURL"}, body: hls, ext: ".m3u8"},
		"a DASH manifest":          {video, `<?xml version="1.0"?><MPD xmlns="x">`, ".mpd", "names the media", false},
		"an archive":               {video, "PK\x05\x06" + strings.Repeat("\x00", 18), ".zip", "application/zip", false},
		"bytes that nobody knows":  {video, "\x01\x02\x03\x00", ".mp4", "of no known type (4 bytes)", false},
		"JSON that was said":       {wanted: Wanted{ContentType: "application/json"}, body: json, ext: ".json"},
		"subtitles":                {wanted: Wanted{FileName: "a.srt", Kind: KindVideo}, body: "1\n00:00", ext: ".srt"},
		"text for nothing said":    {wanted: Wanted{}, body: "words", ext: ".txt"},
		"empty text":               {Wanted{ContentType: "text/plain"}, "", ".txt", "it is empty", false},
		"a page that was said":     {wanted: Wanted{ContentType: "text/html"}, body: html, ext: ".html"},
		"SVG":                      {wanted: Wanted{ContentType: "image/svg+xml"}, body: svg, ext: ".svg"},
		"sound in MP4":             {wanted: Wanted{ContentType: "audio/mp4"}, body: mp4, ext: ".m4a"},
		"sound of a speech task":   {wanted: Wanted{Kind: KindAudio}, body: mp3, ext: ".mp3"},
		"samples":                  {wanted: Wanted{ContentType: "audio/pcm"}, body: "\xff\xfe\x00\x01", ext: ".pcm"},
		"a model as text":          {wanted: octets("a.obj"), body: "v 1 2 3\n", ext: ".obj"},
		"weights":                  {wanted: octets("l.safetensors"), body: "\x10\x00\x00", ext: ".safetensors"},
		"GLB":                      {wanted: octets(""), body: glb, ext: ".glb"},
	} {
		t.Run(name, func(t *testing.T) {
			got := Sniff([]byte(row.body))
			warning, err := row.wanted.Check(got, int64(len(row.body)))
			switch {
			case errors.Is(err, ErrNotMedia) != row.refused || (err == nil) == row.refused:
				t.Errorf("got error %v, want %v", err, row.refused)
			case row.refused && !strings.Contains(err.Error(), got.String()):
				t.Errorf("%v does not say %v", err, got)
			case (warning == "") != (row.warning == "") || !strings.Contains(warning, row.warning):
				t.Errorf("got warning %q, want %q", warning, row.warning)
			case !row.refused && row.wanted.Ext(got, "") != row.ext:
				t.Errorf("named %q, want %q", row.wanted.Ext(got, ""), row.ext)
			}
		})
	}
}
