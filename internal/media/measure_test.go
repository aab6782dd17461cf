package media

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"time"

	"reelay/internal/emulator"
)

// TestMeasure: files as encoders write them have the figures that ffprobe tells of them.
func TestMeasure(t *testing.T) {
	for name, want := range map[string]Figures{
		"turned.mov":     {36, 64, 1500 * time.Millisecond}, // by a quarter; its headers are at the end
		"fragmented.mp4": {64, 36, 0},
		"sound.m4a":      {0, 0, 1500 * time.Millisecond},
		"picture.gif":    {64, 36, 0},
		"picture.jpg":    {64, 36, 0},
		"picture.webp":   {64, 36, 0},
		"constant.mp3":   {0, 0, 1584 * time.Millisecond}, // behind a tag
		"variable.mp3":   {0, 0, 1584 * time.Millisecond},
		"sound.flac":     {0, 0, 1500 * time.Millisecond},
	} {
		body, err := os.ReadFile(filepath.Join("testdata", "figures", name))
		if err != nil {
			t.Fatal(err)
		}
		wantFigures(t, name, body, want)
	}
	for _, row := range []struct {
		kind string
		want Figures
	}{
		{"video", Figures{160, 90, 2 * time.Second}},
		{"image", Figures{160, 90, 0}},
		{"speech", Figures{0, 0, time.Second}},
	} {
		name, _, body := emulator.Media(row.kind)
		wantFigures(t, name, body, row.want)
	}
	_, _, sound := emulator.Media("audio")
	for _, length := range []uint32{0, 1<<32 - 1} { // it was not known when the header was written
		binary.LittleEndian.PutUint32(sound[40:], length)
		wantFigures(t, "a WAV of unknown length", sound, Figures{0, 0, time.Second})
	}
}

func wantFigures(t *testing.T, name string, body []byte, want Figures) {
	t.Helper()
	kind := Sniff(body)
	if got := Measure(bytes.NewReader(body), int64(len(body)), kind); got != want {
		t.Errorf("%s, %s: %+v, want %+v", name, kind, got, want)
	}
}

// FuzzMeasure: whatever a stranger sends as a file is measured within bounds.
func FuzzMeasure(f *testing.F) {
	files, err := filepath.Glob("testdata/figures/*")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		body, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(filepath.Ext(name), body)
	}
	nested := bytes.Repeat([]byte("\x00\x00\x00\x00trak"), 2*maxBoxes) // each to the end
	f.Add(".mp4", append([]byte("\x00\x00\x00\x00moov"), nested...))
	f.Fuzz(func(t *testing.T, ext string, body []byte) {
		got := Measure(bytes.NewReader(body), int64(len(body)), Type{Ext: ext})
		if got.Width < 0 || got.Height < 0 || got.Width > maxPixels || got.Height > maxPixels || got.Duration < 0 ||
			got.Duration > maxDuration || (got.Width == 0) != (got.Height == 0) {
			t.Errorf("%s: %+v", ext, got)
		}
	})
}
