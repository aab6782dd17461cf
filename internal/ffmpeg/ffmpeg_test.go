package ffmpeg

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image/jpeg"
	"image/png"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"reelay/events"
)

// tool returns the programs; without them the test is skipped.
func tool(t *testing.T) *Tool {
	t.Helper()
	found, err := Find(64<<20, 1)
	if err != nil {
		t.Skip("SKIPPED: ", err)
	}
	return found
}

// made makes a file with ffmpeg's own sources.
func made(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	args = append([]string{"-nostdin", "-v", "error", "-y"}, append(args, filepath.Join(dir, name))...)
	if out, err := exec.Command("ffmpeg", args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
	return name
}

func pattern(t *testing.T, dir, name, seconds, size string, more ...string) string {
	t.Helper()
	args := []string{"-f", "lavfi", "-i", "testsrc=duration=" + seconds + ":size=" + size + ":rate=12"}
	args = append(append(args, more...), "-preset", "ultrafast", "-pix_fmt", "yuv420p")
	return made(t, dir, name, args...)
}

func tone(t *testing.T, dir, name, seconds string) string {
	t.Helper()
	return made(t, dir, name, "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=32000:duration="+seconds)
}

// do does a job and probes what it has made.
func do(t *testing.T, f *Tool, dir string, j Job, files ...string) (Made, info) {
	t.Helper()
	told := 0
	m, err := f.Do(t.Context(), j, dir, files, func(float64) { told++ })
	if err != nil {
		t.Fatalf("%+v of %v: %v", j, files, err)
	}
	if told == 0 {
		t.Errorf("%+v told of no progress", j)
	}
	in, err := f.probe(t.Context(), dir, m.Name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, m.Name), filepath.Join(dir, "former-"+m.Name)); err != nil {
		t.Fatal(err)
	}
	return m, in
}

// near reports whether two lengths differ by less than the contract allows.
func near(a, b float64) bool { return math.Abs(a-b) < 0.05 }

func length(t *testing.T, s *stream) float64 {
	t.Helper()
	var seconds float64
	if s == nil || json.Unmarshal([]byte(s.Duration), &seconds) != nil {
		t.Fatalf("a stream without a length: %+v", s)
	}
	return seconds
}

// TestMux: picture and sound are of one length, whichever was longer, and the pictures stay as they are where they can.
func TestMux(t *testing.T) {
	f, dir := tool(t), t.TempDir()
	video := pattern(t, dir, "video", "2", "64x48", "-f", "mp4")
	loud := pattern(t, dir, "loud", "2", "64x48", "-f", "lavfi", "-i", "sine=duration=1", "-f", "mp4")
	webm := made(t, dir, "webm", "-f", "lavfi", "-i", "testsrc=duration=1:size=64x48:rate=5", "-c:v", "libvpx", "-f", "webm")
	for _, row := range []struct {
		name, video, audio string
		fit                Fit
		want               float64
	}{
		{"sound filled up", video, tone(t, dir, "short.mp3", "1"), FitVideo, 2},
		{"sound cut", video, tone(t, dir, "long.wav", "3"), FitVideo, 2},
		{"pictures held", video, "long.wav", FitAudio, 3},
		{"mixed", loud, "long.wav", FitMix, 2},
		{"pictures that MP4 does not hold", webm, "long.wav", FitVideo, 1},
	} {
		m, in := do(t, f, dir, Job{Op: Mux, Fit: row.fit, Volume: 0.3}, row.video, row.audio)
		pictures, sound := length(t, in.video), length(t, in.audio)
		if !near(pictures, sound) || math.Abs(pictures-row.want) > 0.1 || m.DurationS != pictures || m.Width != 64 {
			t.Errorf("%s: %v s of pictures and %v s of sound, told as %+v, want %v s", row.name, pictures, sound, m, row.want)
		}
	}
}

