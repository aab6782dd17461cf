package media

import (
	"encoding/hex"
	"strings"
	"testing"
)

func unhex(t *testing.T, text string) string {
	t.Helper()
	raw, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// box is the first box of an ISO media file of a brand.
func box(brand string) string {
	return "\x00\x00\x00\x18ftyp" + brand + "\x00\x00\x02\x00isommp41" + strings.Repeat("\x07", 64)
}

func TestSniff(t *testing.T) {
	for name, row := range map[string]struct{ head, mime, ext string }{
		"mp4":            {box("isom"), "video/mp4", ".mp4"},
		"mp4, dash":      {box("iso5"), "video/mp4", ".mp4"},
		"mp4, new brand": {box("zzzz"), "video/mp4", ".mp4"},
		"mov":            {box("qt  "), "video/quicktime", ".mov"},
		"mov, old":       {"\x00\x00\x00\x08wide\x00\x00\x10\x00mdat", "video/quicktime", ".mov"},
		"webm": {
			unhex(t, "1a45dfa39f4286810142f7810142f28104"+"42f381084282847765626d42878104"),
			"video/webm", ".webm",
		},
		"mkv": {
			unhex(t, "1a45dfa3a34286810142f7810142f28104"+"42f381084282886d6174726f736b61428781"),
			"video/matroska", ".mkv",
		},
		"png":            {unhex(t, "89504e470d0a1a0a0000000d49484452"), "image/png", ".png"},
		"jpeg":           {unhex(t, "ffd8ffe000104a46494600"), "image/jpeg", ".jpg"},
		"webp":           {"RIFF\x24\x00\x00\x00WEBPVP8 ", "image/webp", ".webp"},
		"gif":            {"GIF89a\x01\x00\x01\x00", "image/gif", ".gif"},
		"heic":           {box("heic"), "image/heic", ".heic"},
		"heif":           {box("mif1"), "image/heif", ".heif"},
		"avif":           {box("avif"), "image/avif", ".avif"},
		"wav":            {"RIFF\x24\x00\x00\x00WAVEfmt ", "audio/wav", ".wav"},
		"mp3 with a tag": {"ID3\x04\x00\x00\x00\x00\x00\x23TSSE\x00\x00\x00\x0f", "audio/mpeg", ".mp3"},
		"mp3":            {"\xff\xfb\x90\x64\x00\x0f", "audio/mpeg", ".mp3"},
		"mp3, low rate":  {"\xff\xf3\x40\xc4\x00\x00", "audio/mpeg", ".mp3"},
		"ogg":            {"OggS\x00\x02" + strings.Repeat("\x00", 20) + "\x01\x13OpusHead\x01\x02", "audio/ogg", ".ogg"},
		"flac":           {"fLaC\x00\x00\x00\x22", "audio/flac", ".flac"},
		"m4a":            {box("M4A "), "audio/x-m4a", ".m4a"},
		"aac":            {"\xff\xf1\x50\x80\x02\x1f\xfc", "audio/aac", ".aac"},
		"glb":            {"glTF\x02\x00\x00\x00\x00\x01\x00\x00", "model/gltf-binary", ".glb"},
		"zip": {
			"PK\x03\x04\x14\x00\x00\x00\x08\x00" + strings.Repeat("\x00", 16) + "\x05\x00\x00\x00a.png",
			"application/zip", ".zip",
		},
		"HLS":             {"#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:4,\na.ts\n", "application/vnd.apple.mpegurl", ".m3u8"},
		"JSON":            {`{"error":{"message":"Failed to fetch video content"}}`, "application/json", ".json"},
		"JSON, broken":    {`{"error":{"message":"Failed`, "text/plain", ".txt"},
		"HTML":            {"<!doctype html><html><body>This link has expired</body></html>", "text/html", ".html"},
		"HTML, blanks":    {"\n\n  <html>\n<head><title>403</title>", "text/html", ".html"},
		"HTML, a mark":    {"\xef\xbb\xbf<!DOCTYPE html><html>", "text/html", ".html"},
		"XML":             {`<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>`, "text/xml", ".xml"},
		"SVG":             {`<svg xmlns="http://www.w3.org/2000/svg" width="1"></svg>`, "image/svg+xml", ".svg"},
		"SVG, as XML":     {`<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"></svg>`, "image/svg+xml", ".svg"},
		"text":            {"slow down", "text/plain", ".txt"},
		"nothing":         {"", "", ""},
		"samples":         {"\x01\x00\xfe\xff\x03\x00", "", ""},
		"samples, a mark": {"\xff\xfe\x01\x00\xfe\xff\x03\x00", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := Sniff([]byte(row.head))
			if got.MIME != row.mime || got.Ext != row.ext {
				t.Errorf("got %q, %q, %q; want %q, %q", got.MIME, got.Ext, got.Kind, row.mime, row.ext)
			}
		})
	}
}