// TestConcat: what is joined is as long as its parts, whether they are alike or not.
func TestConcat(t *testing.T) {
	f, dir := tool(t), t.TempDir()
	sound := []string{"-f", "lavfi", "-i", "sine=duration=2", "-shortest", "-f", "mp4"}
	a := pattern(t, dir, "a", "1", "64x48", sound...)
	b := pattern(t, dir, "b", "2", "64x48", sound...)
	c := pattern(t, dir, "c", "1", "48x64", "-f", "mp4")
	for _, row := range []struct {
		name  string
		files []string
		want  float64
		sound bool
	}{
		{"alike", []string{a, b}, 3, true},
		{"of other sizes, one without sound", []string{a, c}, 2, true},
	} {
		m, in := do(t, f, dir, Job{Op: Concat}, row.files...)
		if math.Abs(m.DurationS-row.want) > 0.1 || (in.audio != nil) != row.sound {
			t.Errorf("%s: %+v with sound %+v, want %v s", row.name, m, in.audio, row.want)
		}
		if in.audio != nil && math.Abs(length(t, in.audio)-row.want) > 0.1 {
			t.Errorf("%s: %v s of sound", row.name, length(t, in.audio))
		}
	}
}

func TestThumbnail(t *testing.T) {
	f, dir := tool(t), t.TempDir()
	video := pattern(t, dir, "video", "2", "64x48", "-f", "mp4")
	for _, j := range []Job{{Op: Thumbnail}, {Op: Thumbnail, At: 1.5}, {Op: Thumbnail, AtEnd: true}} {
		m, err := f.Do(t.Context(), j, dir, []string{video}, func(float64) {})
		if err != nil {
			t.Fatalf("%+v: %v", j, err)
		}
		picture, err := os.Open(filepath.Join(dir, m.Name))
		if err != nil {
			t.Fatal(err)
		}
		defer picture.Close()
		if got, err := png.Decode(picture); err != nil || got.Bounds().Dx() != 64 || m.ContentType != "image/png" {
			t.Errorf("%+v: %+v, %v", j, m, err)
		}
	}
	_, err := f.Do(t.Context(), Job{Op: Thumbnail, At: 2.5}, dir, []string{video}, func(float64) {})
	var input *InputError
	if !errors.As(err, &input) {
		t.Errorf("behind the end: %v", err)
	}
}

// TestHostile: what a stranger gives names no other file and no address, and nothing is made without end.
func TestHostile(t *testing.T) {
	f, dir := tool(t), t.TempDir()
	video := pattern(t, dir, "video", "1", "64x48", "-f", "mp4")
	tone(t, dir, "secret.wav", "1")
	for name, text := range map[string]string{
		"hls":  "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:" + filepath.Join(dir, "secret.wav") + "\n#EXT-X-ENDLIST\n",
		"page": "<html></html>", "empty": "",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := f.Do(t.Context(), Job{Op: Mux, Fit: FitVideo}, dir, []string{video, name}, func(float64) {})
		var input *InputError
		if !errors.As(err, &input) || strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", name, err)
		}
	}
	small := *f
	small.MaxBytes = 2000
	if _, err := small.Do(t.Context(), Job{Op: Mux, Fit: FitVideo}, dir, []string{video, "secret.wav"},
		func(float64) {}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("over the limit: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	cancel(stopped)
	if _, err := f.Do(ctx, Job{Op: Mux, Fit: FitVideo}, dir, []string{video, "secret.wav"},
		func(float64) {}); !errors.Is(err, stopped) {
		t.Errorf("stopped: %v", err)
	}
}

func TestParseJob(t *testing.T) {
	for _, row := range []struct{ model, input, field string }{
		{"ffmpeg/mux", `{"video":"https://a.test/v","audio":"data:audio/mp3;base64,AA"}`, ""},
		{"ffmpeg/mux", `{"video":"https://a.test/v","audio":"https://a.test/a","fit":"mix","volume":0}`, ""},
		{"ffmpeg/mux", `{"video":"https://a.test/v"}`, "input.audio"},
		{"ffmpeg/mux", `{"video":"/etc/passwd","audio":"https://a.test/a"}`, "input.video"},
		{"ffmpeg/mux", `{"video":"file:///etc/passwd","audio":"https://a.test/a"}`, "input.video"},
		{"ffmpeg/mux", `{"video":"https://a.test/v","audio":"https://a.test/a","fit":"x"}`, "input.fit"},
		{"ffmpeg/mux", `{"video":"https://a.test/v","audio":"https://a.test/a","volume":2}`, "input.volume"},
		{"ffmpeg/mux", `{"video":"https://a.test/v","audio":"https://a.test/a","args":"-y"}`, "input.args"},
		{"ffmpeg/concat", `{"videos":["https://a.test/1","https://a.test/2"]}`, ""},
		{"ffmpeg/concat", `{"videos":["https://a.test/1"]}`, "input.videos"},
		{"ffmpeg/concat", `{"videos":["https://a.test/1","x"]}`, "input.videos[1]"},
		{"ffmpeg/thumbnail", `{"video":"https://a.test/v","at":"end"}`, ""},
		{"ffmpeg/thumbnail", `{"video":"https://a.test/v","at":1.5}`, ""},
		{"ffmpeg/thumbnail", `{"video":"https://a.test/v","at":-1}`, "input.at"},
		{"ffmpeg/run", `{"video":"https://a.test/v"}`, "model"},
		{"mux", `{"video":"https://a.test/v","audio":"https://a.test/a"}`, "model"},
	} {
		_, err := ParseJob(row.model, json.RawMessage(row.input))
		var fe *events.FieldError
		errors.As(err, &fe)
		if (err == nil) != (row.field == "") || fe != nil && fe.Field != row.field {
			t.Errorf("%s %s: %v, want field %q", row.model, row.input, err, row.field)
		}
	}
}

// TestPreview: whatever is seen is a small JPEG, of a picture or of the middle of a video; what names other files is not
// read.
func TestPreview(t *testing.T) {
	f, dir := tool(t), t.TempDir()
	pattern(t, dir, "video", "4", "1920x1080", "-f", "mp4")
	made(t, dir, "noise", "-f", "lavfi", "-i", "nullsrc=s=1600x900,geq=random(1)*255:128:128", "-frames:v", "1", "-f", "image2", "-c:v", "png")
	made(t, dir, "small", "-f", "lavfi", "-i", "testsrc=s=32x16", "-frames:v", "1", "-f", "image2", "-c:v", "mjpeg")
	for name, want := range map[string]string{"video": "640x360", "noise": "", "small": "32x16"} {
		const most = 40 << 10
		m, err := f.Preview(t.Context(), dir, name, name == "video", most)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		file, err := os.Open(filepath.Join(dir, m.Name))
		if err != nil {
			t.Fatal(err)
		}
		picture, err := jpeg.DecodeConfig(file)
		stat, _ := file.Stat()
		_ = file.Close()
		if size := fmt.Sprintf("%dx%d", picture.Width, picture.Height); err != nil || stat.Size() > most || want != "" && size != want {
			t.Errorf("%s: %s, %d bytes of %s, %v", name, size, stat.Size(), m.ContentType, err)
		}
	}
	if _, err := f.Preview(t.Context(), dir, "noise", false, 100); !errors.Is(err, ErrTooLarge) {
		t.Errorf("that cannot be small enough: %v", err)
	}
	made(t, dir, "huge", "-f", "lavfi", "-i", "color=s=8208x8208:c=black,format=gray", "-frames:v", "1", "-f", "image2", "-c:v", "png")
	if m, err := f.Preview(t.Context(), dir, "huge", false, 100<<10); err == nil {
		t.Errorf("a picture of 67 million pixels: %+v", m)
	}
	for _, text := range []string{
		"no picture", "#EXTM3U\n#EXTINF:1,\nvideo\n", "ffconcat version 1.0\nfile video\n",
		`<svg xmlns="http://www.w3.org/2000/svg"><image href="small"/></svg>`,
	} {
		if err := os.WriteFile(filepath.Join(dir, "text"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, video := range []bool{true, false} {
			var bad *InputError
			if _, err := f.Preview(t.Context(), dir, "text", video, 100<<10); !errors.As(err, &bad) {
				t.Errorf("%q as video %t: %v", text, video, err)
			}
		}
	}
}
